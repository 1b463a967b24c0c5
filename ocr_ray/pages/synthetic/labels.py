"""Labels of synthetic pages in the schemas 71716 and 71859, with the quirks of AI Hub's files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ocr_ray.pages.synthetic.printing import Corners, SyntheticLine
from ocr_ray.pages.synthetic.problems import SyntheticProblem

QUESTION, ANSWER, SOLUTION, PICTURE = "문항(텍스트)", "정답(텍스트)", "해설(텍스트)", "문항(이미지)"
FORCED_SPACES = ("\N{NO-BREAK SPACE}", "&nbsp;")
"""Written in place of some spaces in 71859."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticBox:
    """The content of one text box of a label."""

    corners: tuple[float, float, float, float]
    """x0, y0, x1, y1 in page pixels, half-open."""
    markup: str
    """As in the label; the lines of a box are separated by line breaks."""
    lines: tuple[SyntheticLine, ...]
    part: str = ""
    """Name of its class in 71859, empty in 71716."""


def box_lines(
    lines: Sequence[SyntheticLine], part: str, *, is_loose: bool, rng: np.random.Generator
) -> list[SyntheticBox]:
    """Return a box of 71859 around all lines, or around each line if `is_loose`; corners are fractional."""
    groups = [(line,) for line in lines] if is_loose else [tuple(lines)]
    boxes = []
    for group in groups:
        x0, y0, x1, y1 = bounds_of([line.box for line in group])
        left, top, right, bottom = (float(outset) for outset in rng.uniform(0, 1, size=4).round(2))
        markup = "\n".join(line.markup for line in group)
        if rng.random() < 0.3:
            plain, dollar, rest = markup.partition("$")
            markup = plain.replace(" ", FORCED_SPACES[int(rng.integers(2))], 1) + dollar + rest
        corners = (round(x0 - left, 2), round(y0 - top, 2), round(x1 + right, 2), round(y1 + bottom, 2))
        boxes.append(SyntheticBox(corners=corners, markup=markup, lines=group, part=part))
    return boxes


def bounds_of(boxes: Sequence[Corners]) -> Corners:
    """Return the smallest box around all boxes."""
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def label_71716(
    page_id: str, problem: SyntheticProblem, boxes: Sequence[SyntheticBox], figure: Corners | None
) -> dict[str, Any]:
    """Return a label in the schema of dataset 71716."""
    entries = [{"type": "line", "bbox": list(box.corners), "text": box.markup} for box in boxes]
    if figure is not None:
        entries.append({"type": "image", "bbox": list(figure), "text": "None"})
    return {
        "question_filename": f"{page_id}.png",
        "id": page_id.split("_", 3)[3],
        "question_info": [
            {
                "question_grade": f"P{problem.grade}",
                "question_term": problem.term,
                "question_unit": f"{problem.unit:02}",
                "question_topic": f"{problem.topic:05}",
                "question_topic_name": problem.topic_name,
                "question_type1": "객관식" if len(problem.parts) > 1 else "서술",
                "question_step": "기본",
                "question_difficulty": 2,
            }
        ],
        "OCR_info": [{"figure_text": "", "question_text": problem.markup, "question_bbox": entries}],
    }


def label_71859(
    page_id: str, problem: SyntheticProblem, boxes: Sequence[SyntheticBox], figure: Corners | None
) -> dict[str, Any]:
    """Return a label in the schema of dataset 71859; every second text box is a polygon."""
    entries: dict[str, list[dict[str, Any]]] = {}
    for rank, box in enumerate(boxes):
        values = _outline(box.corners) if rank % 2 else [list(box.corners)]
        kind = "Polygon" if rank % 2 else "Bounding_Box"
        entry = {"Type": kind, "Type_value": values, "text_description": box.markup}
        entries.setdefault(box.part, []).append(entry)
    if figure is not None:
        entries[PICTURE] = [
            {"Type": "Bounding_Box", "Type_value": [list(map(float, figure))], "text_description": "도형"}
        ]
    return {
        "raw_data_info": {
            "raw_data_name": "00000000-0000-0000-0000-000000000000",
            "date": "2024-01-01",
            "publisher": "예시",
            "publication_year": "2024-01-01",
            "school": "초등학교",
            "grade": f"{problem.grade}학년",
            "semester": f"{problem.term}학기",
            "subject": "수학",
            "revision_year": "2015",
        },
        "source_data_info": {
            "source_data_name": page_id,
            "2009_achievement_standard": [" "],
            "2015_achievement_standard": [problem.topic_name],
            "2022_achievement_standard": [problem.topic_name],
            "level_of_difficulty": "하",
            "types_of_problems": "객관식" if len(problem.parts) > 1 else "주관식",
        },
        "learning_data_info": [
            {"class_num": len(values), "class_name": name, "class_info_list": values}
            for name, values in entries.items()
        ],
    }


def _outline(corners: tuple[float, float, float, float]) -> list[list[float]]:
    """Return a box as a clockwise polygon, with an additional point in the middle of its upper side."""
    x0, y0, x1, y1 = corners
    return [[x0, y0], [round((x0 + x1) / 2, 2), y0], [x1, y0], [x1, y1], [x0, y1]]

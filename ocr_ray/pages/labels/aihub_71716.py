"""Labels of AI Hub 71716, "수학 과목 자동 풀이 데이터", and of 71718, "수학 과목 문제생성 데이터".

The fields that are read:

    {"OCR_info": [{"question_text": str,
                   "question_bbox": [{"type": str, "bbox": [left, top, right, bottom], "text": str}, …]}]}

No original file is public, so a label of any other shape is rejected, not guessed at. AI Hub's notes
describe boxes as polygons; the only public program that crops them takes four numbers as corners.
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ocr_ray.errors import LabelError
from ocr_ray.pages.labels.fields import (
    Bounds,
    bound_points,
    expect,
    expect_few_boxes,
    expect_kind,
    expect_object,
    expect_text,
    read_numbers,
    refuse,
)
from ocr_ray.pages.labels.page_label import Box, BoxFormat, PageLabel, is_empty, join_markup

LINE = "line"
"""The type of text boxes; all others are out of scope."""

_WANTED = {
    "xyxy": "four numbers or a list of points",
    "xywh": "four numbers",
    "points": "a list of points or of twice as many numbers",
}


def read_page(document: dict[str, Any], page_id: str, box_format: BoxFormat) -> PageLabel:
    """Return the content of a label, with its boxes of type `line`; the others are counted.

    Raises:
        LabelError: `unknown_schema`, or `bad_json` for text that cannot be encoded.
    """
    infos = expect(document.get("OCR_info"), list, "OCR_info")
    if len(infos) != 1:
        raise LabelError("unknown_schema", f"OCR_info must hold one entry, got {len(infos)}")
    info = expect_object(infos[0], "OCR_info[0]")
    problem = expect_text(info.get("question_text"), "OCR_info[0].question_text")
    field = "OCR_info[0].question_bbox"
    raw_boxes = expect(info.get("question_bbox"), list, field)
    expect_few_boxes(len(raw_boxes))
    lines: list[Box] = []
    others: Counter[str] = Counter()
    for index, raw_box in enumerate(raw_boxes):
        values = expect_object(raw_box, f"{field}[{index}]")
        kind = expect_kind(values.get("type"), f"{field}[{index}].type")
        if kind == LINE:
            lines.append(_read_box(values, index, f"{field}[{index}]", box_format))
        else:
            others[kind] += 1
    boxes = tuple(lines)
    return PageLabel(
        page_id=unicodedata.normalize("NFC", page_id),
        schema="71716",
        problem_markup=join_markup(boxes) if is_empty(problem) else problem,
        boxes=boxes,
        out_of_scope=dict(sorted(others.items())),
    )


def fill_texts(document: dict[str, Any], label: PageLabel, markups: Mapping[int, str]) -> dict[str, Any]:
    """Return a document that `read_page` has accepted with new texts of its boxes and of the problem."""
    info = document["OCR_info"][0]
    for index, markup in markups.items():
        info["question_bbox"][index]["text"] = markup
    info["question_text"] = label.problem_markup
    return document


def build_document(label: PageLabel, image_name: str) -> dict[str, Any]:
    """Return a new document with the boxes and texts of a label of any schema."""
    entries = [
        {
            "type": LINE,
            "bbox": [_shorten(side) for side in (box.x0, box.y0, box.x1, box.y1)],
            "text": box.markup,
        }
        for box in label.boxes
    ]
    return {
        "question_filename": image_name,
        "id": label.page_id,
        "OCR_info": [{"figure_text": "", "question_text": label.problem_markup, "question_bbox": entries}],
    }


def _read_box(values: dict[str, Any], index: int, field: str, box_format: BoxFormat) -> Box:
    x0, y0, x1, y1 = _read_corners(values.get("bbox"), f"{field}.bbox", box_format)
    text = values.get("text")
    markup = "" if text is None else expect_text(text, f"{field}.text")
    return Box(index=index, x0=x0, y0=y0, x1=x1, y1=y1, markup=markup)


def _read_corners(value: object, field: str, box_format: BoxFormat) -> Bounds:
    """Return the corners of a box, not sorted in `xyxy` and `xywh`: a reversed box is an empty box."""
    numbers = read_numbers(value)
    corners: Bounds | None = None
    if numbers is None:
        corners = None if box_format == "xywh" else bound_points(value)
    elif box_format == "points":
        if len(numbers) % 2 == 0:
            corners = bound_points([list(point) for point in zip(*[iter(numbers)] * 2, strict=True)])
    elif len(numbers) == 4:
        x0, y0, x1, y1 = numbers
        corners = (x0, y0, x0 + x1, y0 + y1) if box_format == "xywh" else (x0, y0, x1, y1)
    if corners is None or not all(map(math.isfinite, corners)):
        refuse(field, _WANTED[box_format], value)
    return corners


def _shorten(side: float) -> float:
    return int(side) if side.is_integer() else side

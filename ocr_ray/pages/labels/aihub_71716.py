"""Labels of AI Hub 71716, "수학 과목 자동 풀이 데이터", and of 71718, "수학 과목 문제생성 데이터".

What is read of a label:

    {"OCR_info": [{"question_text": str,
                   "question_bbox": [{"type": str, "bbox": [left, top, right, bottom], "text": str}, …]}]}

No raw file is public, so anything that contradicts this shape is refused rather than guessed at. One note
says that boxes are polygons; the one program seen to cut them takes four numbers as corners.
"""

import math
import unicodedata
from collections import Counter
from typing import Any

from ocr_ray.errors import LabelError
from ocr_ray.pages.labels.fields import (
    Corners,
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
"""The type of a box of text; every other one is out of scope."""

_WANTED = {
    "xyxy": "four numbers or a list of points",
    "xywh": "four numbers",
    "points": "a list of points or of twice as many numbers",
}


def read_page(document: dict[str, Any], page_id: str, *, box_format: BoxFormat) -> PageLabel:
    """Return what a label says, of which only the boxes of type `line` are read.

    Raises:
        LabelError: `unknown_schema`, or `bad_json` for text that cannot be written.
    """
    infos = expect(document.get("OCR_info"), list, "OCR_info")
    if len(infos) != 1:
        raise LabelError("unknown_schema", f"OCR_info must hold one entry, got {len(infos)}")
    info = expect_object(infos[0], "OCR_info[0]")
    problem = expect_text(info.get("question_text"), "OCR_info[0].question_text")
    place = "OCR_info[0].question_bbox"
    raw_boxes = expect(info.get("question_bbox"), list, place)
    expect_few_boxes(len(raw_boxes))
    lines: list[Box] = []
    others: Counter[str] = Counter()
    for index, raw_box in enumerate(raw_boxes):
        values = expect_object(raw_box, f"{place}[{index}]")
        kind = expect_kind(values.get("type"), f"{place}[{index}].type")
        if kind == LINE:
            lines.append(_read_box(values, index, f"{place}[{index}]", box_format))
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


def _read_box(values: dict[str, Any], index: int, place: str, box_format: BoxFormat) -> Box:
    x0, y0, x1, y1 = _read_corners(values.get("bbox"), f"{place}.bbox", box_format)
    text = values.get("text")
    markup = "" if text is None else expect_text(text, f"{place}.text")
    return Box(index=index, x0=x0, y0=y0, x1=x1, y1=y1, markup=markup)


def _read_corners(value: object, place: str, box_format: BoxFormat) -> Corners:
    """Return the corners of a box; with `xyxy` and `xywh` as given, so that an empty box can be told."""
    numbers = read_numbers(value)
    corners: Corners | None = None
    if numbers is None:
        corners = None if box_format == "xywh" else bound_points(value)
    elif box_format == "points":
        if len(numbers) % 2 == 0:
            corners = bound_points([list(point) for point in zip(*[iter(numbers)] * 2, strict=True)])
    elif len(numbers) == 4:
        x0, y0, x1, y1 = numbers
        corners = (x0, y0, x0 + x1, y0 + y1) if box_format == "xywh" else (x0, y0, x1, y1)
    if corners is None or not all(map(math.isfinite, corners)):
        refuse(place, _WANTED[box_format], value)
    return corners

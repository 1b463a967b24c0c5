"""Labels of AI Hub 71859, "수학 교과 문제 풀이과정 데이터".

The fields that are read:

    {"learning_data_info": [
        {"class_name": "문항(텍스트)", "class_info_list": [
            {"Type": "Bounding_Box", "Type_value": [[x0, y0, x1, y1]], "text_description": str},
            {"Type": "Polygon", "Type_value": [[x, y], …], "text_description": str}, …]}, …]}

Answer and solution are printed on the page too, but are out of scope, as in 71716, where they are separate
files: the lines of a page, in order, are the problem as a pupil sees it.
"""

import unicodedata
from collections import Counter
from typing import Any

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
from ocr_ray.pages.labels.page_label import Box, BoxFormat, PageLabel, join_markup

LINES = frozenset({"문항(텍스트)", "보기(텍스트)"})
"""Classes whose boxes are lines of the problem: the question, and the choices or facts in a frame."""


def read_page(document: dict[str, Any], page_id: str, box_format: BoxFormat) -> PageLabel:
    """Return the content of a label, with the text boxes of its question and choices; the others are counted.

    `box_format` is not used: every box says its own format.

    Raises:
        LabelError: `unknown_schema`, or `bad_json` for text that cannot be encoded.
    """
    lines: list[Box] = []
    others: Counter[str] = Counter()
    num_before = 0
    groups = expect(document.get("learning_data_info"), list, "learning_data_info")
    for rank, raw_group in enumerate(groups):
        field = f"learning_data_info[{rank}]"
        group = expect_object(raw_group, field)
        kind = expect_kind(group.get("class_name"), f"{field}.class_name")
        raw_boxes = expect(group.get("class_info_list"), list, f"{field}.class_info_list")
        expect_few_boxes(num_before + len(raw_boxes))
        if kind in LINES:
            lines += _read_boxes(raw_boxes, kind, f"{field}.class_info_list", num_before)
        else:
            others[kind] += len(raw_boxes)
        num_before += len(raw_boxes)
    boxes = tuple(lines)
    return PageLabel(
        page_id=unicodedata.normalize("NFC", page_id),
        schema="71859",
        problem_markup=join_markup(boxes),
        boxes=boxes,
        out_of_scope=dict(sorted((+others).items())),
    )


def _read_boxes(raw_boxes: list[Any], part: str, field: str, num_before: int) -> list[Box]:
    boxes = []
    for index, raw_box in enumerate(raw_boxes):
        box_field = f"{field}[{index}]"
        values = expect_object(raw_box, box_field)
        x0, y0, x1, y1 = _read_corners(values, box_field)
        text = values.get("text_description")
        markup = "" if text is None else expect_text(text, f"{box_field}.text_description")
        boxes.append(Box(index=num_before + index, x0=x0, y0=y0, x1=x1, y1=y1, markup=markup, part=part))
    return boxes


def _read_corners(values: dict[str, Any], field: str) -> Bounds:
    shape, value = values.get("Type"), values.get("Type_value")
    if shape == "Polygon":
        return bound_points(value) or refuse(f"{field}.Type_value", "a list of points", value)
    if shape != "Bounding_Box":
        refuse(f"{field}.Type", "Bounding_Box or Polygon", shape)
    numbers = read_numbers(value[0]) if isinstance(value, list) and len(value) == 1 else None
    if numbers is None or len(numbers) != 4:
        refuse(f"{field}.Type_value", "one list of four numbers", value)
    x0, y0, x1, y1 = numbers
    return x0, y0, x1, y1

import math
from typing import Any

import pytest
from builders.labels import LABEL_71716, encode

from ocr_ray.errors import LabelError
from ocr_ray.pages.labels.fields import MAX_BOXES
from ocr_ray.pages.labels.read import Box, BoxFormat, PageLabel, read_label


def with_info(**changes: Any) -> bytes:
    return encode({"OCR_info": [{**LABEL_71716["OCR_info"][0], **changes}]})


def with_box(**changes: Any) -> bytes:
    return with_info(question_bbox=[{"type": "line", "bbox": [0, 0, 9, 9], "text": "1", **changes}])


def test_lines_are_read_and_other_boxes_are_counted_by_type() -> None:
    assert read_label(encode(LABEL_71716), "P3_1") == PageLabel(
        page_id="P3_1",
        schema="71716",
        problem_markup="사과가 $124$개 있습니다. 모두 몇 개인지 구하세요.",
        boxes=(
            Box(index=0, x0=12, y0=10.5, x1=410, y1=32, markup="사과가 $124$개 있습니다."),
            Box(index=2, x0=12, y0=38, x1=260, y1=60, markup="모두 몇 개인지 구하세요."),
        ),
        out_of_scope={"image": 1},
    )


def test_boxes_of_other_types_are_counted_whatever_they_contain() -> None:
    kinds = ["table", "line", "image", "table", "paragraph"]
    entries = [{"type": kind, "bbox": [0, 0, 9, 9] if kind == "line" else "?", "text": "1"} for kind in kinds]
    label = read_label(with_info(question_bbox=entries), "p")
    assert [box.index for box in label.boxes] == [1]
    assert label.out_of_scope == {"image": 1, "paragraph": 1, "table": 2}


@pytest.mark.parametrize("text", ["None", "", None])
def test_boxes_without_text_are_kept(text: str | None) -> None:
    assert [box.markup for box in read_label(with_box(text=text), "p").boxes] == [text or ""]


@pytest.mark.parametrize("problem", ["", "None", " "])
def test_a_missing_problem_text_is_joined_from_the_lines(problem: str) -> None:
    entries = [
        *LABEL_71716["OCR_info"][0]["question_bbox"],
        {"type": "line", "bbox": [0] * 4, "text": "None"},
    ]
    label = read_label(with_info(question_text=problem, question_bbox=entries), "p")
    assert label.problem_markup == "사과가 $124$개 있습니다. 모두 몇 개인지 구하세요."


TRIANGLE = [[20, 5], [3, 40.5], [30, 44]]


@pytest.mark.parametrize(
    ("box_format", "bbox", "corners"),
    [
        ("xyxy", [12, 10.5, 410, 32], (12, 10.5, 410, 32)),
        ("xyxy", [410, 32, 12, 10], (410, 32, 12, 10)),  # a reversed box, rejected when it is cropped
        ("xyxy", [-5, -1e300, 1e300, 10**300], (-5, -1e300, 1e300, 1e300)),
        ("xyxy", TRIANGLE, (3, 5, 30, 44)),
        ("xyxy", [[12, 10], [410, 32]], (12, 10, 410, 32)),
        ("xywh", [12, 10.5, 410, 32], (12, 10.5, 422, 42.5)),
        ("xywh", [12, 10, -4, 0], (12, 10, 8, 10)),
        ("points", TRIANGLE, (3, 5, 30, 44)),
        ("points", [20, 5, 3, 40.5, 30, 44], (3, 5, 30, 44)),
        ("points", [410, 10, 12, 32], (12, 10, 410, 32)),
    ],
)
def test_a_box_is_read_in_the_given_format(
    box_format: BoxFormat, bbox: list[Any], corners: tuple[float, ...]
) -> None:
    (box,) = read_label(with_box(bbox=bbox), "p", box_format=box_format).boxes
    assert (box.x0, box.y0, box.x1, box.y1) == corners


@pytest.mark.parametrize(
    ("box_format", "bbox", "quoted"),
    [
        ("xyxy", [0, 0, 9], r"\[0, 0, 9\]"),
        ("xyxy", [0, 0, 9, 9, 9], r"\[0, 0, 9, 9, 9\]"),
        ("xyxy", [0, 0, "9", 9], r"\[0, 0, '9', 9\]"),
        ("xyxy", [0, 0, True, 9], r"\[0, 0, True, 9\]"),
        ("xyxy", [0, 0, None, 9], r"\[0, 0, None, 9\]"),
        ("xyxy", [0, 0, 10**400, 9], r"\[0, 0, 10000.*\.\.\..*, 9\]"),
        ("xyxy", [[0, 0, 9, 9]], r"\[\[0, 0, 9, 9\]\]"),
        ("xyxy", [[0, 0]], r"\[\[0, 0\]\]"),
        ("xyxy", [[0, 0], [9, 9, 9]], r"\[\[0, 0\], \[9, 9, 9\]\]"),
        ("xyxy", [[0, 0], 9, 9], r"\[\[0, 0\], 9, 9\]"),
        ("xyxy", "0, 0, 9, 9", "'0, 0, 9, 9'"),
        ("xyxy", {"x": 0}, "{'x': 0}"),
        ("xyxy", [], r"\[\]"),
        ("xyxy", None, "nothing"),
        ("xywh", TRIANGLE, r"\[\[20, 5\], \[3, 40.5\], \[30, 44\]\]"),
        ("xywh", [1e308, 0, 1e308, 9], r"\[1e\+308, 0, 1e\+308, 9\]"),
        ("points", [0, 0, 9], r"\[0, 0, 9\]"),
        ("points", [0, 9], r"\[0, 9\]"),
        ("points", [], r"\[\]"),
    ],
)
def test_a_box_in_another_format_is_refused_and_quoted(box_format: BoxFormat, bbox: Any, quoted: str) -> None:
    pattern = rf"^unknown_schema: OCR_info\[0\].question_bbox\[0\].bbox must be .*, got {quoted}$"
    with pytest.raises(LabelError, match=pattern):
        read_label(with_box(bbox=bbox), "p", box_format=box_format)


def test_an_infinite_coordinate_is_refused() -> None:
    with pytest.raises(LabelError, match=r"unknown_schema: .* got \[0, 0, 9, inf\]"):
        read_label(with_box(bbox=[0, 0, 9, 7777]).replace(b"7777", b"1e999"), "p")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (encode({"OCR_info": {}}), r"OCR_info must be a list, got \{\}"),
        (encode({"OCR_info": []}), "OCR_info must hold one entry, got 0"),
        (encode({"OCR_info": [1]}), r"OCR_info\[0\] must be an object, got 1"),
        (with_info(question_text=None), r"OCR_info\[0\].question_text must be a text, got nothing"),
        (with_info(question_bbox={}), r"question_bbox must be a list, got \{\}"),
        (with_info(question_bbox=["line"]), r"question_bbox\[0\] must be an object, got 'line'"),
        (with_box(type=["line"]), r"question_bbox\[0\].type must be a text, got \['line'\]"),
        (with_box(text=7), r"question_bbox\[0\].text must be a text, got 7"),
        (with_info(question_bbox=[{"type": "image"}] * (MAX_BOXES + 1)), "at most 1000 boxes, got 1001"),
    ],
)
def test_another_shape_is_refused_and_the_field_named(content: bytes, named: str) -> None:
    with pytest.raises(LabelError, match=f"unknown_schema: .*{named}"):
        read_label(content, "p")


def test_every_coordinate_read_is_finite() -> None:
    (box,) = read_label(with_box(bbox=[1.5e308, -1.5e308, 9, 9]), "p").boxes
    assert all(map(math.isfinite, (box.x0, box.y0, box.x1, box.y1)))

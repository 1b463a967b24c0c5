import unicodedata
from typing import Any

import pytest
from builders.labels import LABEL_71859, encode

from ocr_ray.errors import LabelError
from ocr_ray.pages.labels.fields import MAX_BOXES
from ocr_ray.pages.labels.read import Box, PageLabel, read_label

QUESTION = "문항(텍스트)"


def box(**changes: Any) -> dict[str, Any]:
    return {"Type": "Bounding_Box", "Type_value": [[0, 0, 9, 9]], "text_description": "1", **changes}


def group(name: Any, *boxes: Any) -> dict[str, Any]:
    return {"class_num": len(boxes), "class_name": name, "class_info_list": list(boxes)}


def with_groups(*groups: Any) -> bytes:
    return encode({"learning_data_info": list(groups)})


def test_question_and_choices_are_read_and_other_boxes_are_counted_by_class() -> None:
    assert read_label(encode(LABEL_71859), "S3_초등_3_000000") == PageLabel(
        page_id="S3_초등_3_000000",
        schema="71859",
        problem_markup="계산을 하세요. $124 + 57$ ㉠ $181$\n㉡ $171$",
        boxes=(
            Box(index=1, x0=20, y0=10.5, x1=400, y1=34.5, markup="계산을 하세요.", part=QUESTION),
            Box(index=2, x0=20, y0=44, x1=181, y1=68.5, markup="$124 + 57$", part=QUESTION),
            Box(index=3, x0=20, y0=70, x1=145, y1=110, markup="㉠ $181$\n㉡ $171$", part="보기(텍스트)"),
        ),
        out_of_scope={"문항(이미지)": 1, "정답(텍스트)": 1},
    )


@pytest.mark.parametrize(
    "name",
    ["정답(텍스트)", "오답(텍스트)", "해설(텍스트)", "문항(이미지)", "보기(이미지)", "정답(이미지)", "기타"],
)
def test_boxes_of_other_classes_are_counted_whatever_they_contain(name: str) -> None:
    label = read_label(with_groups(group(name, "?", box(Type="Circle")), group(name, box())), "p")
    assert (label.boxes, label.out_of_scope) == ((), {name: 3})


def test_a_class_without_boxes_is_not_counted() -> None:
    assert read_label(with_groups(group("해설(텍스트)")), "p").out_of_scope == {}


def test_a_class_name_of_decomposed_syllables_is_the_same_class() -> None:
    label = read_label(with_groups(group(unicodedata.normalize("NFD", QUESTION), box())), "p")
    assert [box.part for box in label.boxes] == [QUESTION]


def test_a_box_without_description_has_no_text_and_adds_none_to_the_problem() -> None:
    boxes = [box(text_description=text) for text in (None, "None", "", " 셋 ", "넷")]
    label = read_label(with_groups(group(QUESTION, *boxes)), "p")
    assert [box.markup for box in label.boxes] == ["", "None", "", " 셋 ", "넷"]
    assert label.problem_markup == "셋 넷"


def test_a_problem_whose_question_is_an_image_has_the_text_of_its_choices() -> None:
    label = read_label(with_groups(group("보기(텍스트)", box(), box(text_description="2"))), "p")
    assert label.problem_markup == "1 2"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (encode({"learning_data_info": {}}), r"learning_data_info must be a list, got \{\}"),
        (with_groups([]), r"learning_data_info\[0\] must be an object, got \[\]"),
        (with_groups(group(QUESTION), group(None)), r"learning_data_info\[1\].class_name must be a text"),
        (with_groups({"class_name": QUESTION}), r"\[0\].class_info_list must be a list, got nothing"),
        (with_groups(group(QUESTION, 1)), r"class_info_list\[0\] must be an object, got 1"),
        (with_groups(group(QUESTION, box(text_description=7))), "text_description must be a text, got 7"),
        (
            with_groups(group(QUESTION, box(Type="Circle"))),
            "Type must be Bounding_Box or Polygon, got 'Circle'",
        ),
        (with_groups(group(QUESTION, box(Type=None))), "Type must be Bounding_Box or Polygon, got nothing"),
        (with_groups(group(QUESTION, box(Type=[1]))), r"Type must be Bounding_Box or Polygon, got \[1\]"),
        (
            with_groups(group("기타", *[0] * 600), group("기타", *[0] * 600)),
            f"at most {MAX_BOXES} boxes, got 1200",
        ),
    ],
)
def test_another_shape_is_refused_and_the_field_named(content: bytes, named: str) -> None:
    with pytest.raises(LabelError, match=f"unknown_schema: .*{named}"):
        read_label(content, "p")


@pytest.mark.parametrize(
    ("shape", "value", "wanted"),
    [
        ("Bounding_Box", [0, 0, 9, 9], "one list of four numbers"),
        ("Bounding_Box", [[0, 0, 9]], "one list of four numbers"),
        ("Bounding_Box", [[0, 0, 9, "9"]], "one list of four numbers"),
        ("Bounding_Box", [[0, 0, 9, 9], [0, 0, 9, 9]], "one list of four numbers"),
        ("Bounding_Box", [[0, 0], [9, 9]], "one list of four numbers"),
        ("Bounding_Box", [], "one list of four numbers"),
        ("Bounding_Box", None, "one list of four numbers"),
        ("Polygon", [[0, 0, 9, 9]], "a list of points"),
        ("Polygon", [[0, 0]], "a list of points"),
        ("Polygon", [[0, 0], [9, 9, 9]], "a list of points"),
        ("Polygon", [[0, 0], [9, False]], "a list of points"),
        ("Polygon", [0, 0, 9, 9], "a list of points"),
        ("Polygon", {"x": 1}, "a list of points"),
    ],
)
def test_corners_of_another_form_are_refused(shape: str, value: Any, wanted: str) -> None:
    content = with_groups(group(QUESTION, box(), box(Type=shape, Type_value=value)))
    with pytest.raises(LabelError, match=rf"class_info_list\[1\].Type_value must be {wanted}, got "):
        read_label(content, "p")

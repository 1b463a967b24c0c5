import copy
import json
import math
import unicodedata
from typing import Any

import pytest
from builders.labels import LABEL_71716, LABEL_71859, encode
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.errors import LabelError, OutOfScopeError, RowError
from ocr_ray.pages.labels.fields import MAX_KIND_LENGTH, MAX_LABEL_BYTES, MAX_MARKS
from ocr_ray.pages.labels.read import BoxFormat, PageLabel, read_label

LABELS = pytest.mark.parametrize("document", [LABEL_71716, LABEL_71859], ids=["71716", "71859"])
BOX_FORMATS: list[BoxFormat] = ["xyxy", "xywh", "points"]


@LABELS
def test_a_byte_order_mark_changes_nothing(document: Any) -> None:
    assert read_label(encode(document, "utf-8-sig"), "p") == read_label(encode(document), "p")


@LABELS
def test_escaped_json_reads_as_the_same_label(document: Any) -> None:
    assert read_label(json.dumps(document).encode(), "p") == read_label(encode(document), "p")


@LABELS
def test_the_page_id_is_nfc(document: Any) -> None:
    assert read_label(encode(document), unicodedata.normalize("NFD", "문제")).page_id == "문제"


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"width": 765, "height": 120}, (765, 120)),
        ({"image_width": "765", "image_height": "120"}, (765, 120)),
        ({"images": [{"imageWidth": 765.0, "imageHeight": 120}]}, (765, 120)),
        ({"raw_data_info": {"resolution": "765 x 120"}}, (765, 120)),
        ({"source_data_info": {"image_size": [765, 120]}}, (765, 120)),
        ({"width": 765, "height": 120, "images": [{"width": 765, "height": 120}]}, (765, 120)),
        ({"width": 765, "height": 120, "images": [{"width": 120, "height": 765}]}, None),
        ({"width": 765}, None),
        ({"width": 0, "height": 120}, None),
        ({"width": True, "height": [9]}, None),
        ({"resolution": "300 dpi", "image_size": [1, 2, 3]}, None),
        ({"figures": [{"width": 1, "height": 2}, {"width": 3, "height": 4}]}, None),
        ({}, None),
    ],
)
def test_the_size_of_the_image_is_read_where_a_label_states_it(fields: Any, size: Any) -> None:
    for document in (LABEL_71716, LABEL_71859):
        assert read_label(encode({**document, **fields}), "p").image_size == size


@pytest.mark.parametrize("box_format", BOX_FORMATS)
def test_the_box_format_does_not_matter_for_71859(box_format: BoxFormat) -> None:
    content = encode(LABEL_71859)
    assert read_label(content, "p", box_format=box_format) == read_label(content, "p")


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"id": "1", "answer_info": [{"answer_text": "98856"}]}, "answer"),
        ({"explanation_info": [{"explanation_text": "3"}]}, "handwriting"),
        ({"answer_info": "not even a list"}, "answer"),
    ],
)
def test_answers_and_handwriting_are_out_of_scope(document: Any, kind: str) -> None:
    with pytest.raises(OutOfScopeError, match=rf"^{kind}: holds \w+_info$") as caught:
        read_label(encode(document), "p")
    assert isinstance(caught.value, RowError)
    assert not isinstance(caught.value, LabelError)


def test_a_problem_with_its_answer_is_a_problem() -> None:
    assert read_label(encode({**LABEL_71716, "answer_info": []}), "p").schema == "71716"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([LABEL_71716], r"the label must be an object, got \[\{"),
        (None, "the label must be an object, got nothing"),
        ({}, "must hold OCR_info or learning_data_info, got 0 other keys"),
        ({"ocr_info": [], "images": []}, "must hold OCR_info or learning_data_info, got 2 other keys"),
        ({**LABEL_71716, **LABEL_71859, "answer_info": []}, "got OCR_info and learning_data_info"),
    ],
)
def test_a_document_of_no_known_schema_is_refused(document: Any, message: str) -> None:
    with pytest.raises(LabelError, match=f"^unknown_schema: .*{message}"):
        read_label(encode(document), "p")


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"", "Expecting value: line 1 column 1"),
        (b'{"OCR_info": [', "Expecting value"),
        (b"\xef\xbb\xbf" * 2 + b"{}", "BOM"),
        (encode(LABEL_71716, "utf-16"), "must be UTF-8: .* byte 0xff in position 0"),
        (encode({"OCR_info": []}, "utf-16-le"), "Expecting property name"),
        (encode(LABEL_71716, "cp949"), "must be UTF-8: .* can't decode byte"),
        (b"\x89PNG\r\n\x1a\n", "must be UTF-8"),
        (b"[" * 10_000 + b"]" * 10_000, "nested hundreds of levels deep"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nested hundreds of levels deep"),
        (b"[" * MAX_LABEL_BYTES, "nested hundreds of levels deep"),
        (b'{"OCR_info": ' + b"1" * 5_000 + b"}", "integer string conversion"),
        (b'{"OCR_info": NaN}', "NaN is not JSON"),
        (b'{"OCR_info": -Infinity}', "-Infinity is not JSON"),
        (b" " * (MAX_LABEL_BYTES + 1), "over the limit of 4000000 bytes, got 4000001"),
        (encode({"OCR_info": [{"question_text": "@"}]}).replace(b"@", b"\\ud800"), "surrogates not allowed"),
    ],
)
def test_invalid_json_is_refused_with_the_reason(content: bytes, detail: str) -> None:
    with pytest.raises(LabelError, match=f"^bad_json: .*{detail}") as caught:
        read_label(content, "p")
    assert len(caught.value.detail) < 300


@pytest.mark.parametrize("num_marks", [MAX_MARKS, MAX_MARKS + 1])
def test_too_many_consecutive_combining_marks_are_refused(num_marks: int) -> None:
    info = LABEL_71716["OCR_info"][0]
    content = encode({"OCR_info": [{**info, "question_text": f"e{chr(0x301) * num_marks}"}]})
    if num_marks <= MAX_MARKS:
        assert read_label(content, "p").boxes
        return
    with pytest.raises(LabelError, match=r"question_text must be text without 31 combining marks in a row"):
        read_label(content, "p")


def test_the_kind_of_a_box_is_cut_to_a_maximum_length() -> None:
    document = copy.deepcopy(LABEL_71716)
    document["OCR_info"][0]["question_bbox"][1]["type"] = "table" * 100_000
    assert read_label(encode(document), "p").out_of_scope == {("table" * 100)[:MAX_KIND_LENGTH]: 1}


def test_a_message_shortens_the_value_it_quotes() -> None:
    deep: Any = []
    for _ in range(400):
        deep = [deep, "\ud800" * 99, 10**400]
    document = copy.deepcopy(LABEL_71716)
    document["OCR_info"][0]["question_bbox"][0]["bbox"] = deep
    with pytest.raises(LabelError, match="bbox must be four numbers") as caught:
        read_label(json.dumps(document).encode(), "p")
    assert len(caught.value.detail.encode()) < 400


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)
COORDINATES = st.floats() | st.integers(-(10**400), 10**400) | st.sampled_from([1e308, -1e300, 0, "9", None])
TEXTS = st.text(st.characters(), max_size=9) | st.sampled_from(["None", "\ud800", "<table>", "́" * 40, "\0"])
HOSTILE_VALUES = (
    JSON_VALUES
    | TEXTS
    | st.lists(COORDINATES, max_size=5)
    | st.lists(st.lists(COORDINATES, max_size=4), max_size=4)
    | st.sampled_from(["line", "Polygon", "Bounding_Box", "문항(텍스트)"])
)


@st.composite
def mutated_labels(draw: st.DrawFn) -> Any:
    """A label of either schema with one to three values replaced, removed, wrapped or doubled."""
    document = copy.deepcopy(draw(st.sampled_from([LABEL_71716, LABEL_71859])))
    for _ in range(draw(st.integers(1, 3))):
        parent: Any = document
        while parent:
            key = draw(st.sampled_from(list(parent) if isinstance(parent, dict) else range(len(parent))))
            if not isinstance(parent[key], dict | list) or draw(st.integers(0, 3)) == 0:
                break
            parent = parent[key]
        if not parent:  # emptied by the previous mutation
            continue
        match draw(st.sampled_from(["replace", "remove", "wrap", "unwrap", "double"])):
            case "replace":
                parent[key] = draw(HOSTILE_VALUES)
            case "remove":
                del parent[key]
            case "wrap":
                parent[key] = [parent[key]]
            case "unwrap" if isinstance(parent[key], list) and parent[key]:
                parent[key] = parent[key][0]
            case _ if isinstance(parent, list):
                parent.append(copy.deepcopy(parent[key]))
    return document


@st.composite
def damaged_bytes(draw: st.DrawFn) -> bytes:
    """A mutated label in any encoding, whole, truncated or with one byte changed."""
    text = json.dumps(draw(mutated_labels() | JSON_VALUES), ensure_ascii=draw(st.booleans()))
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32", "cp949"]))
    content = text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace")
    match draw(st.sampled_from(["whole", "whole", "cut", "changed"])):
        case "cut":
            return content[: draw(st.integers(0, len(content)))]
        case "changed":
            index = draw(st.integers(0, len(content) - 1))
            return content[:index] + draw(st.binary(max_size=2)) + content[index + 1 :]
    return content


def read_or_refuse(content: bytes, box_format: BoxFormat) -> PageLabel | RowError:
    try:
        return read_label(content, "p", box_format=box_format)
    except (LabelError, OutOfScopeError) as error:
        return error


@settings(deadline=None, max_examples=150)
@given(content=damaged_bytes(), box_format=st.sampled_from(BOX_FORMATS))
def test_a_mutated_label_is_read_or_refused_with_a_reason(content: bytes, box_format: BoxFormat) -> None:
    label = read_or_refuse(content, box_format)
    if isinstance(label, RowError):
        reasons = (
            {"bad_json", "unknown_schema"} if isinstance(label, LabelError) else {"answer", "handwriting"}
        )
        assert label.reason in reasons
        assert 0 < len(label.detail) < 500
        label.detail.encode()  # half a surrogate pair could not be written to the rejects
        return
    assert all(math.isfinite(value) for box in label.boxes for value in (box.x0, box.y0, box.x1, box.y1))
    assert all(count > 0 for count in label.out_of_scope.values())
    indices = [box.index for box in label.boxes]
    assert indices == sorted(set(indices))
    assert all(0 <= index < len(indices) + sum(label.out_of_scope.values()) for index in indices)
    "".join([label.problem_markup, *label.out_of_scope, *(box.markup for box in label.boxes)]).encode()


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_raise_a_label_error(content: bytes) -> None:
    with pytest.raises(LabelError, match=r"bad_json|unknown_schema"):
        read_label(content, "p")

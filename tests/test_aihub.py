import copy
import json
import math
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.errors import LabelError
from ocr_ray.pages.aihub import Box, PageFile, PageLabel, pair_pages, read_label, split_of_problem

LABEL: dict[str, Any] = {
    "question_filename": "P3_1_01_00000_00000.png",
    "OCR_info": [
        {
            "figure_text": "",
            "question_text": "사과가 $124$개 있습니다. 모두 몇 개인지 구하세요.",
            "question_bbox": [
                {"type": "line", "bbox": [12, 10.5, 410, 32], "text": "사과가 $124$개 있습니다."},
                {"type": "image", "bbox": [430, 8, 620, 90], "text": "None"},
                {"type": "line", "bbox": [12, 38, 260, 60], "text": "모두 몇 개인지 구하세요."},
            ],
        }
    ],
}


def encode(document: Any, encoding: str = "utf-8") -> bytes:
    return json.dumps(document, ensure_ascii=False).encode(encoding)


def with_info(**changes: Any) -> bytes:
    return encode({"OCR_info": [{**LABEL["OCR_info"][0], **changes}]})


def with_box(**changes: Any) -> bytes:
    return with_info(question_bbox=[{"type": "line", "bbox": [0, 0, 9, 9], "text": "1", **changes}])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_lines_are_read_with_and_without_a_byte_order_mark(encoding: str) -> None:
    assert read_label(encode(LABEL, encoding), "P3_1") == PageLabel(
        page_id="P3_1",
        problem_markup="사과가 $124$개 있습니다. 모두 몇 개인지 구하세요.",
        boxes=(
            Box(index=0, x0=12, y0=10.5, x1=410, y1=32, markup="사과가 $124$개 있습니다."),
            Box(index=2, x0=12, y0=38, x1=260, y1=60, markup="모두 몇 개인지 구하세요."),
        ),
        out_of_scope={"image": 1},
    )


@pytest.mark.parametrize("text", ["None", "", None])
def test_boxes_without_text_are_kept_so_that_they_become_rejects(text: str | None) -> None:
    assert [box.markup for box in read_label(with_box(text=text), "p").boxes] == [text or ""]


@pytest.mark.parametrize("problem", ["", "None", " "])
def test_a_problem_that_the_label_leaves_out_is_made_of_its_lines(problem: str) -> None:
    label = read_label(with_info(question_text=problem), "p")
    assert label.problem_markup == "사과가 $124$개 있습니다. 모두 몇 개인지 구하세요."


def test_the_page_id_is_nfc() -> None:
    assert read_label(encode(LABEL), unicodedata.normalize("NFD", "문제")).page_id == "문제"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe{\x00}\x00",
        encode(LABEL, "cp949"),
        b"[" * 10_000 + b"]" * 10_000,
        b'{"OCR_info": ' + b"1" * 5_000 + b"}",
        with_box(bbox=[0, 0, float("nan"), 9]),
        with_box(bbox=[0, 0, float("inf"), 9]),
        with_box(text="half").replace(b"half", b"\\ud800"),
    ],
)
def test_what_is_not_json_is_bad_json(content: bytes) -> None:
    with pytest.raises(LabelError, match="bad_json"):
        read_label(content, "p")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (encode([LABEL]), "the label must be a dict, got list"),
        (encode({"learning_data_info": []}), "OCR_info must be a list, got nothing"),
        (encode({"OCR_info": []}), "OCR_info must hold one entry, got 0"),
        (encode({"OCR_info": [1]}), r"OCR_info\[0\] must be a dict, got int"),
        (with_info(question_text=None), "question_text must be a str, got nothing"),
        (with_info(question_bbox={}), "question_bbox must be a list, got dict"),
        (with_info(question_bbox=["line"]), r"question_bbox\[0\] must be a dict, got str"),
        (with_box(type=["line"]), r"question_bbox\[0\].type must be a str, got list"),
        (with_box(text=7), r"question_bbox\[0\].text must be a str, got int"),
        (with_box(bbox="0, 0, 9, 9"), r"question_bbox\[0\].bbox must be a list, got str"),
        (with_box(bbox=[0, 0, 9]), "must be four numbers"),
        (with_box(bbox=[0, 0, "9", 9]), "must be four numbers"),
        (with_box(bbox=[0, 0, True, 9]), "must be four numbers"),
        (with_box(bbox=[0, 0, 10**400, 9]), "must be four numbers"),
        (with_box(bbox=[0, 0, 9, 9]).replace(b"9]", b"1e999]"), "must be four numbers"),
    ],
)
def test_another_shape_is_unknown_schema_and_names_the_place(content: bytes, named: str) -> None:
    with pytest.raises(LabelError, match=f"unknown_schema: .*{named}"):
        read_label(content, "p")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def mutated_labels(draw: st.DrawFn) -> Any:
    """The label with one value anywhere replaced or removed."""
    document = copy.deepcopy(LABEL)
    parent: Any = document
    while True:
        key = draw(st.sampled_from(list(parent) if isinstance(parent, dict) else range(len(parent))))
        if not isinstance(parent[key], dict | list) or draw(st.integers(0, 3)) == 0:
            break
        parent = parent[key]
    if draw(st.booleans()):
        parent[key] = draw(JSON_VALUES)
    else:
        del parent[key]
    return document


@settings(deadline=None)
@given(document=mutated_labels() | JSON_VALUES, encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_a_mutated_label_is_read_or_raises_a_label_error(document: Any, encoding: str) -> None:
    reason = ""
    try:
        label = read_label(json.dumps(document).encode(encoding), "p")
    except LabelError as error:
        reason = error.reason
    else:
        assert all(math.isfinite(value) for box in label.boxes for value in (box.x0, box.y0, box.x1, box.y1))
        "".join([label.problem_markup, *label.out_of_scope, *(box.markup for box in label.boxes)]).encode()
    assert reason in {"", "bad_json", "unknown_schema"}


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_raise_a_label_error(content: bytes) -> None:
    with pytest.raises(LabelError, match=r"bad_json|unknown_schema"):
        read_label(content, "p")


def test_images_and_labels_are_paired_by_name_across_folders_and_forms() -> None:
    decomposed = unicodedata.normalize("NFD", "문제")
    pages, rejects = pair_pages(
        [f"b/{decomposed}.PNG", "a/문제.json", "z/P2.v1.jpeg", "P2.v1.JSON", "notes.txt"]
    )
    assert pages == [
        PageFile(page_id="P2.v1", image_path="z/P2.v1.jpeg", label_path="P2.v1.JSON"),
        PageFile(page_id="문제", image_path=f"b/{decomposed}.PNG", label_path="a/문제.json"),
    ]
    assert rejects == []


def test_files_that_make_no_page_are_rejects_with_a_reason() -> None:
    files = ["2/a.png", "1/a.jpg", "a.json", "only.png", "label.json", "x/label.json", "._a.png", "readme.md"]
    pages, rejects = pair_pages(files)
    assert pages == [PageFile(page_id="a", image_path="1/a.jpg", label_path="a.json")]
    assert [(reject.page_id, reject.reason, reject.detail) for reject in rejects] == [
        ("a", "duplicate_page", "2/a.png"),
        ("label", "missing_image", "label.json"),
        ("label", "duplicate_page", "x/label.json"),
        ("only", "missing_label", "only.png"),
    ]


@settings(deadline=None)
@given(st.lists(st.from_regex(r"([ab]/)?[xyz]\.(png|JPG|json|txt)", fullmatch=True), unique=True))
def test_every_image_and_label_is_in_a_page_or_a_reject_in_any_order(files: list[str]) -> None:
    pages, rejects = pair_pages(files)
    used = [path for page in pages for path in (page.image_path, page.label_path)]
    used += [reject.detail for reject in rejects]
    assert sorted(used) == sorted(path for path in files if not path.endswith(".txt"))
    assert pair_pages(files[::-1]) == (pages, rejects)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 2**63 - 1))
def test_problems_that_differ_only_in_numbers_share_a_split(first: int, second: int, seed: int) -> None:
    splits = {
        split_of_problem(f"사과 ${number}$개와 $3.{number} \\times 2$를 더해요.", seed, 0.5)
        for number in (first, second)
    }
    assert len(splits) == 1


def test_the_split_does_not_see_spaces_or_the_form_of_hangul() -> None:
    problem = "사과가 $7$개"
    for seed in range(20):
        assert split_of_problem(problem, seed, 0.5) == split_of_problem("사과가$12$ 개", seed, 0.5)
        decomposed = unicodedata.normalize("NFD", problem)
        assert split_of_problem(problem, seed, 0.5) == split_of_problem(decomposed, seed, 0.5)


def syllables(number: int) -> str:
    return "".join(chr(0xAC00 + int(digit)) for digit in str(number))


def test_the_share_of_validation_is_kept_and_grows_from_within() -> None:
    problems = [f"문제 {syllables(number)}" for number in range(4000)]
    small, large = (
        {problem for problem in problems if split_of_problem(problem, 7, share) == "validation"}
        for share in (0.2, 0.3)
    )
    assert len(small) == pytest.approx(800, abs=100)  # four standard deviations
    assert small < large
    assert small != {problem for problem in problems if split_of_problem(problem, 8, 0.2) == "validation"}


def test_the_split_of_a_problem_never_changes_between_versions() -> None:
    assert [split_of_problem(f"문제 {syllables(n)}", 7, 0.5)[0] for n in range(12)] == list("tttvtvvvvtvv")


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_nothing_or_all_is_exact(share: float) -> None:
    expected = "validation" if share else "train"
    assert {split_of_problem(syllables(n), 7, share) for n in range(200)} == {expected}


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="validation_share must be from 0 to 1"):
        split_of_problem("문제", 7, share)

import pytest
from builders.report import make_example, make_rows
from harness.html_page import Page
from hypothesis import given
from hypothesis import strategies as st

from ocr_ray.evaluation.alignment import align
from ocr_ray.evaluation.html.examples import Example, draw_differences, draw_example, list_ops, show_piece


def plain(marked: str) -> str:
    """Return the text of marked differences: `␣` is a space there."""
    return Page(f"<p>{marked}</p>").text.replace("␣", " ")


@pytest.mark.parametrize("content", [b"", b"GIF89a", make_example(make_rows(1)[0]).image_bytes[:300]])
def test_a_picture_that_cannot_be_opened_is_said_so(content: bytes) -> None:
    row = make_rows(1)[0]
    drawn = draw_example(make_example(row, image_bytes=content))
    assert "image cannot be opened" in drawn
    assert "<img" not in drawn
    assert row["dataset"] in drawn


def test_differences_of_a_line_are_marked_on_either_side() -> None:
    truth, reading = draw_differences(list_ops(align("탁자 한 개는", "탁지 한개는에")))
    assert truth == "탁<del>자</del> 한<del>␣</del>개는"
    assert reading == "탁<ins>지</ins> 한개는<ins>에</ins>"
    drawn = draw_example(make_example(make_rows(1)[0], truth="가", prediction="나", ops=()))
    assert "<del>" not in drawn
    assert "<ins>" not in drawn


@given(truth=st.text("가나 <&7", max_size=8), read=st.text("가나 <&7", max_size=8))
def test_differences_lose_and_add_nothing(truth: str, read: str) -> None:
    alignment = align(truth, read)
    ops = list_ops(alignment)
    assert "".join(piece for piece, _ in ops) == alignment.reference
    assert "".join(piece for _, piece in ops) == alignment.prediction
    marked = draw_differences(ops)
    assert tuple(map(plain, marked)) == (alignment.reference, alignment.prediction)
    assert ("<del>" in marked[0] or "<ins>" in marked[1]) == (not alignment.is_exact)


@pytest.mark.parametrize(
    ("piece", "shown"),
    [("", "<small>nothing</small>"), (" ", "␣"), ("\u200b", "U+200B"), ("\u202e", "U+202E"), ("<", "&lt;")],
)
def test_every_character_of_a_confusion_is_to_be_seen(piece: str, shown: str) -> None:
    assert show_piece(piece) == shown


def test_an_example_is_what_its_dataset_stored() -> None:
    example = Example(line_id="1", dataset="d", truth="가", prediction="나", image_bytes=b"")
    assert (example.confidence, example.ops, example.baseline_prediction) == (None, (), None)

import pytest
from builders.report import make_example, make_rows
from harness.html_page import Page
from hypothesis import given
from hypothesis import strategies as st

from ocr_ray.evaluation.alignment import align
from ocr_ray.evaluation.html.examples import (
    Example,
    Examples,
    list_ops,
    make_picture,
    mark_errors,
    show_characters,
)
from ocr_ray.evaluation.html.page import report_html


def example_html(example: Example) -> str:
    return report_html({}, Examples(worst=[example]))


@pytest.mark.parametrize("content", [b"", b"GIF89a", make_example(make_rows(1)[0]).image_bytes[:300]])
def test_an_image_that_cannot_be_opened_is_replaced_by_a_note(content: bytes) -> None:
    row = make_rows(1)[0]
    example = make_example(row, image_bytes=content)
    page = Page(example_html(example))
    assert make_picture(example) is None
    assert "image cannot be opened" in page.text
    assert not page.all("img")
    assert row["dataset"] in page.sections["Worst lines"]


def test_errors_of_a_line_are_marked_in_reference_and_prediction() -> None:
    row = make_rows(1)[0]
    source = example_html(make_example(row, ops=list_ops(align("탁자 한 개는", "탁지 한개는에"))))
    assert "<b>reference</b>탁<mark>자</mark> 한<mark>␣</mark>개는</p>" in source
    gap = '<ins class="gap" role="img" aria-label="nothing read"></ins>'
    assert f"<b>prediction</b>탁<ins>지</ins> 한{gap}개는<ins>에</ins></p>" in source
    source = example_html(make_example(row, reference="가", prediction="나", ops=()))
    assert "<b>reference</b>가</p>" in source
    assert "<b>prediction</b>나</p>" in source
    assert source.count("<mark>") == source.count("<ins>") == 1  # in the legend


@given(reference=st.text("가나 <&7", max_size=8), prediction=st.text("가나 <&7", max_size=8))
def test_marks_lose_and_add_nothing(reference: str, prediction: str) -> None:
    alignment = align(reference, prediction)
    ops = list_ops(alignment)
    assert "".join(piece for piece, _ in ops) == alignment.reference
    assert "".join(piece for _, piece in ops) == alignment.prediction
    marked = mark_errors(
        Example(
            line_id="1",
            dataset="d",
            reference=alignment.reference,
            prediction=alignment.prediction,
            image_bytes=b"",
            ops=ops,
        )
    )
    plain = ["".join(piece.text for piece in pieces).replace("␣", " ") for pieces in marked]
    assert plain == [alignment.reference, alignment.prediction]
    assert any(piece.is_error for pieces in marked for piece in pieces) == (not alignment.is_exact)


@pytest.mark.parametrize(
    ("text", "shown"), [("", ""), (" ", "␣"), ("\u200b", "U+200B"), ("\u202e", "U+202E"), ("<", "<")]
)
def test_every_character_of_a_confusion_can_be_seen(text: str, shown: str) -> None:
    assert show_characters(text) == shown


def test_an_example_needs_no_confidence_alignment_or_baseline() -> None:
    example = Example(line_id="1", dataset="d", reference="가", prediction="나", image_bytes=b"")
    assert (example.confidence, example.ops, example.baseline_prediction) == (None, (), None)
    source = example_html(example)
    assert "confidence" not in source
    assert "<b>baseline</b>" not in source

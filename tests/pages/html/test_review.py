"""The review page: every box drawn and listed with what was read, in reading order."""

import io
import json
import math

import pytest
from harness.html_page import Page
from PIL import Image

from ocr_ray.dataset.lines import Reject, TextLine
from ocr_ray.pages.html.review import LabelledPage, ReviewedDataset, review_html
from ocr_ray.pages.labels.read import Box, PageLabel

DATASET = ReviewedDataset(config_sha256="a" * 64, label_column="text")


def encode_page(width_px: int = 200, height_px: int = 90) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (width_px, height_px), 255).save(buffer, "PNG")
    return buffer.getvalue()


def make_line(name: str, text: str, *, confidence: float = 0.97, flags: tuple[str, ...] = ()) -> TextLine:
    return TextLine(
        line_id=f"P3#{name}",
        image_bytes=encode_page(40, 10),
        text=text,
        markup=text.replace("7", "$7$"),
        source="page",
        width_px=40,
        height_px=10,
        page_id="P3",
        page_order=0,
        confidence=confidence,
        flags=flags,
    )


def make_page(
    lines: list[TextLine],
    rejects: list[Reject] | None = None,
    *,
    corners: tuple[tuple[float, float, float, float], ...] = ((5, 8, 105, 21), (5, 30, 105, 60)),
    image_bytes: bytes | None = None,
) -> LabelledPage:
    boxes = tuple(
        Box(index=2 * rank, x0=x0, y0=y0, x1=x1, y1=y1, markup="")
        for rank, (x0, y0, x1, y1) in enumerate(corners)
    )
    written = [{"type": "line", "bbox": [0, 0, 9, 9], "text": ""} for _ in boxes]
    document = {"OCR_info": [{"question_text": "", "question_bbox": written}]}
    label = PageLabel(page_id="P3", schema="71716", problem_markup="", boxes=boxes, out_of_scope={})
    return LabelledPage(
        page_id="P3",
        image_bytes=encode_page() if image_bytes is None else image_bytes,
        label=label,
        label_file=json.dumps(document).encode(),
        lines=lines,
        rejects=rejects or [],
    )


def test_boxes_are_drawn_by_the_worst_of_their_rows() -> None:
    lines = [make_line("0", "가"), make_line("2.1", "다", confidence=0.4, flags=("low_confidence",))]
    flagged = Page(review_html([make_page([*lines, make_line("2.0", "나")])], DATASET))
    assert [group["class"] for group in flagged.all("g")] == ["line", "flagged"]
    assert [(r["x"], r["y"], r["width"], r["height"]) for r in flagged.all("rect")] == [
        ("5", "8", "100", "13"),
        ("5", "30", "100", "30"),
    ]
    reject = Reject(reason="empty_text", page_id="P3", box="2.0")
    rejected = Page(review_html([make_page(lines, [reject])], DATASET))
    assert [group["class"] for group in rejected.all("g")] == ["line", "reject"]


def test_rows_stand_in_reading_order_with_text_markup_confidence_and_flags() -> None:
    lines = [
        make_line("0", "탁자 7개"),
        make_line("2.10", "끝"),
        make_line("2.2", "가운데", confidence=0.876, flags=("low_confidence", "no_ink")),
    ]
    reject = Reject(reason="unsupported_markup", detail=r"\frac", page_id="P3", box="2.0")
    page = Page(review_html([make_page(lines, [reject])], DATASET))
    assert page.classes("tr") == ["line", "reject", "flagged", "line"]
    cells = page.text.split()
    shown = ["탁자", "$7$개", "97.0", "unsupported_markup", "가운데", "87.6", "끝"]
    places = [cells.index(word) for word in shown]
    assert places == sorted(places)
    assert "low confidence, no ink" in page.text
    assert "3 lines, 1 flagged, 1 rejects" in page.text
    assert {image["style"] for image in page.all("img") if "src" in image} == {
        "width:min(40px, 25vh * 40 / 10);aspect-ratio:40/10"
    }


def test_what_was_read_is_text_and_never_html_and_nothing_of_it_is_run_or_fetched() -> None:
    evil = "<script>alert('\"&')</script>"
    lines = [make_line("0", evil)]
    page = Page(
        review_html([make_page(lines, [Reject(reason="x", detail=evil, page_id="P3", box="2")])], DATASET)
    )
    assert page.text.count(evil) == 2
    page.assert_loads_nothing(runs_script=True)


def test_a_page_that_cannot_be_opened_is_listed_all_the_same() -> None:
    page = Page(review_html([make_page([make_line("0", "가")], image_bytes=b"x")], DATASET))
    assert "bad_image" in page.text
    assert page.classes("tr") == ["line"]


@pytest.mark.parametrize("wild", [math.inf, -math.inf, 1e300, math.nan])
def test_wild_boxes_are_drawn_where_they_can_be_seen(wild: float) -> None:
    page = Page(review_html([make_page([], corners=((wild, 8, 5, 21),))], DATASET))
    left, top, width, height = map(float, page.all("svg")[0]["viewbox"].split())
    assert len(page.all("rect")) == (not math.isnan(wild))
    for rect in page.all("rect"):
        assert left < float(rect["x"]) <= float(rect["x"]) + float(rect["width"]) < left + width
        assert top < float(rect["y"]) <= float(rect["y"]) + float(rect["height"]) < top + height


@pytest.mark.parametrize("num_pages", [0, 3])
def test_pages_follow_each_other_and_long_texts_are_cut(num_pages: int) -> None:
    source = review_html((make_page([make_line("0", "가" * 10_000)]) for _ in range(num_pages)), DATASET)
    page = Page(source)
    assert len(page.all("section")) == num_pages
    assert page.text.count("가") == 500 * num_pages


def test_a_line_has_what_its_review_needs() -> None:
    lines = [make_line("0", "탁자 7개"), make_line("2", '"<b>&', confidence=0.4)]
    page = Page(review_html([make_page(lines)], DATASET))
    rows = [row for row in page.all("tr") if "data-line" in row]
    assert [(row["data-line"], row["data-text"], row["data-confidence"]) for row in rows] == [
        ("P3#0", "탁자 7개", "0.97"),
        ("P3#2", '"<b>&', "0.4"),
    ]
    assert [row["data-entry"] for row in rows] == ["0", "1"]  # the written label has no other boxes
    (section,) = page.all("section")
    assert len(json.loads(section["data-label"])["OCR_info"][0]["question_bbox"]) == 2
    (work,) = page.all("form")
    assert (work["data-dataset"], work["data-column"]) == ("a" * 64, "text")
    assert all(image["alt"] for image in page.all("img"))
    assert all(drawing["aria-label"] for drawing in page.all("svg"))

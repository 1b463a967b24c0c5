import base64
import io
import math
import re

import pytest
from harness.html_page import Page
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from ocr_ray.pages.config import CropStyle
from ocr_ray.pages.crop import PageCrops, crop_page
from ocr_ray.pages.files.page_image import decode_page, open_page
from ocr_ray.pages.html.preview import preview_html
from ocr_ray.pages.labels.read import Box, PageLabel


def make_page(num_rows: int = 3) -> bytes:
    page = Image.new("RGBA", (200, 90), (0, 0, 0, 0))
    for row in range(num_rows):
        ImageDraw.Draw(page).rectangle((10, 10 + 20 * row, 99, 19 + 20 * row), fill=(0, 0, 0, 255))
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()


def make_label(*boxes: Box, page_id: str = "P3_1", problem: str = "가") -> PageLabel:
    return PageLabel(
        page_id=page_id, schema="71716", problem_markup=problem, boxes=boxes, out_of_scope={"image": 2}
    )


def make_box(index: int, corners: tuple[float, float, float, float], markup: str = "가") -> Box:
    x0, y0, x1, y1 = corners
    return Box(index=index, x0=x0, y0=y0, x1=x1, y1=y1, markup=markup)


def preview(label: PageLabel, content: bytes | None = None, style: CropStyle | None = None) -> Page:
    page = make_page() if content is None else content
    crops = crop_page(label, open_page(page), style or CropStyle())
    return Page(preview_html([(label.page_id, page, label, crops)]))


def image_of(uri: str) -> Image.Image:
    kind, content = uri.split(";base64,")
    image = Image.open(io.BytesIO(base64.b64decode(content, validate=True)))
    assert kind == f"data:image/{(image.format or '').lower()}"
    return image


def test_boxes_stand_where_the_label_puts_them_with_their_number_and_their_outcome() -> None:
    page = preview(
        make_label(
            make_box(2, (5.5, 8, 105, 21)),
            make_box(4, (5, 30, 105, 70), "가<br>나"),
            make_box(7, (5, 8, 105, 70)),
        )
    )
    assert [(r["x"], r["y"], r["width"], r["height"]) for r in page.all("rect")] == [
        ("5.5", "8", "99.5", "13"),
        ("5", "30", "100", "40"),
        ("5", "8", "100", "62"),
    ]
    assert [group["class"] for group in page.all("g")] == ["line", "line", "reject"]
    assert [(text["x"], text["y"]) for text in page.all("text")] == [("2.5", "19"), ("2", "41"), ("2", "19")]
    assert page.text.split().count("7") == 2  # in the drawing and in the table
    assert page.classes("li") == ["line", "reject", "unused"]
    assert "cropped into lines" in page.text
    assert "3 boxes, 3 lines, 1 rejects, 2 image out of scope" in page.text
    assert page.classes("tr") == ["line", "line", "line", "reject"]
    for words in (
        "4.0",
        "4.1",
        "multi_line_box",
        "rows of print: 3, lines in the text: 1",
        "text_not_in_problem: 1",
    ):
        assert words in page.text


def test_the_page_and_its_lines_are_inside_the_file_as_they_were_read_and_stored() -> None:
    content, label = make_page(), make_label(make_box(0, (5, 8, 105, 21)))
    page = preview(label, content)
    (image,), (line,) = page.all("image"), page.all("img")
    assert image_of(image["href"]).tobytes() == open_page(content).tobytes()
    assert (image["width"], image["height"]) == ("200", "90")
    stored = crop_page(label, open_page(content), CropStyle()).lines[0].image_bytes
    assert image_of(line["src"]).tobytes() == Image.open(io.BytesIO(stored)).tobytes()
    assert line["style"] == "width:min(100px, 25vh * 100 / 13);aspect-ratio:100/13"


def test_nothing_is_run_or_fetched() -> None:
    preview(make_label(make_box(0, (5, 8, 105, 21)))).assert_loads_nothing()
    (style,) = re.findall(r"<style>(.*?)</style>", preview_html([]), re.DOTALL)
    assert not re.search(r"url\(|@import|https?:|//\w", style)


def test_what_labels_say_is_text_and_never_html() -> None:
    evil = "<script>alert('\"&')</script>"
    label = make_label(
        make_box(0, (5, 8, 105, 21), f"{evil} $1$"),
        make_box(1, (5, 8, 105, 21), rf"\x {evil}"),
        page_id=evil,
        problem=evil,
    )
    page = preview(label)
    assert not page.all("script")
    assert page.text.count(evil) == 5


def test_a_whole_page_is_one_line_and_its_boxes_are_unused() -> None:
    page = preview(make_label(make_box(0, (5, 8, 105, 21))), style=CropStyle(mode="page"))
    assert [group["class"] for group in page.all("g")] == ["unused"]
    assert page.classes("tr") == ["line"]
    assert "page" in page.text.split()
    assert len(page.all("img")) == 1


def test_a_page_without_lines_or_that_cannot_be_opened_is_shown_with_its_reason() -> None:
    assert "no_line_boxes" in preview(make_label()).text
    source = preview_html([("P3_1", b"x", make_label(), PageCrops(lines=[], rejects=[], warnings={}))])
    assert "bad_image" in Page(source).text


def test_a_large_page_is_drawn_smaller_with_its_boxes_in_place() -> None:
    buffer = io.BytesIO()
    Image.new("L", (5000, 3000), 255).save(buffer, "PNG")
    page = preview(make_label(make_box(0, (5, 8, 1050, 210))), buffer.getvalue())
    (image,), (rect,) = page.all("image"), page.all("rect")
    assert image_of(image["href"]).size == (2500, 1500)
    assert (image["width"], image["height"], rect["width"]) == ("5000", "3000", "1045")


def test_what_is_odd_about_a_page_is_shown() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("L", (100, 200), 255).save(buffer, "PNG", exif=exif)
    label = make_label(make_box(0, (5, 8, 105, 21)), make_box(1, (120, 8, 190, 21)))
    opened = decode_page(buffer.getvalue(), label)
    crops = crop_page(label, opened.image, CropStyle(), opened.warnings)
    page = Page(preview_html([("P3_1", buffer.getvalue(), label, crops)]))
    assert "exif_orientation: 1" in page.text
    assert (page.all("image")[0]["width"], page.all("image")[0]["height"]) == ("200", "100")
    assert [reject.reason for reject in crops.rejects] == []


def test_long_texts_are_cut() -> None:
    assert (
        len(preview(make_label(make_box(0, (5, 8, 105, 21), "가" * 10_000), problem="나" * 10_000)).text)
        < 6000
    )


WILD = st.floats() | st.floats(-100, 300) | st.sampled_from([1e300, -1e300, math.inf, -math.inf, math.nan])


@settings(deadline=None)
@given(st.tuples(WILD, WILD, WILD, WILD))
def test_every_box_with_a_place_is_drawn_where_it_can_be_seen(
    corners: tuple[float, float, float, float],
) -> None:
    page = preview(make_label(make_box(0, corners)))
    left, top, width, height = map(float, page.all("svg")[0]["viewbox"].split())
    assert len(page.all("rect")) == (not any(map(math.isnan, corners)))
    for rect in page.all("rect"):
        assert left < float(rect["x"]) <= float(rect["x"]) + float(rect["width"]) < left + width
        assert top < float(rect["y"]) <= float(rect["y"]) + float(rect["height"]) < top + height


@pytest.mark.parametrize("num_pages", [0, 3])
def test_pages_follow_each_other(num_pages: int) -> None:
    label = make_label(make_box(0, (5, 8, 105, 21)))
    crops = crop_page(label, open_page(make_page()), CropStyle())
    page = Page(preview_html((f"P{n}", make_page(), label, crops) for n in range(num_pages)))
    assert len(page.all("section")) == num_pages
    assert all(f"P{n} (71716)" in page.text for n in range(num_pages))

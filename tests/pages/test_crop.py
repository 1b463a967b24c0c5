import io
import math
import unicodedata
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from builders.labelled_boxes import NATIVE, draw_rows, make_box, make_label, noise, pixels_of, reasons_of
from fakes.perfect_reader import forget_texts, make_pages
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from ocr_ray.dataset.images import ImageConfig, encode_image
from ocr_ray.errors import CropError
from ocr_ray.pages.config import CropStyle
from ocr_ray.pages.crop import clip_box, crop_page, crop_row, cut_boxes
from ocr_ray.pages.files.page_image import open_page
from ocr_ray.pages.labels.read import Box, read_label
from ocr_ray.pages.synthetic.pages import make_page
from ocr_ray.render.fonts.find import Font
from ocr_ray.text.canonical import canonical

PAGE = noise(60, 40)


def crop_box(page: Image.Image, box: Box) -> Image.Image:
    return page.crop(clip_box(box, page.width, page.height))


def test_a_crop_has_the_pixels_of_pillows_own_crop() -> None:
    assert crop_box(PAGE, make_box(5, 6, 25, 16)).tobytes() == PAGE.crop((5, 6, 25, 16)).tobytes()


def test_a_crop_is_rounded_outwards() -> None:
    assert crop_box(PAGE, make_box(5.9, 6.9, 24.1, 15.1)).tobytes() == PAGE.crop((5, 6, 25, 16)).tobytes()


def test_a_crop_is_clipped_to_the_page() -> None:
    assert crop_box(PAGE, make_box(-7.5, 30, 10, 1e9)).tobytes() == PAGE.crop((0, 30, 10, 40)).tobytes()


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        (make_box(60, 0, 90, 20), "box_outside_page"),
        (make_box(0, -20, 10, 0), "box_outside_page"),
        (make_box(1e300, 0, 1e301, 20), "box_outside_page"),
        (make_box(10, 10, 10, 30), "empty_box"),
        (make_box(20, 10, 10, 30), "empty_box"),
        (make_box(0, 0, math.nan, 20), "empty_box"),
        (make_box(10, 10, 30, 13), "box_too_small"),
        (make_box(57, 10, 90, 30), "box_too_small"),
    ],
)
def test_a_box_that_cannot_hold_a_line_is_refused_with_its_reason(box: Box, reason: str) -> None:
    with pytest.raises(CropError, match=reason):
        crop_box(PAGE, box)


COORDINATES = st.floats() | st.floats(-10, 70) | st.integers(-10, 70)


@settings(deadline=None)
@given(COORDINATES, COORDINATES, COORDINATES, COORDINATES)
def test_a_clipped_box_lies_in_the_page(x0: float, y0: float, x1: float, y1: float) -> None:
    try:
        line = crop_box(PAGE, make_box(x0, y0, x1, y1))
    except CropError:
        return
    assert 4 <= line.width <= PAGE.width
    assert 4 <= line.height <= PAGE.height
    left, top = math.floor(max(x0, 0)), math.floor(max(y0, 0))
    assert line.tobytes() == PAGE.crop((left, top, left + line.width, top + line.height)).tobytes()


def test_a_line_has_the_text_pixels_and_position_of_its_box() -> None:
    label = make_label(
        make_box(0, 0, 20, 10, "None", index=0),
        make_box(2, 3, 32, 13, r" $3 \times 8$ ", index=2),
    )
    crops = crop_page(label, PAGE, NATIVE)
    (line,), (reject,) = crops.lines, crops.rejects
    assert (line.line_id, line.page_id, line.page_order, line.source) == ("P3_1#2", "P3_1", 1, "page")
    assert (line.text, line.markup) == ("3 × 8", r"$3 \times 8$")
    assert (line.width_px, line.height_px, line.font, line.style) == (30, 10, None, None)
    image = Image.open(io.BytesIO(line.image_bytes))
    assert (image.mode, image.tobytes()) == ("L", PAGE.crop((2, 3, 32, 13)).tobytes())
    assert (reject.reason, reject.page_id, reject.box) == ("empty_text", "P3_1", "0")
    assert crops.warnings == {}


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("\u1100\u1161 $7$", "가 7"),
        ("넓이가 $12$㎠인", "넓이가 12cm²인"),
        ("$7\u22123$", "7-3"),
        ("$9 ➗ 3$", "9 ÷ 3"),
        ("물 ７ℓ \u200b \u3000", "물 7L"),
        ("$1〜5$", "1~5"),
        (r"$1~\text{〜}~5$", "1 ~ 5"),
        (r"$20^\circ$C", "20℃"),
        (r"＄ \$", "$ $"),
    ],
)
def test_the_text_of_a_line_is_canonical_and_its_markup_is_the_labels(markup: str, text: str) -> None:
    (line,) = crop_page(make_label(make_box(0, 0, 20, 10, markup)), PAGE, NATIVE).lines
    assert (line.text, line.markup) == (text, unicodedata.normalize("NFC", markup.strip()))


@pytest.mark.parametrize("markup", ["", " ", "None", "$$", "\u200b", "\u3000 $\ufeff$", "\n", "<br>"])
def test_a_box_without_text_is_a_reject(markup: str) -> None:
    crops = crop_page(make_label(make_box(0, 0, 20, 10, markup)), PAGE, NATIVE)
    assert (crops.lines, reasons_of(crops)) == ([], ["empty_text"])


def test_markup_that_cannot_be_printed_is_a_reject() -> None:
    crops = crop_page(make_label(make_box(0, 0, 20, 10, r"$\begin{array} 1 \end{array}$")), PAGE, NATIVE)
    assert (crops.lines, reasons_of(crops)) == ([], ["unsupported_markup"])


@pytest.mark.parametrize(
    ("problem", "markup", "warnings"),
    [
        ("가 $12$개를\n나눈다", "$1$", {}),
        ("가 $12$ 개를", "가 $12$개를", {}),
        ("\u1100\u1161 ＋", "가+", {}),
        (r"$\begin{array}$ 가 $12$", "가 $1$", {}),
        (r"$\begin{array}$ 가 $12$", "나 $1$", {"text_not_in_problem": 1}),
        ("가나", "나가", {"text_not_in_problem": 1}),
        ("None", "가", {"text_not_in_problem": 1}),
        ("$ㅁ + 2$", "$ㅁ + 2$", {"lone_mieum": 1}),
        ("ㄹ, ㅁ $2$", "ㅁ $2$", {}),
    ],
)
def test_odd_lines_are_counted(problem: str, markup: str, warnings: dict[str, int]) -> None:
    label = replace(make_label(make_box(0, 0, 50, 20, markup)), problem_markup=problem)
    assert crop_page(label, PAGE, NATIVE).warnings == warnings
    page_warnings = crop_page(replace(label, problem_markup=markup), PAGE, CropStyle(mode="page")).warnings
    assert page_warnings == {name: count for name, count in warnings.items() if name == "lone_mieum"}


def test_a_line_without_ink_is_counted() -> None:
    label = make_label(make_box(0, 0, 50, 9, "가"), make_box(0, 8, 150, 22, "나"))
    assert crop_page(label, draw_rows(1), NATIVE).warnings == {"no_ink": 1}


def test_a_whole_page_is_one_line_with_the_problem_as_its_text() -> None:
    style = CropStyle(image=NATIVE.image, mode="page")
    label = replace(make_label(make_box(0, 0, 2, 2, "x")), problem_markup=" 가 $3$\n<br>나 ")
    (line,) = crop_page(label, PAGE, style).lines
    assert (line.line_id, line.source, line.page_order) == ("P3_1#page", "page", 0)
    assert (line.text, line.markup) == ("가 3 나", "가 $3$\n<br>나")
    assert pixels_of(line.image_bytes).tobytes() == PAGE.tobytes()
    (square,) = crop_page(label, PAGE, replace(style, image=ImageConfig(format="png"))).lines
    assert Image.open(io.BytesIO(square.image_bytes)).size == (384, 384)


@pytest.mark.parametrize(
    ("problem", "page", "reason"),
    [
        ("None", PAGE, "empty_text"),
        (r"$\x$", PAGE, "unsupported_markup"),
        ("가" * 2_001, PAGE, "long_text"),
        ("㎠" * 1_001, PAGE, "long_text"),
        ("가", noise(60, 3), "box_too_small"),
    ],
)
def test_a_whole_page_without_a_line_is_a_reject(problem: str, page: Image.Image, reason: str) -> None:
    label = replace(make_label(), problem_markup=problem)
    crops = crop_page(label, page, CropStyle(mode="page"))
    assert (crops.lines, [(reject.reason, reject.box) for reject in crops.rejects]) == ([], [(reason, None)])


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(ValueError, match="margin_px must be at least 0"):
        CropStyle(margin_px=-1)
    with pytest.raises(ValueError, match="mode must be line or page"):
        CropStyle(mode="word")  # type: ignore[arg-type]


WILD = COORDINATES | st.sampled_from([math.nan, math.inf, -math.inf, 1e300, -1e300, 1e18, 5e-324, -0.0])
MARKUPS = st.sampled_from(["$7$개", "None", r"\x", "", "가\n나", "가<br>나<br>다", "$a\n+b$", "ㅁ\x00"])


@settings(deadline=None)
@given(st.lists(st.tuples(WILD, WILD, WILD, WILD, MARKUPS), max_size=6), st.integers(0, 200), st.booleans())
def test_every_box_is_in_lines_or_in_one_reject(
    values: list[tuple[float, float, float, float, str]], margin_px: int, is_drawn: bool
) -> None:
    page = draw_rows(3).resize((60, 40)) if is_drawn else PAGE
    label = make_label(*(make_box(*box, index=2 * rank) for rank, box in enumerate(values)))
    crops = crop_page(label, page, CropStyle(image=NATIVE.image, margin_px=margin_px))
    if not label.boxes:
        assert [(reject.reason, reject.box) for reject in crops.rejects] == [("no_line_boxes", None)]
        return
    cropped = {int(line.line_id.split("#")[1].split(".")[0]) for line in crops.lines}
    rejected = [int(reject.box or -1) for reject in crops.rejects]
    assert sorted([*cropped, *rejected]) == [box.index for box in label.boxes]
    assert set(reasons_of(crops)) <= {
        "empty_text",
        "unsupported_markup",
        "box_outside_page",
        "empty_box",
        "box_too_small",
        "multi_line_box",
    }
    orders = [line.page_order or 0 for line in crops.lines]
    assert orders == sorted(set(orders))
    for line in crops.lines:
        assert line.width_px <= page.width
        assert line.height_px <= page.height


@pytest.mark.parametrize("schema", ["71716", "71859"])
def test_lines_of_drawn_pages_have_their_text_and_the_pixels_that_pillow_crops(
    fonts: list[Font], schema: Literal["71716", "71859"]
) -> None:
    for number in range(40):
        font = fonts[number % len(fonts)]
        made = make_page(5, number, font_bytes=font.content, font_index=font.face, schema=schema)
        label = read_label(made.label_bytes, made.page_id)
        crops = crop_page(label, open_page(made.image_bytes), NATIVE)
        assert crops.rejects == []
        drawn = Image.open(io.BytesIO(made.image_bytes)).convert("RGBA")
        on_white = Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn).convert("L")
        lines_by_box = {box.corners: box.lines for box in made.boxes}
        lines = iter(crops.lines)
        for box in label.boxes:
            made_lines = lines_by_box[box.x0, box.y0, box.x1, box.y1]
            for made_line in made_lines:
                line = next(lines)
                pixels = pixels_of(line.image_bytes).astype(int)
                assert line.text == canonical(made_line.text)
                if len(made_lines) == 1:
                    corners = math.floor(box.x0), math.floor(box.y0), math.ceil(box.x1), math.ceil(box.y1)
                    expected = np.asarray(on_white.crop(corners))
                    assert np.abs(pixels - expected).max() <= 1
                else:
                    ink = 255 - np.asarray(on_white.crop(made_line.ink)).astype(int)
                    assert (255 - pixels).sum() == pytest.approx(ink.sum(), rel=0.01)
                    assert np.abs(np.subtract(pixels.shape, ink.shape) - 3).max() <= 2
        assert next(lines, None) is None


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
@pytest.mark.parametrize("size", ["384", "native"])
def test_a_line_is_stored_with_the_same_pixels_as_by_encode_image(
    size: Literal["384", "native"], image_format: Literal["png", "jpeg"]
) -> None:
    config = ImageConfig(size=size, format=image_format)
    (line,) = crop_page(make_label(make_box(3, 4, 50, 31)), PAGE, CropStyle(image=config)).lines
    expected = encode_image(PAGE.crop((3, 4, 50, 31)), config)
    assert Image.open(io.BytesIO(line.image_bytes)).format == image_format.upper()
    assert pixels_of(line.image_bytes).tobytes() == pixels_of(expected).tobytes()


@pytest.mark.parametrize("markup", ["$1$ 가\n나\n다", "$1$ 가<br>나<br/>다", " $1$ 가 \r\n\n나\r\n다\n"])
def test_a_box_of_several_lines_is_cut_into_them(markup: str) -> None:
    label = make_label(
        make_box(0, 0, 50, 9, "$1$ 가", index=3),
        make_box(0, 0, 190, 75, markup, index=4),
        make_box(0, 0, 50, 9, "나", index=5),
    )
    page = draw_rows(3)
    crops = crop_page(label, page, NATIVE)
    assert [(line.line_id, line.page_order, line.text, line.markup) for line in crops.lines] == [
        ("P3_1#3", 0, "1 가", "$1$ 가"),
        ("P3_1#4.0", 1, "1 가", "$1$ 가"),
        ("P3_1#4.1", 2, "나", "나"),
        ("P3_1#4.2", 3, "다", "다"),
        ("P3_1#5", 4, "나", "나"),
    ]
    for row, line in enumerate(crops.lines[1:4]):
        expected = page.crop((8 + 5 * row, 8 + 20 * row, 102, 22 + 20 * row))
        assert pixels_of(line.image_bytes).tobytes() == expected.tobytes()
        assert (line.width_px, line.height_px) == expected.size


@pytest.mark.parametrize(
    ("num_rows", "markup", "detail"),
    [
        (3, "가나 다라", "rows of print: 3, lines in the text: 1"),
        (3, "가\n나", "rows of print: 3, lines in the text: 2"),
        (1, "가\n나", "rows of print: 1, lines in the text: 2"),
        (0, "가\n나", "rows of print: 0, lines in the text: 2"),
    ],
)
def test_a_box_whose_text_has_another_number_of_lines_than_its_print_is_a_reject(
    num_rows: int, markup: str, detail: str
) -> None:
    label = make_label(make_box(0, 0, 190, 90, markup), make_box(0, 0, 190, 9, "다"))
    crops = crop_page(label, draw_rows(num_rows), NATIVE)
    assert [(reject.reason, reject.detail) for reject in crops.rejects] == [("multi_line_box", detail)]
    assert crops.lines[0].page_order == len(markup.split("\n")), "a rejected box leaves a gap"


def test_a_single_syllable_is_one_line_even_if_its_parts_are_far_apart(fonts: list[Font]) -> None:
    for font in fonts:
        face = ImageFont.truetype(io.BytesIO(font.content), 20, font.face)
        for syllable in "귿는솜숟승큰슷두극":
            page = Image.new("L", (60, 80), 255)
            ImageDraw.Draw(page).text((20, 10), syllable, 0, font=face)
            label = make_label(make_box(15, 5, 45, 40, syllable))
            assert crop_page(label, page, NATIVE).rejects == []
            ImageDraw.Draw(page).text((20, 45), syllable, 0, font=face)
            label = make_label(make_box(15, 5, 45, 75, syllable))
            assert reasons_of(crop_page(label, page, NATIVE)) == ["multi_line_box"]


def test_a_box_gives_all_of_its_lines_or_none() -> None:
    crops = crop_page(make_label(make_box(0, 0, 190, 75, "가\n\\x\n다")), draw_rows(3), NATIVE)
    assert (crops.lines, reasons_of(crops)) == ([], ["unsupported_markup"])


def test_a_margin_is_added_to_boxes_and_cut_lines_within_the_page() -> None:
    style = CropStyle(image=NATIVE.image, margin_px=6)
    page = draw_rows(2)
    crops = crop_page(make_label(make_box(3, 9, 150, 20), make_box(3, 5, 197, 60, "가\n나")), page, style)
    corners = [(0, 3, 156, 26), (2, 2, 108, 28), (7, 22, 108, 48)]
    assert [pixels_of(line.image_bytes).tobytes() for line in crops.lines] == [
        page.crop(corner).tobytes() for corner in corners
    ]


def test_a_margin_neither_saves_a_box_nor_joins_lines() -> None:
    style = CropStyle(image=NATIVE.image, margin_px=30)
    label = make_label(make_box(5, 5, 8, 8), make_box(-20, 5, -1, 30), make_box(5, 28, 100, 42, "가나"))
    crops = crop_page(label, draw_rows(3), style)
    assert reasons_of(crops) == ["box_too_small", "box_outside_page"]
    assert [line.text for line in crops.lines] == ["가나"]


@pytest.mark.parametrize("margin_px", [0, 10**6])
def test_boxes_are_rejects_once_their_crops_are_as_large_as_four_of_the_largest_pages(margin_px: int) -> None:
    page = Image.new("L", (5000, 2000), 255)  # a fifth of the largest page
    corners = (0, 0, 9, 9) if margin_px else (-5, -5, 9000, 9000)
    label = make_label(*(make_box(*corners, index=index) for index in range(25)))
    rows, rejects = cut_boxes(label, page, with_texts=bool(margin_px), margin_px=margin_px)
    assert [row.box_index for row in rows] == list(range(20))
    assert [(reject.reason, reject.box) for reject in rejects] == [
        ("boxes_too_large", str(index)) for index in range(20, 25)
    ]


@pytest.mark.parametrize("margin_px", [0, 2])
def test_boxes_without_texts_are_cut_into_the_same_rows_as_with_texts(
    fonts: list[Font], margin_px: int
) -> None:
    num_rows_of_several = 0
    for page in (page for font in fonts for page in make_pages(font.content, 8)):
        image = open_page(page.image_bytes)
        unread = read_label(forget_texts(page.label_bytes), page.page_id)
        rows, rejects = cut_boxes(unread, image, with_texts=False)
        assert rejects == []
        style = CropStyle(image=NATIVE.image, margin_px=margin_px)
        lines = crop_page(read_label(page.label_bytes, page.page_id), image, style).lines
        assert [(f"{page.page_id}#{row.name}", row.order) for row in rows] == [
            (line.line_id, line.page_order) for line in lines
        ]
        for row, line in zip(rows, lines, strict=True):
            assert np.array_equal(crop_row(image, row, margin_px), pixels_of(line.image_bytes))
            assert (row.has_ink, row.text, row.markup) == (True, "", "")
        num_rows_of_several += sum("." in row.name for row in rows)
    assert num_rows_of_several > 20


def test_two_rows_without_texts_are_cut_in_order_and_blank_paper_is_a_row_without_ink() -> None:
    page = Image.new("L", (100, 60), 255)
    ImageDraw.Draw(page).rectangle((10, 10, 89, 19), fill=0)
    ImageDraw.Draw(page).rectangle((20, 35, 59, 44), fill=0)
    label = make_label(make_box(5.5, 5.5, 95, 50, "", index=3), make_box(0, 46, 100, 60, "", index=5))
    (*rows, blank), rejects = cut_boxes(label, page, with_texts=False)
    assert rejects == []
    assert [(row.name, row.order, row.box_index) for row in rows] == [("3.0", 0, 3), ("3.1", 1, 3)]
    # The ink and 2 px around it.
    assert [row.corners for row in rows] == [(8, 8, 92, 22), (18, 33, 62, 47)]
    assert (blank.name, blank.order, blank.has_ink, blank.corners) == ("5", 2, False, (0, 46, 100, 60))


def test_a_syllable_without_text_whose_parts_are_far_apart_is_one_row(fonts: list[Font]) -> None:
    font = ImageFont.truetype(io.BytesIO(fonts[0].content), 40, index=fonts[0].face)
    page = Image.new("L", (60, 60), 255)
    ImageDraw.Draw(page).text((8, 4), "승", fill=0, font=font)
    (row,), _ = cut_boxes(make_label(make_box(0, 0, 60, 60)), page, with_texts=False)
    assert row.corners == (0, 0, 60, 60)


@pytest.mark.parametrize(
    ("corners", "reason"),
    [
        ((10, 10, 10, 20), "empty_box"),
        ((200, 0, 220, 20), "box_outside_page"),
        ((10, 10, 12, 20), "box_too_small"),
    ],
)
def test_a_box_without_text_that_cannot_be_cut_is_a_reject_and_leaves_a_gap(
    corners: tuple[float, float, float, float], reason: str
) -> None:
    label = make_label(make_box(*corners), make_box(0, 0, 50, 20, index=1))
    (row,), (reject,) = cut_boxes(label, Image.new("L", (100, 60), 255), with_texts=False)
    assert (reject.reason, reject.box, row.order) == (reason, "0", 1)

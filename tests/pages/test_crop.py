import io
import math
import unicodedata
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from builders.labelled_boxes import NATIVE, draw_rows, make_box, make_label, noise, pixels_of, reasons_of
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ocr_ray.dataset.images import ImageConfig, encode_image
from ocr_ray.errors import CropError
from ocr_ray.pages.crop import crop_page
from ocr_ray.pages.crop_config import CropStyle
from ocr_ray.pages.labels.read import Box, read_label
from ocr_ray.pages.page_image import crop_line, open_page
from ocr_ray.pages.synthetic.pages import make_page
from ocr_ray.render.fonts.find import Font
from ocr_ray.text.canonical import canonical

PAGE = noise(60, 40)


def test_a_crop_has_the_pixels_of_pillows_own_crop() -> None:
    assert crop_line(PAGE, make_box(5, 6, 25, 16)).tobytes() == PAGE.crop((5, 6, 25, 16)).tobytes()


def test_a_crop_is_rounded_outwards() -> None:
    assert crop_line(PAGE, make_box(5.9, 6.9, 24.1, 15.1)).tobytes() == PAGE.crop((5, 6, 25, 16)).tobytes()


def test_a_crop_is_clipped_to_the_page() -> None:
    assert crop_line(PAGE, make_box(-7.5, 30, 10, 1e9)).tobytes() == PAGE.crop((0, 30, 10, 40)).tobytes()


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
def test_a_box_that_holds_no_line_is_refused_with_its_reason(box: Box, reason: str) -> None:
    with pytest.raises(CropError, match=reason):
        crop_line(PAGE, box)


COORDINATES = st.floats() | st.floats(-10, 70) | st.integers(-10, 70)


@settings(deadline=None)
@given(COORDINATES, COORDINATES, COORDINATES, COORDINATES)
def test_a_clipped_box_lies_in_the_page(x0: float, y0: float, x1: float, y1: float) -> None:
    try:
        line = crop_line(PAGE, make_box(x0, y0, x1, y1))
    except CropError:
        return
    assert 4 <= line.width <= PAGE.width
    assert 4 <= line.height <= PAGE.height
    left, top = math.floor(max(x0, 0)), math.floor(max(y0, 0))
    assert line.tobytes() == PAGE.crop((left, top, left + line.width, top + line.height)).tobytes()


def test_a_line_carries_its_label_its_pixels_and_its_place() -> None:
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
    of_page = crop_page(replace(label, problem_markup=markup), PAGE, CropStyle(mode="page")).warnings
    assert of_page == {name: count for name, count in warnings.items() if name == "lone_mieum"}


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
        ("가", noise(60, 3), "box_too_small"),
    ],
)
def test_a_whole_page_that_gives_no_line_is_a_reject(problem: str, page: Image.Image, reason: str) -> None:
    label = replace(make_label(), problem_markup=problem)
    crops = crop_page(label, page, CropStyle(mode="page"))
    assert (crops.lines, [(reject.reason, reject.box) for reject in crops.rejects]) == ([], [(reason, None)])


def test_a_style_refuses_what_it_does_not_know() -> None:
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
        truths = {box.corners: box.lines for box in made.boxes}
        lines = iter(crops.lines)
        for box in label.boxes:
            truth = truths[box.x0, box.y0, box.x1, box.y1]
            for made_line in truth:
                line = next(lines)
                pixels = pixels_of(line.image_bytes).astype(int)
                assert line.text == canonical(made_line.text)
                if len(truth) == 1:
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
def test_a_line_is_stored_with_the_pixels_that_every_image_is_stored_with(
    size: Literal["384", "native"], image_format: Literal["png", "jpeg"]
) -> None:
    config = ImageConfig(size=size, format=image_format)
    (line,) = crop_page(make_label(make_box(3, 4, 50, 31)), PAGE, CropStyle(image=config)).lines
    expected = encode_image(PAGE.crop((3, 4, 50, 31)), config)
    assert Image.open(io.BytesIO(line.image_bytes)).format == image_format.upper()
    assert pixels_of(line.image_bytes).tobytes() == pixels_of(expected).tobytes()

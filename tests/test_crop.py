import io
import math
import random
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from ocr_ray.errors import CropError
from ocr_ray.images import ImageConfig, encode_image
from ocr_ray.pages import crop
from ocr_ray.pages.aihub import Box, PageLabel
from ocr_ray.pages.crop import crop_line, crop_page, open_page

NATIVE_PNG = ImageConfig(size="native", format="png")


def noise(width_px: int, height_px: int) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height_px, width_px), dtype=np.uint8))


def encoded(image: Image.Image, image_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def make_box(x0: float, y0: float, x1: float, y1: float, markup: str = "$1$", index: int = 0) -> Box:
    return Box(index=index, x0=x0, y0=y0, x1=x1, y1=y1, markup=markup)


def make_label(*boxes: Box) -> PageLabel:
    return PageLabel(page_id="P3_1", problem_markup="", boxes=boxes, out_of_scope={})


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


def test_transparent_pixels_become_white_and_ink_stays() -> None:
    page = Image.new("RGBA", (3, 1), (0, 0, 0, 0))
    page.putpixel((1, 0), (20, 20, 20, 255))
    page.putpixel((2, 0), (0, 0, 0, 128))
    assert list(open_page(encoded(page)).tobytes()) == [255, 20, 127]


def test_transparency_of_palettes_and_grey_pages_is_flattened_on_white() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 10, 10, 10])
    palette.putpixel((1, 0), 1)
    assert list(open_page(encoded(palette, transparency=0)).tobytes()) == [255, 10]
    grey = Image.new("LA", (2, 1), (0, 0))
    grey.putpixel((1, 0), (10, 255))
    assert list(open_page(encoded(grey)).tobytes()) == [255, 10]
    assert list(open_page(encoded(Image.new("RGB", (1, 1)), transparency=(0, 0, 0))).tobytes()) == [255]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_white_is_white_in_every_kind_of_png(mode: str) -> None:
    white = Image.fromarray(np.full((2, 2), 65535, np.uint16)) if mode == "I;16" else None
    page = open_page(encoded(white or Image.new("L", (2, 2), 255).convert(mode)))
    assert (page.mode, page.tobytes()) == ("L", b"\xff" * 4)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_pages_are_read_as_greyscale(mode: str) -> None:
    page = open_page(encoded(Image.new("RGB", (8, 8), (200, 200, 200)).convert(mode), "JPEG"))
    assert page.mode == "L"
    assert page.getpixel((4, 4)) == pytest.approx(200, abs=2)


def test_a_page_is_not_turned_by_its_exif() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees to display"
    assert open_page(encoded(PAGE, "JPEG", exif=exif)).size == PAGE.size


def bomb_png(width_px: int, height_px: int) -> bytes:
    """A PNG whose header promises more than it holds."""
    content = bytearray(encoded(Image.new("L", (1, 1))))
    content[16:24] = width_px.to_bytes(4, "big") + height_px.to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no image",
        encoded(PAGE)[:-200],
        encoded(PAGE, "JPEG")[:300],
        encoded(PAGE, "BMP"),
        bomb_png(10_000, 5_001),
        bomb_png(100_000, 100_000),
        bomb_png(70_000, 8),
    ],
)
def test_damaged_foreign_and_huge_images_are_bad_image(content: bytes) -> None:
    with pytest.raises(CropError, match=r"bad_image: ."):
        open_page(content)


def test_a_page_with_flipped_bytes_is_opened_or_is_bad_image() -> None:
    rng = random.Random(0)
    for content in (encoded(PAGE), encoded(PAGE.convert("RGBA")), encoded(PAGE, "JPEG")):
        for _ in range(300):
            damaged = bytearray(content)
            for _ in range(rng.randint(1, 4)):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            try:
                outcome = open_page(bytes(damaged)).mode
            except CropError as error:
                outcome = error.reason
            assert outcome in {"L", "bad_image"}


def test_a_line_carries_its_label_its_pixels_and_its_place() -> None:
    label = make_label(
        make_box(0, 0, 20, 10, "None", index=0),
        make_box(2, 3, 32, 13, r" $3 \times 8$ ", index=2),
    )
    (line,), (reject,) = crop_page(label, PAGE, NATIVE_PNG)
    assert (line.line_id, line.page_id, line.page_order, line.source) == ("P3_1#2", "P3_1", 1, "page")
    assert (line.text, line.markup) == ("3 × 8", r"$3 \times 8$")
    assert (line.width_px, line.height_px, line.font, line.style) == (30, 10, None, None)
    image = Image.open(io.BytesIO(line.image_bytes))
    assert (image.mode, image.tobytes()) == ("L", PAGE.crop((2, 3, 32, 13)).tobytes())
    assert (reject.reason, reject.page_id, reject.box) == ("empty_text", "P3_1", "0")


def test_text_and_markup_are_nfc() -> None:
    (line,), _ = crop_page(make_label(make_box(0, 0, 20, 10, "\u1100\u1161 $7$")), PAGE, NATIVE_PNG)
    assert (line.text, line.markup) == ("가 7", "가 $7$")


@pytest.mark.parametrize(
    ("markup", "text"),
    [
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
    (line,), _ = crop_page(make_label(make_box(0, 0, 20, 10, markup)), PAGE, NATIVE_PNG)
    assert (line.text, line.markup) == (text, markup.strip())


@pytest.mark.parametrize("markup", ["", " ", "None", "$$", "\u200b", "\u3000 $\ufeff$"])
def test_a_box_without_text_is_a_reject(markup: str) -> None:
    lines, rejects = crop_page(make_label(make_box(0, 0, 20, 10, markup)), PAGE, NATIVE_PNG)
    assert (lines, [reject.reason for reject in rejects]) == ([], ["empty_text"])


def test_markup_that_cannot_be_printed_is_a_reject() -> None:
    label = make_label(make_box(0, 0, 20, 10, r"$\begin{array} 1 \end{array}$"))
    lines, rejects = crop_page(label, PAGE, NATIVE_PNG)
    assert (lines, [reject.reason for reject in rejects]) == ([], ["unsupported_markup"])


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            COORDINATES, COORDINATES, COORDINATES, COORDINATES, st.sampled_from(["$7$개", "None", r"\x", ""])
        ),
        max_size=6,
    )
)
def test_every_box_is_a_line_or_a_reject(values: list[tuple[float, float, float, float, str]]) -> None:
    label = make_label(*(make_box(*box, index=2 * rank) for rank, box in enumerate(values)))
    lines, rejects = crop_page(label, PAGE, NATIVE_PNG)
    if not label.boxes:
        assert [(reject.reason, reject.box) for reject in rejects] == [("no_line_boxes", None)]
        return
    places = [int(line.line_id.split("#")[1]) for line in lines] + [
        int(reject.box or -1) for reject in rejects
    ]
    assert sorted(places) == [box.index for box in label.boxes]
    assert {reject.reason for reject in rejects} <= {
        "empty_text",
        "unsupported_markup",
        "box_outside_page",
        "empty_box",
        "box_too_small",
    }


def test_a_stored_line_is_a_greyscale_square_of_384_px() -> None:
    drawn = Image.new("L", (300, 20), 255)
    ImageDraw.Draw(drawn).line((5, 5, 290, 15), fill=0, width=2)
    expected = drawn.resize((384, 384), Image.Resampling.BILINEAR)
    stored = Image.open(io.BytesIO(encode_image(drawn, ImageConfig(format="png"))))
    assert (stored.format, stored.mode, stored.tobytes()) == ("PNG", "L", expected.tobytes())
    lossy = Image.open(io.BytesIO(encode_image(drawn, ImageConfig())))
    assert (lossy.format, lossy.mode, lossy.size) == ("JPEG", "L", (384, 384))
    difference = np.asarray(lossy).astype(int) - np.asarray(expected)
    assert np.abs(difference).mean() < 2


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_stored_bytes_depend_on_the_pixels_alone(image_format: str) -> None:
    config = ImageConfig(size="native", format=image_format)  # type: ignore[arg-type]
    noted = PAGE.copy()
    noted.info = {"icc_profile": b"profile", "comment": b"comment", "transparency": 3, "dpi": (300, 300)}
    assert encode_image(noted, config) == encode_image(PAGE, config)


def test_a_line_in_colour_and_an_unknown_format_are_refused() -> None:
    with pytest.raises(ValueError, match="must be 8-bit greyscale"):
        encode_image(PAGE.convert("RGB"), ImageConfig())
    with pytest.raises(ValueError, match="format must be jpeg or png"):
        ImageConfig(format="gif")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="size must be 384 or native"):
        ImageConfig(size="512")  # type: ignore[arg-type]


def test_every_page_that_may_be_opened_can_be_stored_as_jpeg() -> None:
    strip = Image.new("L", (crop.MAX_PAGE_SIDE_PX, 4), 255)
    assert encode_image(strip, ImageConfig(size="native", format="jpeg"))

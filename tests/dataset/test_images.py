import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ocr_ray.dataset.images import MAX_LINE_PIXELS, ImageConfig, check_image, encode_image, open_line_image
from ocr_ray.errors import InputError
from ocr_ray.pages.files.page_image import MAX_PAGE_SIDE_PX

PAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8))


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
def test_stored_bytes_depend_only_on_the_pixels(image_format: str) -> None:
    config = ImageConfig(size="native", format=image_format)  # type: ignore[arg-type]
    with_metadata = PAGE.copy()
    with_metadata.info = {
        "icc_profile": b"profile",
        "comment": b"comment",
        "transparency": 3,
        "dpi": (300, 300),
    }
    assert encode_image(with_metadata, config) == encode_image(PAGE, config)


def test_a_line_in_colour_and_an_unknown_format_are_refused() -> None:
    with pytest.raises(ValueError, match="must be 8-bit greyscale"):
        encode_image(PAGE.convert("RGB"), ImageConfig())
    with pytest.raises(ValueError, match="format must be jpeg or png"):
        ImageConfig(format="gif")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="size must be 384 or native"):
        ImageConfig(size="512")  # type: ignore[arg-type]


def test_every_page_that_can_be_opened_can_be_stored_as_jpeg() -> None:
    strip = Image.new("L", (MAX_PAGE_SIDE_PX, 4), 255)
    assert encode_image(strip, ImageConfig(size="native", format="jpeg"))


def to_bytes(image: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def make_png(width_px: int, height_px: int, data: bytes = b"", more: bytes = b"") -> bytes:
    """Return a greyscale PNG of any claimed size, its chunks as PNG's specification has them."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "content",
    [
        to_bytes(PAGE.convert("RGB"), "EPS"),
        *(to_bytes(PAGE, name) for name in ("GIF", "TIFF", "WEBP", "BMP", "PPM", "ICO", "JPEG2000", "PDF")),
        b"",
        b"no image",
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    ],
    ids=lambda content: repr(content[:8]),
)
def test_only_png_and_jpeg_are_decoded(content: bytes) -> None:
    for open_or_check in (open_line_image, check_image):
        with pytest.raises(InputError, match=r"image of line 7 must be a PNG or JPEG file, it is none"):
            open_or_check(content, "line 7")


@pytest.mark.filterwarnings("ignore:Invalid APNG")
@pytest.mark.parametrize(
    "content",
    [
        to_bytes(PAGE, "PNG")[:-100],
        to_bytes(PAGE, "JPEG")[:-300],
        to_bytes(PAGE, "PNG").replace(b"IDAT", b"iDAT"),
        make_png(30, 30, zlib.compress(bytes(10))),
        make_png(30, 30, zlib.compress(bytes(930)), struct.pack(">I4sIII", 8, b"acTL", 0, 0, 0xDEB7E2E4)),
    ],
    ids=["PNG cut", "JPEG cut", "no pixels", "few pixels", "no frames"],
)
def test_a_damaged_image_is_refused_by_the_name_of_its_line(content: bytes) -> None:
    with pytest.raises(InputError, match=r"image of line 7 must be (intact|a PNG or JPEG)"):
        open_line_image(content, "line 7")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "1", "P", "CMYK"])
def test_ink_on_transparent_paper_is_black_on_white_and_other_modes_keep_their_colours(mode: str) -> None:
    drawn = Image.new("L", (2, 1), 255)
    drawn.putpixel((0, 0), 0)
    image = drawn.convert("RGBA" if mode == "PA" else mode)
    if mode in ("RGBA", "LA", "PA"):  # black everywhere, opaque in one pixel
        image = Image.merge("LA", [Image.new("L", (2, 1), 0), drawn.point(lambda level: 255 - level)])
        image = image.convert("RGBA").quantize(4) if mode == "PA" else image.convert(mode)
    content = to_bytes(image, "JPEG" if mode == "CMYK" else "PNG")
    opened = open_line_image(content, "line 7").convert("L")
    assert np.abs(np.asarray(opened).astype(int) - np.asarray(drawn)).max() < (40 if mode == "CMYK" else 1)


def test_an_image_of_16_bits_is_refused() -> None:
    deep = to_bytes(Image.fromarray(np.full((4, 4), 3000, np.uint16)), "PNG")
    with pytest.raises(InputError, match=r"image of line 7 must have 8 bits per channel, it has 16"):
        open_line_image(deep, "line 7")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size_px", [(13_000, 13_000), (7_072, 7_072), (65_501, 1), (60_000, 60_000)])
def test_the_claimed_size_is_checked_before_an_image_is_decoded(size_px: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=r"image of line 7 must"):
        open_line_image(make_png(*size_px), "line 7")  # without pixels: decoding would fail otherwise


def test_a_line_as_large_as_a_page_is_decoded() -> None:
    size_px = (25_000, 2_000)
    assert size_px[0] * size_px[1] == MAX_LINE_PIXELS
    assert open_line_image(to_bytes(Image.new("1", size_px), "PNG"), "line 7").size == size_px

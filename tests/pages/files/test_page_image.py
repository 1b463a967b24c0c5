import io
import random
import zlib

import numpy as np
import pytest
from PIL import Image

from ocr_ray.errors import CropError
from ocr_ray.pages.files.page_image import open_page

PAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8))


def encoded(image: Image.Image, image_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def test_transparent_pixels_become_white_and_ink_stays() -> None:
    page = Image.new("RGBA", (3, 1), (0, 0, 0, 0))
    page.putpixel((1, 0), (20, 20, 20, 255))
    page.putpixel((2, 0), (0, 0, 0, 128))
    assert list(open_page(encoded(page)).tobytes()) == [255, 20, 127]


def test_transparent_pages_are_blended_with_white() -> None:
    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 256, (64, 256, 4), dtype=np.uint8)
    rgba[0, :, 3], rgba[1, :, 3], rgba[2, :, 3] = 0, 255, np.arange(256)
    colour, alpha = rgba[..., :3].astype(float), rgba[..., 3].astype(float) / 255
    expected = (colour @ [0.299, 0.587, 0.114]) * alpha + 255 * (1 - alpha)
    page = np.asarray(open_page(encoded(Image.fromarray(rgba))))
    assert np.abs(page - expected).max() <= 1
    grey = np.asarray(Image.fromarray(rgba[..., :3]).convert("L")).astype(int)
    blended = np.rint((grey * rgba[..., 3] + 255 * (255 - rgba[..., 3].astype(int))) / 255)
    assert (page == blended).all()


def test_16_bit_pages_are_scaled_and_1_bit_and_palette_pages_keep_their_greys() -> None:
    ramp = np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16)
    assert (np.asarray(open_page(encoded(Image.fromarray(ramp)))) == ramp // 256).all()
    bits = np.random.default_rng(0).random((16, 16)) < 0.5
    assert (np.asarray(open_page(encoded(Image.fromarray(bits)))) == bits * 255).all()
    greys = np.arange(256, dtype=np.uint8).reshape(16, 16)
    palette = Image.fromarray(greys).convert("RGB").quantize(256)
    assert (np.asarray(open_page(encoded(palette))) == np.asarray(palette.convert("L"))).all()


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


def test_exif_orientation_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees to display"
    assert open_page(encoded(PAGE, "JPEG", exif=exif)).size == PAGE.size


def bomb_png(width_px: int, height_px: int) -> bytes:
    """Return a PNG whose header declares a larger image."""
    content = bytearray(encoded(Image.new("L", (1, 1))))
    content[16:24] = width_px.to_bytes(4, "big") + height_px.to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def bomb_jpeg(width_px: int, height_px: int) -> bytes:
    """Return a JPEG whose header declares a larger image."""
    content = bytearray(encoded(Image.new("L", (8, 8)), "JPEG"))
    size = content.index(b"\xff\xc0") + 5
    content[size : size + 4] = height_px.to_bytes(2, "big") + width_px.to_bytes(2, "big")
    return bytes(content)


@pytest.mark.filterwarnings("ignore:Image size:PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no image",
        encoded(PAGE)[:-200],
        encoded(PAGE, "JPEG")[:300],
        encoded(PAGE, "BMP"),
        bomb_png(10_000, 5_001),
        bomb_png(10_000, 9_500),
        bomb_jpeg(65_500, 65_500),
        bomb_jpeg(10_000, 9_500),
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

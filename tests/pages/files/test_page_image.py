import io
import random
import struct
import zlib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from builders.labelled_boxes import make_box, make_label
from PIL import Image, ImageOps

from ocr_ray.errors import CropError
from ocr_ray.pages.files.page_image import decode_page, open_page
from ocr_ray.pages.labels.page_label import PageLabel

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


def deep_png(levels: npt.NDArray[np.uint16], colour_type: int) -> bytes:
    """Return a PNG of 16 bits, written by hand: Pillow writes grey ones only. Shape (H, W, channels)."""
    height, width = levels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    header = struct.pack(">2I5B", width, height, 16, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(make_chunk(*chunk) for chunk in chunks)


def make_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def add_chunk(png: bytes, kind: bytes, data: bytes) -> bytes:
    """Return a PNG with a chunk behind its header."""
    return png[:33] + make_chunk(kind, data) + png[33:]


CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""Of the colour types of PNG: grey, colour, each with transparency."""


@pytest.mark.parametrize("colour_type", CHANNELS)
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_a_16_bit_page_is_scaled_by_the_bits_that_it_uses(colour_type: int, bits: int) -> None:
    greys = np.arange(256, dtype=np.uint16).reshape(16, 16) << (bits - 8)
    levels = np.repeat(greys[..., None], CHANNELS[colour_type], axis=2)
    if colour_type >= 4:
        levels[..., -1] = 65535  # opaque
    page = np.asarray(open_page(deep_png(levels, colour_type)))
    assert (page == np.arange(256).reshape(16, 16)).all()


@pytest.mark.parametrize("bits", [8, 16])
def test_dark_ink_on_transparent_paper_stays_dark_in_16_bits(bits: int) -> None:
    ink, opaque = (26 << (bits - 8)), 2**bits - 1
    levels = np.zeros((4, 8, 4), np.uint16)
    levels[:, 2:4] = (ink, ink, ink, opaque)
    page = np.asarray(open_page(deep_png(levels, 6)))
    assert (page == [255, 255, 26, 26, 255, 255, 255, 255]).all()


def label_of(
    boxes: Iterable[tuple[float, float, float, float]] = (), size: tuple[int, int] | None = None
) -> PageLabel:
    return replace(make_label(*(make_box(*box) for box in boxes)), image_size=size)


def turned_page(orientation: int, image_format: str = "PNG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(PAGE, image_format, exif=exif)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "MPO"])  # MPO: JPEG of several cameras and phones
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_page_turned_by_exif_becomes_upright_if_the_label_is(orientation: int, image_format: str) -> None:
    content = turned_page(orientation, image_format)
    stored = Image.open(io.BytesIO(content))
    upright = ImageOps.exif_transpose(stored)
    assert (stored.size, upright.size) == ((60, 40), (40, 60))
    both, only_upright, only_stored = (5, 5, 35, 35), (5, 45, 35, 58), (45, 5, 58, 35)
    for label, expected, warnings in (
        (label_of([both], size=(40, 60)), upright, ()),
        (label_of([only_stored], size=(40, 60)), upright, ()),
        (label_of([both], size=(60, 40)), stored, ()),
        (label_of([both, only_upright]), upright, ("exif_orientation",)),
        (label_of([both, only_stored]), stored, ("exif_orientation",)),
        (label_of([both]), stored, ("exif_orientation",)),
        (label_of([only_upright, only_stored]), stored, ("exif_orientation",)),
        (label_of([both], size=(80, 120)), stored, ("other_image_size", "exif_orientation")),
    ):
        page = decode_page(content, label)
        assert (page.image.tobytes(), page.image.size) == (expected.tobytes(), expected.size)
        assert page.warnings == warnings
    assert open_page(content).size == stored.size


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_a_page_mirrored_or_upside_down_by_exif_is_a_warning(orientation: int) -> None:
    page = decode_page(turned_page(orientation), label_of(size=(60, 40)))
    assert (page.image.tobytes(), page.warnings) == (PAGE.tobytes(), ("exif_orientation",))


def test_an_invalid_or_normal_exif_orientation_is_no_warning() -> None:
    for orientation in (0, 1, 9):
        assert decode_page(turned_page(orientation), label_of(size=(60, 40))).warnings == ()
    assert decode_page(encoded(PAGE), label_of(size=(40, 60))).warnings == ("other_image_size",)


@pytest.mark.parametrize(("ink_share", "warnings"), [(0.0, ()), (0.5, ()), (0.95, ("dark_page",))])
def test_a_page_that_is_almost_black_is_a_warning(ink_share: float, warnings: tuple[str, ...]) -> None:
    page = Image.new("L", (100, 100), 255)
    page.paste(30, (0, 0, 100, int(100 * ink_share)))
    assert decode_page(encoded(page)).warnings == warnings


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


@pytest.mark.filterwarnings("ignore:Image size:PIL.Image.DecompressionBombWarning", "ignore:Invalid APNG")
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
        encoded(PAGE)[:33] + struct.pack(">I4sIII", 8, b"acTL", 0, 0, 0xDEB7E2E4) + encoded(PAGE)[33:],
        add_chunk(encoded(PAGE), b"iCCP", b""),
        encoded(PAGE, "WEBP"),
    ],
)
def test_damaged_foreign_and_huge_images_are_bad_image(content: bytes) -> None:
    with pytest.raises(CropError, match=r"bad_image: ((?! at 0x).)+$"):  # equal for equal files
        open_page(content)


def test_an_orientation_in_xmp_turns_a_page_too() -> None:
    xmp = b'XML:com.adobe.xmp\0\0\0\0\0<rdf:Description tiff:Orientation="6"/>'
    page = decode_page(add_chunk(encoded(PAGE), b"iTXt", xmp), label_of(size=(40, 60)))
    assert page.image.tobytes() == PAGE.transpose(Image.Transpose.ROTATE_270).tobytes()


def test_a_page_with_flipped_bytes_is_opened_or_is_bad_image() -> None:
    rng = random.Random(0)
    deep = np.full((9, 9, 4), 255, np.uint16)
    plain = (encoded(PAGE), encoded(PAGE.convert("RGBA")), encoded(PAGE, "JPEG"))
    for content in (*plain, turned_page(6), turned_page(6, "JPEG"), deep_png(deep, 6), deep_png(deep, 2)):
        for _ in range(300):
            damaged = bytearray(content)
            for _ in range(rng.randint(1, 4)):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            try:
                outcome = decode_page(bytes(damaged), label_of()).image.mode
            except CropError as error:
                outcome = error.reason
            assert outcome in {"L", "bad_image"}

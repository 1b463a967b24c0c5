"""Page images decoded, images of lines encoded."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from ocr_ray.dataset.images import BAD_IMAGE, IMAGE_FORMATS, SQUARE_SIZE_PX, ImageConfig, encode_image
from ocr_ray.errors import CropError
from ocr_ray.pages.labels.page_label import PageLabel

cv2.setNumThreads(0)

MAX_PAGE_PIXELS = 50_000_000
MAX_PAGE_SIDE_PX = 65_500
"""The longest side that JPEG allows."""
PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 2, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)
"""Rows of a stretched line resemble each other: a third of the time of `encode_image`, and 16 % smaller."""
DEEP_RANGES = (8, 10, 12, 14, 16)
"""Bits that scanners and programs use of the 16 of a deep PNG."""
BAND_PIXELS = 4_000_000
DARK_LEVEL, DARK_SHARE = 64, 0.9
"""A page is dark if this share of its pixels is below this grey level."""
BOX_SLACK = 1.02
"""How far boxes can reach beyond a page, as a factor of its sides, and still belong to it."""
EXIF_ORIENTATION, DARK_PAGE, OTHER_SIZE = "exif_orientation", "dark_page", "other_image_size"
"""Warnings about a page."""

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes stored pixels upright, by the EXIF orientation; from 5 on it swaps the sides."""
_BIT_DEPTH_AT = 24
"""Offset of the bit depth in a PNG file."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PageImage:
    """A decoded page."""

    image: Image.Image
    """8-bit greyscale (`L`), in the pixels of the boxes."""
    warnings: tuple[str, ...]
    """What is odd about it: `exif_orientation`, `other_image_size`, `dark_page`."""


def open_page(content: bytes, label: PageLabel | None = None) -> Image.Image:
    """Return a PNG or JPEG page as `decode_page` does, without the warnings."""
    return decode_page(content, label).image


def decode_page(content: bytes, label: PageLabel | None = None, *, upright: bool = False) -> PageImage:
    """Return a PNG or JPEG page as 8-bit greyscale (`L`), transparent pixels flattened on white.

    A page with an EXIF orientation is made upright if only then it fits the label: the size of the image, if
    the label states it, else the boxes. Otherwise the pixels stay as stored; `upright` makes a page without a
    label upright too.

    Raises:
        CropError: `bad_image`: truncated, another format, or too many pixels.
    """
    with _open_image(content) as image:
        image.load()
        orientation = _read_orientation(image)
        page = _flatten(_narrow(image, content))
    is_turned, warnings = _choose_orientation(page.size, orientation, label)
    is_turned |= upright and label is None and orientation != 1
    if _is_dark(page):
        warnings.append(DARK_PAGE)
    return PageImage(
        image=page.transpose(_UPRIGHT[orientation]) if is_turned else page, warnings=tuple(warnings)
    )


def count_pixels(content: bytes) -> int:
    """Return the number of pixels that a page declares; 0 if it cannot be decoded."""
    try:
        with _open_image(content) as image:
            return image.width * image.height
    except CropError:
        return 0


@contextmanager
def _open_image(content: bytes) -> Iterator[Image.Image]:
    """The image in a PNG or JPEG file, not yet decoded; raises as `decode_page` does, also for the body."""
    try:
        with Image.open(io.BytesIO(content), formats=IMAGE_FORMATS) as image:
            width_px, height_px = image.size
            if width_px * height_px > MAX_PAGE_PIXELS or max(image.size) > MAX_PAGE_SIDE_PX:
                limits = f"{MAX_PAGE_PIXELS} px, {MAX_PAGE_SIDE_PX} px per side"
                raise CropError("bad_image", f"a page can have {limits}, got {width_px}x{height_px}")
            yield image
    except UnidentifiedImageError as error:
        raise CropError("bad_image", "a page must be a PNG or JPEG file, it is none") from error
    except BAD_IMAGE as error:
        raise CropError("bad_image", str(error)[:200]) from error


def _read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of a loaded image, 1 if it has none that is valid."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except (*BAD_IMAGE, TypeError, KeyError):  # damaged metadata
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _choose_orientation(
    stored: tuple[int, int], orientation: int, label: PageLabel | None
) -> tuple[bool, list[str]]:
    """Return whether a page must be made upright to fit its label, and the warnings."""
    if label is None:
        return False, []
    upright = stored[::-1] if orientation >= 5 else stored
    if label.image_size is not None and label.image_size not in (stored, upright):
        return False, [OTHER_SIZE, *[EXIF_ORIENTATION] * (orientation != 1)]
    if orientation == 1:
        return False, []
    if label.image_size is not None and upright != stored:
        return label.image_size == upright, []
    return _hold_boxes(upright, label) and not _hold_boxes(stored, label), [EXIF_ORIENTATION]


def _hold_boxes(size: tuple[int, int], label: PageLabel) -> bool:
    width, height = (BOX_SLACK * side for side in size)
    return all(max(box.x0, box.x1) <= width and max(box.y0, box.y1) <= height for box in label.boxes)


def _narrow(image: Image.Image, content: bytes) -> Image.Image:
    """Return an image with at most 8 bits per channel; a PNG of 16 is scaled by the bits that it uses."""
    levels = _read_levels(image, content)
    if levels is None:
        return image
    bits = next(bits for bits in DEEP_RANGES if bits == 16 or levels.max() < 2**bits)
    narrow = np.empty(levels.shape, np.uint8)
    for top, bottom in _iter_bands(image.size):
        narrow[top:bottom] = (levels[top:bottom] >> (bits - 8)).clip(0, 255)
    return Image.fromarray(narrow)


def _read_levels(image: Image.Image, content: bytes) -> npt.NDArray[Any] | None:
    """Return the levels of a PNG of 16 bits, without an opaque channel; None if `image` has what counts.

    Of colours Pillow keeps the upper 8 bits: a page with levels from 0 to 255 would be black.
    """
    if image.mode.startswith("I"):
        return np.asarray(image)
    if image.format != "PNG" or content[_BIT_DEPTH_AT] != 16 or not _uses_few_bits(image):
        return None
    levels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if levels is None or levels.dtype != np.uint16 or levels.ndim != 3:
        return None
    is_opaque = levels.shape[2] == 4 and levels[..., 3].min() == levels[..., 3].max()
    channels = [2, 1, 0, 3][: 3 if is_opaque else levels.shape[2]]  # OpenCV has blue first
    return np.asarray(levels[..., channels])


def _uses_few_bits(image: Image.Image) -> bool:
    """Return whether the upper 8 bits of 16, which Pillow keeps, show colours of at most 14 bits.

    Dark ink on transparent paper does too, but its transparency does not.
    """
    extrema: Any = image.getextrema()
    *colours, last = extrema
    is_opaque = image.mode == "RGBA" and last == (255, 255)
    limit = 2 ** (DEEP_RANGES[-2] - 8)
    return all(highest < limit for _, highest in (colours if is_opaque else [*colours, last]))


def _iter_bands(size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield top and bottom of the bands in which an image is converted, to save memory."""
    width_px, height_px = size
    step = max(1, BAND_PIXELS // width_px)
    for top in range(0, height_px, step):
        yield top, min(top + step, height_px)


def _flatten(image: Image.Image) -> Image.Image:
    page = Image.new("L", image.size)
    for top, bottom in _iter_bands(image.size):
        page.paste(_flatten_band(image.crop((0, top, image.width, bottom))), (0, top))
    return page


def _flatten_band(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("L")
    rgba = image.convert("RGBA")
    page = Image.new("L", image.size, 255)
    page.paste(rgba.convert("L"), mask=rgba.getchannel("A"))
    return page


def _is_dark(page: Image.Image) -> bool:
    counts = page.histogram()
    return sum(counts[:DARK_LEVEL]) > DARK_SHARE * sum(counts)


def encode_line(image: Image.Image, config: ImageConfig) -> bytes:
    """Return the image file of a line, with the same pixels as that of `encode_image`."""
    if config.size == "native" or config.format == "jpeg":
        return encode_image(image, config)
    square = image.resize((SQUARE_SIZE_PX, SQUARE_SIZE_PX), Image.Resampling.BILINEAR)
    return bytes(cv2.imencode(".png", np.asarray(square), PNG_OPTIONS)[1])

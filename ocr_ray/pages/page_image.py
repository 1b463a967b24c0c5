"""Page images opened, and parts of them cut out: always of the original pixels."""

import io
import math

import cv2
import numpy as np
from PIL import Image

from ocr_ray.dataset.images import SQUARE_SIZE_PX, ImageConfig, encode_image
from ocr_ray.errors import CropError
from ocr_ray.pages.labels.read import Box

MAX_PAGE_PIXELS = 50_000_000
MAX_PAGE_SIDE_PX = 65_500
"""The longest side that a JPEG may have."""
MIN_SIDE_PX = 4
"""Anything lower or narrower holds no printed character."""
PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 2, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)
"""A row of a stretched line is much like the one above: a third of the time of `images`, and 16 % smaller."""

Corners = tuple[int, int, int, int]
"""x0, y0, x1, y1 in page pixels, half-open."""


def open_page(content: bytes) -> Image.Image:
    """Return a PNG or JPEG page as 8-bit greyscale (`L`), what is transparent flattened on white.

    EXIF orientation is ignored: labels count in the stored pixels.

    Raises:
        CropError: `bad_image`: truncated, another format, or too many pixels.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            width_px, height_px = image.size
            if width_px * height_px > MAX_PAGE_PIXELS or max(image.size) > MAX_PAGE_SIDE_PX:
                raise CropError(
                    "bad_image", f"a page may have {MAX_PAGE_PIXELS} px, got {width_px}x{height_px}"
                )
            image.load()
            return _flatten(image)
    # Pillow's readers raise `OSError` on truncated files, `SyntaxError` on broken PNG chunks.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CropError("bad_image", str(error)[:200]) from error


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits; Pillow would clip at 255 where the range must be scaled
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("L")
    rgba = image.convert("RGBA")
    page = Image.new("L", image.size, 255)
    page.paste(rgba.convert("L"), mask=rgba.getchannel("A"))
    return page


def crop_line(page: Image.Image, box: Box, margin_px: int = 0) -> Image.Image:
    """Return the part of `page` inside `box` and the margin, clipped to the page, in whole pixels.

    Raises:
        CropError: `empty_box`, `box_outside_page` or `box_too_small`, whatever the margin.
    """
    return page.crop(widen(clip_box(box, page), page, margin_px))


def clip_box(box: Box, page: Image.Image) -> Corners:
    """Return the corners of a box on its page, rounded outwards to whole pixels."""
    found = f"[{box.x0:g}, {box.y0:g}, {box.x1:g}, {box.y1:g}]"
    if not (box.x0 < box.x1 and box.y0 < box.y1):  # holds for NaN as well
        raise CropError("empty_box", f"{found} must have left < right and top < bottom")
    if box.x1 <= 0 or box.y1 <= 0 or box.x0 >= page.width or box.y0 >= page.height:
        raise CropError("box_outside_page", f"{found} on a page of {page.width}x{page.height} px")
    x0, y0 = math.floor(max(box.x0, 0)), math.floor(max(box.y0, 0))
    x1, y1 = math.ceil(min(box.x1, page.width)), math.ceil(min(box.y1, page.height))
    if min(x1 - x0, y1 - y0) < MIN_SIDE_PX:
        raise CropError("box_too_small", f"{found} leaves {x1 - x0}x{y1 - y0} px, {MIN_SIDE_PX} are needed")
    return x0, y0, x1, y1


def widen(corners: Corners, page: Image.Image, margin_px: int) -> Corners:
    """Return the corners moved outwards by the margin, as far as the page reaches."""
    x0, y0, x1, y1 = corners
    return (
        max(x0 - margin_px, 0),
        max(y0 - margin_px, 0),
        min(x1 + margin_px, page.width),
        min(y1 + margin_px, page.height),
    )


def encode_line(image: Image.Image, config: ImageConfig) -> bytes:
    """Return the file of a line; its pixels are those that `encode_image` stores."""
    if config.size == "native" or config.format == "jpeg":
        return encode_image(image, config)
    square = image.resize((SQUARE_SIZE_PX, SQUARE_SIZE_PX), Image.Resampling.BILINEAR)
    return bytes(cv2.imencode(".png", np.asarray(square), PNG_OPTIONS)[1])

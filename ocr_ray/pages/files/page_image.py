"""Page images decoded, images of lines encoded."""

import io

import cv2
import numpy as np
from PIL import Image

from ocr_ray.dataset.images import SQUARE_SIZE_PX, ImageConfig, encode_image
from ocr_ray.errors import CropError

cv2.setNumThreads(0)

MAX_PAGE_PIXELS = 50_000_000
MAX_PAGE_SIDE_PX = 65_500
"""The longest side that JPEG allows."""
PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 2, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)
"""Rows of a stretched line resemble each other: a third of the time of `encode_image`, and 16 % smaller."""


def open_page(content: bytes) -> Image.Image:
    """Return a PNG or JPEG page as 8-bit greyscale (`L`), transparent pixels flattened on white.

    EXIF orientation is ignored, because the boxes of labels are in stored pixels.

    Raises:
        CropError: `bad_image`: truncated, another format, or too many pixels.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            width_px, height_px = image.size
            if width_px * height_px > MAX_PAGE_PIXELS or max(image.size) > MAX_PAGE_SIDE_PX:
                limits = f"{MAX_PAGE_PIXELS} px, {MAX_PAGE_SIDE_PX} px per side"
                raise CropError("bad_image", f"a page can have {limits}, got {width_px}x{height_px}")
            image.load()
            return _flatten(image)
    # Pillow raises `OSError` on truncated files, `SyntaxError` on broken PNG chunks.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CropError("bad_image", str(error)[:200]) from error


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits; Pillow would clip at 255 instead of scaling
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("L")
    rgba = image.convert("RGBA")
    page = Image.new("L", image.size, 255)
    page.paste(rgba.convert("L"), mask=rgba.getchannel("A"))
    return page


def encode_line(image: Image.Image, config: ImageConfig) -> bytes:
    """Return the image file of a line, with the same pixels as that of `encode_image`."""
    if config.size == "native" or config.format == "jpeg":
        return encode_image(image, config)
    square = image.resize((SQUARE_SIZE_PX, SQUARE_SIZE_PX), Image.Resampling.BILINEAR)
    return bytes(cv2.imencode(".png", np.asarray(square), PNG_OPTIONS)[1])

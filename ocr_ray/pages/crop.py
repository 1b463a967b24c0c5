"""Lines cut out of their page: always of the original pixels, never of a resized page."""

import io
import math

import numpy as np
from PIL import Image

from ocr_ray.errors import CropError, LabelError, RowError
from ocr_ray.images import ImageConfig, encode_image
from ocr_ray.lines import Reject, TextLine
from ocr_ray.pages.aihub import EMPTY_TEXTS, Box, PageLabel
from ocr_ray.text.canonical import canonical
from ocr_ray.text.hangul import nfc
from ocr_ray.text.markup import to_text

MAX_PAGE_PIXELS = 50_000_000
MAX_PAGE_SIDE_PX = 65_500
"""The longest side that a JPEG may have."""
MIN_SIDE_PX = 4
"""Anything lower or narrower holds no printed character."""


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


def crop_line(page: Image.Image, box: Box) -> Image.Image:
    """Return the part of `page` inside `box`, clipped to the page, rounded outwards to whole pixels.

    Raises:
        CropError: `empty_box`, `box_outside_page` or `box_too_small`.
    """
    found = f"[{box.x0:g}, {box.y0:g}, {box.x1:g}, {box.y1:g}]"
    if not (box.x0 < box.x1 and box.y0 < box.y1):  # holds for NaN as well
        raise CropError("empty_box", f"{found} must have left < right and top < bottom")
    if box.x1 <= 0 or box.y1 <= 0 or box.x0 >= page.width or box.y0 >= page.height:
        raise CropError("box_outside_page", f"{found} on a page of {page.width}x{page.height} px")
    x0, y0 = math.floor(max(box.x0, 0)), math.floor(max(box.y0, 0))
    x1, y1 = math.ceil(min(box.x1, page.width)), math.ceil(min(box.y1, page.height))
    if min(x1 - x0, y1 - y0) < MIN_SIDE_PX:
        raise CropError("box_too_small", f"{found} leaves {x1 - x0}x{y1 - y0} px, {MIN_SIDE_PX} are needed")
    return page.crop((x0, y0, x1, y1))


def crop_page(
    label: PageLabel, page: Image.Image, config: ImageConfig
) -> tuple[list[TextLine], list[Reject]]:
    """Return a line for every box of the label, or the reason why there is none; likewise for a page without.

    A line's text is in canonical form with single spaces; its markup is what the label says, in NFC.
    `page` is greyscale, as `open_page` returns it. `page_order` is the rank among the
    label's line boxes, so that a rejected box leaves a gap.
    """
    lines, rejects = [], []
    if not label.boxes:
        found = f"its label has {label.out_of_scope or 'no boxes'}"
        rejects.append(Reject(reason="no_line_boxes", detail=found, page_id=label.page_id))
    for order, box in enumerate(label.boxes):
        try:
            lines.append(_make_line(label, page, config, order))
        except RowError as error:
            rejects.append(
                Reject(reason=error.reason, detail=error.detail, page_id=label.page_id, box=str(box.index))
            )
    return lines, rejects


def _make_line(label: PageLabel, page: Image.Image, config: ImageConfig, order: int) -> TextLine:
    box = label.boxes[order]
    markup = nfc(box.markup).strip()
    text = "" if markup in EMPTY_TEXTS else " ".join(canonical(to_text(markup)).split())
    if not text:
        raise LabelError("empty_text", f"the label's text is {box.markup!r}")
    image = crop_line(page, box)
    return TextLine(
        line_id=f"{label.page_id}#{box.index}",
        image_bytes=encode_image(image, config),
        text=text,
        markup=markup,
        source="page",
        width_px=image.width,
        height_px=image.height,
        page_id=label.page_id,
        page_order=order,
    )

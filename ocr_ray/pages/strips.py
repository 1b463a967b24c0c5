"""Boxes cut into rows of print before it is known what they say."""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from ocr_ray.pages.crop import crop_line
from ocr_ray.pages.labels.page_label import Box
from ocr_ray.pages.layout.text_rows import Ink, find_bands, find_ink, pad_bands, trim_columns


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Strip:
    """One row of print that is to be read."""

    box_index: int
    name: str
    """Ends its `line_id`: the box, and behind a dot the row if it has several."""
    order: int
    """Its place among the rows of the page; one that could not be cut leaves a gap."""
    image: Image.Image
    """Greyscale (`L`), the page's own pixels."""
    has_ink: bool


def cut_strips(page: Image.Image, box: Box, *, order: int, margin_px: int) -> list[Strip]:
    """Return the rows of print in a box from top to bottom, at least one; `order` is that of the first.

    Rows that stand clearly apart are several. `page` is greyscale, as `open_page` returns it. What the label
    says of the box's text is not asked; where it says it, these are the lines that `crop_page` cuts out.

    Raises:
        CropError: `empty_box`, `box_outside_page` or `box_too_small`.
    """
    inside = crop_line(page, box)
    ink = find_ink(np.asarray(inside))
    bands = find_bands(ink, 1)
    if len(bands) < 2 or _may_be_syllable(ink, bands):
        image = crop_line(page, box, margin_px)
        name = f"{box.index}"
        return [Strip(box_index=box.index, name=name, order=order, image=image, has_ink=bool(bands))]
    x0, y0 = max(int(box.x0), 0), max(int(box.y0), 0)
    strips = []
    for rank, (top, bottom) in enumerate(pad_bands(bands, inside.height)):
        left, right = trim_columns(ink[top:bottom])
        row = replace(box, x0=x0 + left, y0=y0 + top, x1=x0 + right, y1=y0 + bottom)
        strips.append(
            Strip(
                box_index=box.index,
                name=f"{box.index}.{rank}",
                order=order + rank,
                image=crop_line(page, row, margin_px),
                has_ink=True,
            )
        )
    return strips


def _may_be_syllable(ink: Ink, bands: list[tuple[int, int]]) -> bool:
    """Return whether the print is no wider than one character, such as `승`, whose parts stand far apart."""
    left, right = trim_columns(ink)
    height = bands[-1][1] - bands[0][0]
    return height <= right - left <= 1.5 * height

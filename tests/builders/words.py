"""Cropped lines of synthetic pages, and the words cut from them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ocr_ray.dataset.ink import Pixels
from ocr_ray.pages.files.page_image import open_page
from ocr_ray.pages.layout.words import WordImage, cut_words
from ocr_ray.pages.synthetic.pages import Schema, make_page


@dataclass(frozen=True, kw_only=True)
class CroppedLine:
    page_id: str
    line_id: str
    text: str
    pixels: Pixels
    words: list[tuple[int, int]]
    """Left and right of each word's ink, half-open, in line pixels."""
    tops: list[int]
    """Top of each word's ink, in page pixels."""


def crop_lines(
    font_bytes: bytes, num_pages: int, *, seed: int = 11, schema: Schema = "71716"
) -> Iterator[CroppedLine]:
    """Yield the lines with several words."""
    for number in range(num_pages):
        page = make_page(seed, number, font_bytes=font_bytes, schema=schema)
        pixels = np.asarray(open_page(page.image_bytes))
        for rank, line in enumerate(page.lines):
            x0, y0, x1, y1 = line.box
            if len(line.words) > 1:
                yield CroppedLine(
                    page_id=page.page_id,
                    line_id=f"{page.page_id}#{rank}",
                    text=line.text,
                    pixels=pixels[y0:y1, x0:x1],
                    words=[(word[0] - x0, word[2] - x0) for word in line.words],
                    tops=[word[1] for word in line.words],
                )


def cut_synthetic_words(font_bytes: bytes, num_pages: int) -> list[WordImage]:
    return [
        word
        for line in crop_lines(font_bytes, num_pages)
        for word in cut_words(line.pixels, line.text, page_id=line.page_id, line_id=line.line_id)
    ]

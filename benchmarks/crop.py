"""Boxes per second that one core cuts from synthetic pages: `python -m benchmarks.crop`.

Measured from the files of pages to encoded lines of 384x384 px, in three ways: ours, which opens each page
once for all its boxes and checks their print; a plain loop with Pillow as a user would write it, which opens
the page for each box; and the floor, which only decodes each page and encodes each line, already cut and
resized. Times are process times, so that other work on the machine matters little. The last line of the
output is JSON: `ratio` is the speed of ours over plain, `decode_floor_share` that of ours over the floor, and
`decode_share` the share of our time spent on opening pages.
"""

import io
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from ocr_ray.dataset.images import SQUARE_SIZE_PX
from ocr_ray.pages.config import CropStyle
from ocr_ray.pages.crop import crop_page
from ocr_ray.pages.files.page_image import encode_line, open_page
from ocr_ray.pages.labels.read import PageLabel, read_label
from ocr_ray.pages.synthetic.pages import make_page
from ocr_ray.render.fonts.find import DEFAULT_FONTS, find_available_fonts

SEED, NUM_PAGES, TURNS = 7, 150, 7
SQUARE = (SQUARE_SIZE_PX, SQUARE_SIZE_PX)
STYLE = CropStyle()

Page = tuple[bytes, PageLabel]


def make_pages() -> list[Page]:
    """Return the image files of 71716 pages in all fonts, with their labels."""
    fonts = find_available_fonts(DEFAULT_FONTS)
    pages = []
    for number in range(NUM_PAGES):
        font = fonts[number % len(fonts)]
        page = make_page(SEED, number, font_bytes=font.content, font_index=font.face)
        pages.append((page.image_bytes, read_label(page.label_bytes, page.page_id)))
    return pages


def crop_ours(page: Page) -> list[bytes]:
    """Return the lines of a page as this package cuts them."""
    content, label = page
    return [line.image_bytes for line in crop_page(label, open_page(content), STYLE).lines]


def crop_plainly(page: Page) -> list[bytes]:
    """Return the lines of a page as a plain loop over its boxes cuts them."""
    content, label = page
    lines = []
    for box in label.boxes:
        drawn = Image.open(io.BytesIO(content)).convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn).convert("L")
        line = image.crop((int(box.x0), int(box.y0), int(box.x1), int(box.y1)))
        buffer = io.BytesIO()
        line.resize(SQUARE, Image.Resampling.BILINEAR).save(buffer, "PNG")
        lines.append(buffer.getvalue())
    return lines


def measure(work: Callable[[Any], Any], items: list[Any]) -> float:
    """Return the process time in seconds that `work` takes for all items."""
    started = time.process_time()
    for item in items:
        work(item)
    return time.process_time() - started


def main() -> None:
    """Measure all ways in turn and print the best time of each."""
    pages = make_pages()
    lines = [[Image.open(io.BytesIO(line)) for line in crop_ours(page)] for page in pages]
    num_boxes = sum(map(len, lines))
    ready = [(content, squares) for (content, _), squares in zip(pages, lines, strict=True)]
    for (_, label), ours, plain in zip(pages, lines, map(crop_plainly, pages), strict=True):
        assert len(ours) == len(plain) == len(label.boxes)
        for square, content in zip(ours, plain, strict=True):
            difference = np.asarray(square).astype(int) - np.asarray(Image.open(io.BytesIO(content)))
            assert np.abs(difference).max() <= 2, "both ways must cut the same lines"

    def do_floor_work(page: tuple[bytes, list[Image.Image]]) -> None:
        Image.open(io.BytesIO(page[0])).load()
        for square in page[1]:
            encode_line(square, STYLE.image)

    works: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
        "ours": (crop_ours, pages),
        "plain": (crop_plainly, pages),
        "floor": (do_floor_work, ready),
        "open": (lambda page: open_page(page[0]), pages),
    }
    seconds = {name: min(measure(work, items) for _ in range(TURNS)) for name, (work, items) in works.items()}
    print(f"{num_boxes} boxes on {len(pages)} pages, best of {TURNS} turns", file=sys.stderr)
    results = {
        "boxes_per_s": round(num_boxes / seconds["ours"], 1),
        "plain_per_s": round(num_boxes / seconds["plain"], 1),
        "ratio": round(seconds["plain"] / seconds["ours"], 2),
        "decode_floor_share": round(seconds["floor"] / seconds["ours"], 2),
        "decode_share": round(seconds["open"] / seconds["ours"], 2),
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main()

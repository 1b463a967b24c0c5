"""The rows of one part of crops: lines of its pages, or lines spliced from words of many pages."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pyarrow as pa

from ocr_ray.dataset.lines import FIRST_SPLICED_NUMBER, PartRow, PartSpec, Reject, TextLine, TopicCount
from ocr_ray.errors import RowError
from ocr_ray.pages.config import CropStyle
from ocr_ray.pages.crop import PageCrops, crop_page, cut_boxes
from ocr_ray.pages.files.load import PageLoader, count_boxes, count_warnings
from ocr_ray.pages.files.store import PageFile
from ocr_ray.pages.labels.page_label import PageLabel
from ocr_ray.pages.layout.splice import SpliceConfig, WordPool, splice_line
from ocr_ray.pages.layout.words import WordImage, cut_words
from ocr_ray.randomness import keyed_generator

LINES_PER_POOL, PAGES_PER_POOL = 256, 64
"""Consecutive spliced lines that draw from the words of the same pages, and the number of these pages."""
PIXELS_PER_POOL = 2**28
"""In all words of a pool; the pages after them are not used. A page of 600 dpi has about 2**21 of words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CropInputs:
    """Everything that the parts of a dataset of crops are made from."""

    loader: PageLoader
    pages: Mapping[str, pa.Table]
    """By split: `page_id`, `image_path`, `label_path`. Tables, because workers share their memory."""
    style: CropStyle
    seed: int

    def list_files(self, split: str, indices: Iterable[int]) -> Iterator[PageFile]:
        """Yield pages of a split by their index."""
        for index in indices:
            (row,) = self.pages[split].slice(index, 1).to_pylist()
            yield PageFile(**row)

    def name_item(self, split: str, number: int) -> str:
        """Return the name of an item for messages: a page, or the number of a spliced line."""
        if number >= FIRST_SPLICED_NUMBER:
            return f"spliced line {number}"
        return next(f"page {file.page_id} ({file.image_path})" for file in self.list_files(split, [number]))


def crop_part(inputs: CropInputs, spec: PartSpec) -> Iterator[PartRow]:
    """Yield the lines, rejects and counts of a part."""
    if spec.start >= FIRST_SPLICED_NUMBER:
        yield from _splice_part(inputs, spec)
        return
    if (spec.split, spec.index) == ("train", 0):
        yield from inputs.loader.account_for_other_files()
    for file, loading in inputs.loader.load_ahead(
        inputs.list_files(spec.split, range(spec.start, spec.stop))
    ):
        try:
            page = loading.result()
            opened = page.open()
        except RowError as error:
            yield Reject(reason=error.reason, detail=error.detail, page_id=file.page_id)
            yield TopicCount(topic="pages", name="rejected")
            continue
        crops = crop_page(page.label, opened.image, inputs.style, opened.warnings)
        yield from crops.lines
        yield from crops.rejects
        yield from _count_page(page.label, crops, inputs.style)


def _count_page(label: PageLabel, crops: PageCrops, style: CropStyle) -> Iterator[TopicCount]:
    is_rejected = any(reject.box is None for reject in crops.rejects)
    yield TopicCount(topic="pages", name="rejected" if is_rejected else "read")
    yield from count_warnings(crops.warnings)
    if style.mode == "line":
        yield from count_boxes(label, sum(reject.box is not None for reject in crops.rejects))


def _splice_part(inputs: CropInputs, spec: PartSpec) -> Iterator[TextLine | Reject]:
    config = SpliceConfig(image=inputs.style.image)
    for block, numbers in groupby(range(spec.start, spec.stop), lambda number: number // LINES_PER_POOL):
        pool = WordPool(_read_words(inputs, spec.split, block))
        for number in numbers:
            yield splice_line(pool, seed=inputs.seed, number=number, config=config)


def _read_words(inputs: CropInputs, split: str, block: int) -> Iterator[WordImage]:
    """Yield the words of random pages of a split, chosen by the number of the block."""
    num_pages = inputs.pages[split].num_rows
    random = keyed_generator(inputs.seed, "pages of spliced lines", block)
    chosen = np.sort(random.choice(num_pages, min(num_pages, PAGES_PER_POOL), replace=False))
    left_px = PIXELS_PER_POOL
    for file, loading in inputs.loader.load_ahead(inputs.list_files(split, chosen.tolist())):
        try:
            page = loading.result()
            image = page.open().image
        except RowError:
            continue  # counted as a reject by the part of this page
        pixels = np.asarray(image)
        rows, _ = cut_boxes(page.label, image, with_texts=True)
        for row in rows:
            x0, y0, x1, y1 = row.corners
            line_id = f"{page.label.page_id}#{row.name}"
            words = cut_words(pixels[y0:y1, x0:x1], row.text, page_id=file.page_id, line_id=line_id)
            left_px -= sum(word.pixels.size for word in words)
            if left_px < 0:
                return
            yield from words

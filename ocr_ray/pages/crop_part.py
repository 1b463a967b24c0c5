"""The rows of a part of crops: the lines of its pages, or lines spliced from words of many."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pyarrow as pa

from ocr_ray.dataset.lines import FIRST_SPLICED_NUMBER, PartRow, PartSpec, Reject, TextLine, TopicCount
from ocr_ray.errors import RowError
from ocr_ray.pages.crop import PageCrops, crop_page, cut_lines
from ocr_ray.pages.crop_config import CropStyle
from ocr_ray.pages.files.store import MAX_IMAGE_BYTES, PageFile, PageStore
from ocr_ray.pages.labels.read import MAX_LABEL_BYTES, BoxFormat, PageLabel, read_label
from ocr_ray.pages.layout.words import Word, cut_words
from ocr_ray.pages.page_image import open_page
from ocr_ray.pages.splice import SpliceConfig, WordPool, splice_line
from ocr_ray.randomness import keyed_generator

PAGES_AHEAD = 8
"""Pages that are read while others are cropped: a request to S3 takes longer than a page."""
LINES_PER_POOL, PAGES_PER_POOL = 256, 64
"""Spliced lines whose numbers follow each other draw from the words of the same pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CropInputs:
    """What every part of a dataset of crops needs."""

    store: PageStore
    pages: Mapping[str, pa.Table]
    """By split `page_id`, `image_path`, `label_path`; as tables, since workers share their memory."""
    rejects: tuple[Reject, ...]
    """Files that make no page; they are accounted for in the first part."""
    out_of_scope: Mapping[str, int]
    """Number of pages that are no problem, by kind; likewise."""
    box_format: BoxFormat
    style: CropStyle
    seed: int

    def files_of(self, split: str, indices: Iterable[int]) -> Iterator[PageFile]:
        """Give pages of a split by their places in its order."""
        for index in indices:
            (row,) = self.pages[split].slice(index, 1).to_pylist()
            yield PageFile(**row)


def make_part(inputs: CropInputs, spec: PartSpec) -> Iterator[PartRow]:
    """Yield the lines and rejects of a part, and what was counted."""
    if spec.start >= FIRST_SPLICED_NUMBER:
        yield from _splice_part(inputs, spec)
        return
    if (spec.split, spec.index) == ("train", 0):
        for reject in inputs.rejects:
            yield reject
            yield TopicCount(topic="pages", name="rejected")
        for kind, number in inputs.out_of_scope.items():
            yield TopicCount(topic="pages_out_of_scope", name=kind, number=number)
        yield TopicCount(topic="pages", name="read", number=0)
    for file, read in read_pages(inputs, inputs.files_of(spec.split, range(spec.start, spec.stop))):
        try:
            label, content = read.result()
            page = open_page(content)
        except RowError as error:
            yield Reject(reason=error.reason, detail=error.detail, page_id=file.page_id)
            yield TopicCount(topic="pages", name="rejected")
            continue
        crops = crop_page(label, page, inputs.style)
        yield from crops.lines
        yield from crops.rejects
        yield from _count_page(label, crops, inputs.style)


def read_pages(
    inputs: CropInputs, files: Iterable[PageFile]
) -> Iterator[tuple[PageFile, Future[tuple[PageLabel, bytes]]]]:
    """Give each page with its label and image, or the `RowError` of reading them; some are read ahead."""
    ahead: deque[tuple[PageFile, Future[tuple[PageLabel, bytes]]]] = deque()
    with ThreadPoolExecutor(PAGES_AHEAD) as pool:
        for file in files:
            ahead.append((file, pool.submit(_read_page, inputs, file)))
            if len(ahead) > PAGES_AHEAD:
                yield ahead.popleft()
        yield from ahead


def _read_page(inputs: CropInputs, file: PageFile) -> tuple[PageLabel, bytes]:
    content = inputs.store.read(file.label_path, MAX_LABEL_BYTES)
    label = read_label(content, file.page_id, box_format=inputs.box_format)
    return label, inputs.store.read(file.image_path, MAX_IMAGE_BYTES)


def _count_page(label: PageLabel, crops: PageCrops, style: CropStyle) -> Iterator[TopicCount]:
    """Yield the counts of a page; each of its boxes was cut, was rejected, or is out of scope."""
    is_rejected = any(reject.box is None for reject in crops.rejects)
    yield TopicCount(topic="pages", name="rejected" if is_rejected else "read")
    for name, number in crops.warnings.items():
        yield TopicCount(topic="warnings", name=name, number=number)
    if style.mode == "page":
        return
    num_rejected = sum(reject.box is not None for reject in crops.rejects)
    yield TopicCount(topic="boxes", name="cut", number=len(label.boxes) - num_rejected)
    yield TopicCount(topic="boxes", name="rejected", number=num_rejected)
    for kind, number in label.out_of_scope.items():
        yield TopicCount(topic="boxes_out_of_scope", name=kind, number=number)


def _splice_part(inputs: CropInputs, spec: PartSpec) -> Iterator[TextLine | Reject]:
    config = SpliceConfig(image=inputs.style.image)
    for block, numbers in groupby(range(spec.start, spec.stop), lambda number: number // LINES_PER_POOL):
        pool = WordPool(_read_words(inputs, spec.split, block))
        for number in numbers:
            yield splice_line(pool, seed=inputs.seed, number=number, config=config)


def _read_words(inputs: CropInputs, split: str, block: int) -> Iterator[Word]:
    """Yield the words of some pages of a split, chosen by the number of the block."""
    num_pages = inputs.pages[split].num_rows
    random = keyed_generator(inputs.seed, "pages of spliced lines", block)
    chosen = np.sort(random.choice(num_pages, min(num_pages, PAGES_PER_POOL), replace=False))
    for file, read in read_pages(inputs, inputs.files_of(split, chosen.tolist())):
        try:
            label, content = read.result()
            page = open_page(content)
        except RowError:
            continue  # a counted reject of the part that has the page
        for line_id, text, pixels in cut_lines(label, page):
            yield from cut_words(pixels, text, page_id=file.page_id, line_id=line_id)

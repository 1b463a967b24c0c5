"""Reading images with a model: the lines of each page, in reading order."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from ocr_ray.errors import InputError, RowError
from ocr_ray.pages.crop import Corners, cut_boxes
from ocr_ray.pages.files.store import page_id_of
from ocr_ray.pages.labels.page_label import BoxFormat, PageLabel
from ocr_ray.pages.labels.read import read_label
from ocr_ray.pages.layout.page_lines import find_lines
from ocr_ray.reading.files import (
    FileOrImage,
    ImageLike,
    NamedImage,
    find_images,
    find_label,
    open_pages,
)

if TYPE_CHECKING:
    from ocr_ray.model.recognizer import Recognizer

log = logging.getLogger(__name__)

LINES_AT_ONCE, PIXELS_AT_ONCE = 64, 2**26
"""Lines that are read together, of several images if these have few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLine:
    """A line of an image and its reading."""

    file: str
    """The image as it was named; `image 3` if it has no name."""
    page: int
    """From 1; only a PDF has several."""
    box: Corners
    """x0, y0, x1, y1 in pixels of the page, half-open; a PDF has 200 per inch."""
    text: str
    """NFC."""
    confidence: float
    """Mean probability of the tokens, from 0 to 1."""
    flags: tuple[str, ...] = ()
    """Those of `RecognizedText`."""


class Failure(NamedTuple):
    """An image, or a box of one, that cannot be read."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxSource:
    """Where the boxes of images are."""

    uri: str
    box_format: BoxFormat = "xyxy"


_Cut = tuple[str, int, Corners, Image.Image]
"""File, page, box and image of a line that is to be read."""


def read(
    model: "Recognizer | str",
    images: Sequence[ImageLike] | ImageLike,
    *,
    boxes: str | None = None,
    box_format: BoxFormat = "xyxy",
) -> list[ReadLine]:
    """Return the lines of images in reading order, each with its box, text and confidence.

    `model` is a model as `load_recognizer` takes or returns it. `images` are one or several paths, PIL
    images, or bytes of a file; a path is an image, a PDF, or a folder of them. An image shows one line, or a
    page: upright print in one column on plain paper, whose lines are found at the gaps between them. `boxes`
    is a label in the format of AI Hub 71716 or 71859 with the boxes of the lines, or a folder of labels with
    the names of the images.

    Raises:
        InputError: the model cannot be loaded, or an image or label cannot be read; the message names it.

    Examples:
        >>> import ocr_ray
        >>> line, = ocr_ray.read("models/best_ocr", ocr_ray.render_line("3 × 8 = 24"))
        >>> line.file, line.page, line.box[:2]
        ('image 0', 1, (0, 0))
    """
    found = find_images(images)
    recognizer = load(model) if isinstance(model, str) else model
    lines: list[ReadLine] = []
    for group in read_images(
        recognizer, found, BoxSource(uri=boxes, box_format=box_format) if boxes else None
    ):
        for line in group:
            if isinstance(line, Failure):
                raise InputError(line.reason)
            lines.append(line)
    return lines


def read_images(
    recognizer: "Recognizer", images: Sequence[NamedImage], boxes: BoxSource | None = None
) -> Iterator[list[ReadLine | Failure]]:
    """Yield the lines of images in groups that are read together, and what cannot be read, in their order."""
    waiting: list[_Cut | Failure] = []
    num_px = 0
    for name, image in images:
        for cut in _cut_lines(name, image, boxes, len(images)):
            waiting.append(cut)
            num_px += 0 if isinstance(cut, Failure) else cut[3].width * cut[3].height
            if len(waiting) >= LINES_AT_ONCE or num_px > PIXELS_AT_ONCE:
                yield _read_cuts(recognizer, waiting)
                waiting, num_px = [], 0
    if waiting:
        yield _read_cuts(recognizer, waiting)


def load(model: str) -> "Recognizer":
    """Return a model ready to read; imports PyTorch, which takes seconds."""
    from ocr_ray.model.recognizer import load_recognizer

    return load_recognizer(model)


def _read_cuts(recognizer: "Recognizer", cuts: Sequence[_Cut | Failure]) -> list[ReadLine | Failure]:
    readings = iter(recognizer.read([cut[3] for cut in cuts if not isinstance(cut, Failure)]))
    lines: list[ReadLine | Failure] = []
    for cut in cuts:
        if isinstance(cut, Failure):
            lines.append(cut)
            continue
        (reading,) = islice(readings, 1)
        file, page, box, _ = cut
        lines.append(
            ReadLine(
                file=file,
                page=page,
                box=box,
                text=reading.text,
                confidence=reading.confidence,
                flags=reading.flags,
            )
        )
    return lines


def _cut_lines(
    name: str, image: FileOrImage, boxes: BoxSource | None, num_images: int
) -> Iterator[_Cut | Failure]:
    """Yield the lines of an image, cut out, and what cannot be cut."""
    try:
        label = _read_boxes(boxes, name, num_images) if boxes else None
        for number, page in open_pages(name, image, label):
            if label is None:
                corners = find_lines(np.asarray(page))
                if not corners:
                    log.warning("%s, page %d: no print found", name, number)
            else:
                rows, rejects = cut_boxes(label, page, with_texts=False)
                corners = [row.corners for row in rows]
                for reject in rejects:
                    detail = f"{name}, box {reject.box}: {reject.reason}: {reject.detail}"
                    yield Failure(name, detail)
            for box in corners:
                yield name, number, box, page.crop(box)
    except InputError as error:
        yield Failure(name, str(error))


def _read_boxes(boxes: BoxSource, name: str, num_images: int) -> PageLabel:
    try:
        label = read_label(
            find_label(boxes.uri, name, num_images), page_id_of(name), box_format=boxes.box_format
        )
    except RowError as error:
        raise InputError(f"the label of {name} must hold boxes of lines: {error}") from error
    if not label.boxes:
        raise InputError(f"the label of {name} must hold boxes of lines, it has none")
    return label

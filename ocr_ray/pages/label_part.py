"""The rows of a part of pages that are read: a line for each row of print, and a label file for each page."""

import json
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

import pyarrow as pa
from PIL import Image

from ocr_ray.dataset.images import ImageConfig, encode_image
from ocr_ray.dataset.lines import Count, LabelColumn, PartSpec, Reject, Row, TextLine
from ocr_ray.errors import CropError, LabelError, RowError
from ocr_ray.model.long_lines import ReadImages
from ocr_ray.pages.crop import Strip, cut_strips, print_line
from ocr_ray.pages.files.store import MAX_IMAGE_BYTES, PageFile, PageStore
from ocr_ray.pages.labels.page_label import is_empty
from ocr_ray.pages.labels.read import MAX_LABEL_BYTES, BoxFormat, PageLabel, read_label
from ocr_ray.pages.labels.write import write_label
from ocr_ray.pages.page_image import encode_line, open_page
from ocr_ray.storage.location import Location, write_bytes
from ocr_ray.text.canonical import canonical
from ocr_ray.text.hangul import nfc
from ocr_ray.text.markup import UNSUPPORTED, to_markup

PAGES_AT_ONCE, THREADS = 16, 8
"""Pages whose rows are read in one call, while the next ones are fetched."""
LOW_CONFIDENCE, NO_INK = "low_confidence", "no_ink"
"""Why a line is flagged for a person."""
NATIVE_PNG = ImageConfig(size="native", format="png")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingStyle:
    """How boxes are cut and what becomes of a reading."""

    label_column: LabelColumn = "text"
    """What the reader gives: `text` as printed, or `markup`."""
    flag_below: float = 0.9
    """Lines of less confidence are flagged."""
    margin_px: int = 0
    """Added to each side of a box, as far as the page reaches."""
    image: ImageConfig = field(default_factory=lambda: ImageConfig(format="png"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingInputs:
    """What every part of a dataset of read pages needs."""

    store: PageStore
    pages: pa.Table
    """`page_id`, `image_path`, `label_path` of each page."""
    rejects: tuple[Reject, ...]
    """Files that make no page; they are accounted for in the first part."""
    out_of_scope: dict[str, int]
    """Number of pages that are no problem, by kind; likewise."""
    box_format: BoxFormat
    style: ReadingStyle
    labels: Location
    """The folder that the label files go to."""
    read: ReadImages


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Page:
    """A page whose boxes are cut."""

    file: PageFile
    content: bytes
    """Of its label."""
    label: PageLabel
    strips: list[Strip]
    rejects: list[Reject]
    """Boxes that could not be cut."""


def read_part(inputs: ReadingInputs, spec: PartSpec) -> Iterator[Row]:
    """Yield the lines, rejects and counts of a part, and write the label files of its pages.

    All label files are there once the last row was taken, so before the part is. A page that cannot be
    opened or has no box gets none. Lines are in reading order, page by page.
    """
    if spec.index == 0:
        yield from _account_for_others(inputs)
    files = (PageFile(**row) for row in inputs.pages.slice(spec.start, spec.stop - spec.start).to_pylist())
    ahead: deque[list[Future[_Page | Reject]]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        while some := list(islice(files, PAGES_AT_ONCE)):
            ahead.append([pool.submit(_open, inputs, file) for file in some])
            if len(ahead) > 1:
                yield from _finish(inputs, ahead.popleft(), pool)
        for last in ahead:
            yield from _finish(inputs, last, pool)


def find_flags(line: TextLine) -> list[str]:
    """Return why a person should look at a line that was read; mostly nothing."""
    return list(json.loads(line.style or "{}").get("flags", []))


def confidence_of(style: str | None) -> float:
    """Return the confidence in a line that was read, after its `style`."""
    return float(json.loads(style or "{}").get("confidence", 0.0))


def write_markup(text: str) -> str:
    """Return the markup of a printed text, a printed dollar behind a backslash.

    Raises:
        LabelError: `unsupported_markup`: a backslash cannot be written.
    """
    if "\\" in text:
        raise LabelError(UNSUPPORTED, "\\")
    return r"\$".join(map(to_markup, text.split("$")))


def _account_for_others(inputs: ReadingInputs) -> Iterator[Row]:
    for reject in inputs.rejects:
        yield reject
        yield Count(topic="pages", name="rejected")
    for kind, number in inputs.out_of_scope.items():
        yield Count(topic="pages_out_of_scope", name=kind, number=number)
    yield Count(topic="pages", name="read", number=0)


def _open(inputs: ReadingInputs, file: PageFile) -> _Page | Reject:
    """Return a page with its boxes cut, or why there is nothing to read."""
    try:
        content = inputs.store.read(file.label_path, MAX_LABEL_BYTES)
        label = read_label(content, file.page_id, box_format=inputs.box_format)
        page = open_page(inputs.store.read(file.image_path, MAX_IMAGE_BYTES))
        if not label.boxes:
            raise LabelError("no_line_boxes", f"its label has {label.out_of_scope or 'no boxes'}")
    except RowError as error:
        return Reject(reason=error.reason, detail=error.detail, page_id=file.page_id)
    strips, rejects = _cut(page, label, inputs.style.margin_px)
    return _Page(file=file, content=content, label=label, strips=strips, rejects=rejects)


def _cut(page: Image.Image, label: PageLabel, margin_px: int) -> tuple[list[Strip], list[Reject]]:
    strips: list[Strip] = []
    rejects: list[Reject] = []
    order = 0
    for box in label.boxes:
        try:
            rows = cut_strips(page, box, order=order, margin_px=margin_px)
        except CropError as error:
            rejects.append(_reject(label.page_id, f"{box.index}", error))
            order += 1
        else:
            strips += rows
            order += len(rows)
    return strips, rejects


def _finish(
    inputs: ReadingInputs, opened: Sequence[Future[_Page | Reject]], pool: ThreadPoolExecutor
) -> Iterator[Row]:
    """Yield the rows of some pages, all read at once; their label files are written when it ends."""
    pages = [future.result() for future in opened]
    strips = [strip for page in pages if isinstance(page, _Page) for strip in page.strips]
    texts, confidences = (
        inputs.read([encode_image(strip.image, NATIVE_PNG) for strip in strips]) if strips else ([], [])
    )
    readings = zip(texts, confidences, strict=True)
    writes = []
    for page in pages:
        if isinstance(page, Reject):
            yield page
            yield Count(topic="pages", name="rejected")
            continue
        its = list(islice(readings, len(page.strips)))
        yield from page.rejects
        yield from _make_rows(page, its, inputs.style)
        yield from _count_page(page)
        label = _write_label(page, [text for text, _ in its], inputs.style.label_column)
        writes.append(pool.submit(write_bytes, inputs.labels / f"{page.file.page_id}.json", label))
    for write in writes:
        write.result()


def _make_rows(page: _Page, readings: Sequence[tuple[str, float]], style: ReadingStyle) -> Iterator[Row]:
    for strip, (reading, confidence) in zip(page.strips, readings, strict=True):
        try:
            line = _make_line(page.file.page_id, strip, reading, confidence, style=style)
        except LabelError as error:
            yield _reject(page.file.page_id, strip.name, error)
            continue
        yield line
        for flag in find_flags(line):
            yield Count(topic="flagged", name=flag)


def _make_line(
    page_id: str, strip: Strip, reading: str, confidence: float, *, style: ReadingStyle
) -> TextLine:
    """Return the line of a reading.

    Raises:
        LabelError: `empty_text`: nothing was read; `unsupported_markup`: what was read cannot be printed.
    """
    text, markup = _interpret(reading, style.label_column)
    flags = [LOW_CONFIDENCE] * (confidence < style.flag_below) + [NO_INK] * (not strip.has_ink)
    return TextLine(
        line_id=f"{page_id}#{strip.name}",
        image_bytes=encode_line(strip.image, style.image),
        text=text,
        markup=markup,
        source="page",
        width_px=strip.image.width,
        height_px=strip.image.height,
        page_id=page_id,
        page_order=strip.order,
        style=json.dumps({"confidence": round(confidence, 6), "flags": flags}),
    )


def _interpret(reading: str, label_column: LabelColumn) -> tuple[str, str]:
    """Return text and markup of what was read; raises as `_make_line` does."""
    if label_column == "markup":
        markup = nfc(reading).strip()
        return print_line(markup), markup
    text = " ".join(canonical(reading).split())
    if is_empty(text):
        raise LabelError("empty_text", f"the reading is {text!r}")
    return text, write_markup(text)


def _write_label(page: _Page, readings: Sequence[str], label_column: LabelColumn) -> bytes:
    """Return the label file of a page; what was read and cannot be printed stands in it as it was read."""
    rows: dict[int, list[str]] = {strip.box_index: [] for strip in page.strips}
    for strip, reading in zip(page.strips, readings, strict=True):
        try:
            rows[strip.box_index].append(_interpret(reading, label_column)[1])
        except LabelError:
            rows[strip.box_index].append(" ".join(nfc(reading).split()))
    return write_label(
        page.content,
        page.label,
        markups={index: "\n".join(filter(None, markups)) for index, markups in rows.items()},
        image_name=page.file.image_path.rpartition("/")[2],
    )


def _count_page(page: _Page) -> Iterator[Count]:
    yield Count(topic="pages", name="read")
    yield Count(topic="boxes", name="cut", number=len(page.label.boxes) - len(page.rejects))
    yield Count(topic="boxes", name="rejected", number=len(page.rejects))
    for kind, number in page.label.out_of_scope.items():
        yield Count(topic="boxes_out_of_scope", name=kind, number=number)


def _reject(page_id: str, box: str, error: RowError) -> Reject:
    return Reject(reason=error.reason, detail=error.detail, page_id=page_id, box=box)

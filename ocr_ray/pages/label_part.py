"""The rows of one part of pages that a model labels, and the label files of these pages."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

import pyarrow as pa

from ocr_ray.dataset.images import ImageConfig, encode_image
from ocr_ray.dataset.lines import LabelColumn, PartRow, PartSpec, Reject, TextLine, TopicCount
from ocr_ray.errors import LabelError, RowError
from ocr_ray.model.line_reading import LineReading, ReadImages
from ocr_ray.pages.crop import TextRow, crop_row, cut_boxes
from ocr_ray.pages.files.load import LoadedPage, PageLoader, count_boxes, count_warnings
from ocr_ray.pages.files.page_image import PageImage, count_pixels, encode_line
from ocr_ray.pages.files.store import PageFile
from ocr_ray.pages.labels.page_label import PageLabel
from ocr_ray.pages.labels.write import write_label
from ocr_ray.pages.printed_text import interpret
from ocr_ray.storage.location import Location, write_bytes
from ocr_ray.text.hangul import nfc

PAGES_AT_ONCE, GPU_PAGES_AT_ONCE = 16, 64
"""Pages whose rows are read in one call while the next ones are cut."""
PIXELS_PER_PAGE = 2**22
"""Larger pages are fewer at once."""
THREADS = 8
"""That cut pages."""
MAX_NAME_BYTES = 255
"""Of a label file, as file systems allow; names in a zip can be longer."""
LOW_CONFIDENCE, NO_INK = "low_confidence", "no_ink"
"""Why a line is flagged for review, besides the flags of its reading."""
NATIVE_PNG = ImageConfig(size="native", format="png")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingStyle:
    """How boxes are cut, and how readings are stored."""

    label_column: LabelColumn = "text"
    """What the model gives: `text` as printed, or `markup`."""
    flag_below: float = 0.9
    """Lines of lower confidence are flagged."""
    margin_px: int = 0
    """Added to each side of a box, as far as the page reaches."""
    image: ImageConfig = field(default_factory=lambda: ImageConfig(format="png"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingInputs:
    """Everything that the parts of a dataset of labelled pages are made from."""

    loader: PageLoader
    pages: pa.Table
    """`page_id`, `image_path`, `label_path` of each page."""
    style: ReadingStyle
    labels: Location
    """The folder of the label files."""
    read: ReadImages
    pages_at_once: int = PAGES_AT_ONCE

    @property
    def pixels_at_once(self) -> int:
        return self.pages_at_once * PIXELS_PER_PAGE

    def name_item(self, split: str, number: int) -> str:
        """Return the name of a page for messages."""
        (row,) = self.pages.slice(number, 1).to_pylist()
        return f"page {row['page_id']} ({row['image_path']})"


_Loading = tuple[PageFile, Future[LoadedPage]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _CutPage:
    """A page whose boxes are cut into rows of print."""

    file: PageFile
    label: PageLabel
    label_bytes: bytes
    page: PageImage
    rows: list[TextRow]
    rejects: list[Reject]
    """Boxes that could not be cut."""


def label_part(inputs: ReadingInputs, spec: PartSpec) -> Iterator[PartRow]:
    """Yield the lines, rejects and counts of a part, and write the label files of its pages.

    All label files are written before the last row is taken, so before the part is. A page that cannot be
    opened or has no boxes gets none. Lines are in reading order, page by page.
    """
    if spec.index == 0:
        yield from inputs.loader.account_for_other_files()
    files = (PageFile(**row) for row in inputs.pages.slice(spec.start, spec.stop - spec.start).to_pylist())
    cutting: list[Future[_CutPage | Reject]] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for group in _group_pages(inputs, inputs.loader.load_ahead(files)):
            ahead = [pool.submit(_cut_page, inputs, file, loading) for file, loading in group]
            yield from _read_group(inputs, cutting, pool)
            cutting = ahead
        yield from _read_group(inputs, cutting, pool)


def _group_pages(inputs: ReadingInputs, loaded: Iterable[_Loading]) -> Iterator[list[_Loading]]:
    """Yield the pages in groups of at most `pages_at_once`; a page over `pixels_at_once` ends its group."""
    group: list[_Loading] = []
    num_px = 0
    for file, loading in loaded:
        group.append((file, loading))
        num_px += 0 if loading.exception() else count_pixels(loading.result().image_bytes)
        if len(group) == inputs.pages_at_once or num_px > inputs.pixels_at_once:
            yield group
            group, num_px = [], 0
    if group:
        yield group


def _cut_page(inputs: ReadingInputs, file: PageFile, loading: Future[LoadedPage]) -> _CutPage | Reject:
    """Return a page with its boxes cut, or the reason why there is nothing to read."""
    try:
        _check_name(file.page_id)
        loaded = loading.result()
        page = loaded.open()
        if not loaded.label.boxes:
            detail = f"its label has {loaded.label.out_of_scope or 'no boxes'}"
            raise LabelError("no_line_boxes", detail)
    except RowError as error:
        return Reject(reason=error.reason, detail=error.detail, page_id=file.page_id)
    rows, rejects = cut_boxes(loaded.label, page.image, with_texts=False, margin_px=inputs.style.margin_px)
    return _CutPage(
        file=file,
        label=loaded.label,
        label_bytes=loaded.label_bytes,
        page=page,
        rows=rows,
        rejects=rejects,
    )


def label_name(page_id: str) -> str:
    """Return the name of a page's label file."""
    return f"{page_id}.json"


def _check_name(page_id: str) -> None:
    """Check that a page's label file can have its name.

    Raises:
        LabelError: `name_too_long`.
    """
    num_bytes = len(label_name(page_id).encode())
    if num_bytes > MAX_NAME_BYTES:
        detail = f"the name of its label file must have at most {MAX_NAME_BYTES} bytes, has {num_bytes}"
        raise LabelError("name_too_long", detail)


def _read_group(
    inputs: ReadingInputs, group: Sequence[Future[_CutPage | Reject]], pool: ThreadPoolExecutor
) -> Iterator[PartRow]:
    """Yield the rows of a group of pages; label files are written when it ends."""
    pages = [future.result() for future in group]
    readings = _read_rows(inputs, [page for page in pages if isinstance(page, _CutPage)])
    writes = []
    for page in pages:
        if isinstance(page, Reject):
            yield page
            yield TopicCount(topic="pages", name="rejected")
            continue
        page_readings = list(islice(readings, len(page.rows)))
        yield from page.rejects
        yield from _make_lines(page, page_readings, inputs.style)
        yield TopicCount(topic="pages", name="read")
        yield from count_warnings(page.page.warnings)
        yield from count_boxes(page.label, len(page.rejects))
        label = _write_label(page, [reading.text for reading in page_readings], inputs.style.label_column)
        writes.append(pool.submit(write_bytes, inputs.labels / label_name(page.file.page_id), label))
    for write in writes:
        write.result()


def _read_rows(inputs: ReadingInputs, pages: Iterable[_CutPage]) -> Iterator[LineReading]:
    """Yield the reading of each row of pages; a call reads at most `pixels_at_once`, or one row."""
    images: list[bytes] = []
    num_px = 0
    for page in pages:
        for row in page.rows:
            image = crop_row(page.page.image, row, inputs.style.margin_px)
            if images and num_px + image.width * image.height > inputs.pixels_at_once:
                yield from inputs.read(images)
                images, num_px = [], 0
            images.append(encode_image(image, NATIVE_PNG))
            num_px += image.width * image.height
    if images:
        yield from inputs.read(images)


def _make_lines(page: _CutPage, readings: Sequence[LineReading], style: ReadingStyle) -> Iterator[PartRow]:
    """Yield a line for each reading, or a reject: nothing was read, or it cannot be printed."""
    page_id = page.file.page_id
    for row, reading in zip(page.rows, readings, strict=True):
        image = crop_row(page.page.image, row, style.margin_px)
        try:
            text, markup = interpret(reading.text, style.label_column)
        except LabelError as error:
            yield Reject(reason=error.reason, detail=error.detail, page_id=page_id, box=row.name)
            continue
        is_unsure, is_blank = reading.confidence < style.flag_below, not row.has_ink
        flags = [*[LOW_CONFIDENCE] * is_unsure, *[NO_INK] * is_blank, *reading.flags]
        yield TextLine(
            line_id=f"{page_id}#{row.name}",
            image_bytes=encode_line(image, style.image),
            text=text,
            markup=markup,
            source="page",
            width_px=image.width,
            height_px=image.height,
            page_id=page_id,
            page_order=row.order,
            confidence=round(reading.confidence, 6),
            flags=tuple(flags),
        )
        for flag in flags:
            yield TopicCount(topic="flagged", name=flag)


def _write_label(page: _CutPage, readings: Sequence[str], label_column: LabelColumn) -> bytes:
    """Return the label file of a page; a reading that cannot be printed is kept as it is."""
    markups: dict[int, list[str]] = {row.box_index: [] for row in page.rows}
    for row, reading in zip(page.rows, readings, strict=True):
        try:
            markups[row.box_index].append(interpret(reading, label_column)[1])
        except LabelError:
            markups[row.box_index].append(" ".join(nfc(reading).split()))
    return write_label(
        page.label_bytes,
        page.label,
        markups={index: "\n".join(filter(None, lines)) for index, lines in markups.items()},
        image_name=page.file.image_path.rpartition("/")[2],
    )

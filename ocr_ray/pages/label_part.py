"""The rows of one part of pages that a model labels, and the label files of these pages."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

import pyarrow as pa
from PIL import Image

from ocr_ray.dataset.images import ImageConfig, encode_image
from ocr_ray.dataset.lines import LabelColumn, PartRow, PartSpec, Reject, TextLine, TopicCount
from ocr_ray.errors import LabelError, RowError
from ocr_ray.model.long_lines import ReadImages
from ocr_ray.pages.crop import TextRow, crop_row, cut_boxes, print_line
from ocr_ray.pages.files.load import LoadedPage, PageLoader, count_boxes
from ocr_ray.pages.files.page_image import encode_line
from ocr_ray.pages.files.store import PageFile
from ocr_ray.pages.labels.page_label import is_empty
from ocr_ray.pages.labels.write import write_label
from ocr_ray.storage.location import Location, write_bytes
from ocr_ray.text.canonical import canonical
from ocr_ray.text.hangul import nfc
from ocr_ray.text.markup import UNSUPPORTED, to_markup

PAGES_AT_ONCE, THREADS = 16, 8
"""Pages whose rows are read in one call while the next ones load, and the threads that load them."""
LOW_CONFIDENCE, NO_INK = "low_confidence", "no_ink"
"""Why a line is flagged for review."""
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

    def name_item(self, split: str, number: int) -> str:
        """Return the name of a page for messages."""
        (row,) = self.pages.slice(number, 1).to_pylist()
        return f"page {row['page_id']} ({row['image_path']})"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _CutPage:
    """A page whose boxes are cut into rows of print."""

    file: PageFile
    loaded: LoadedPage
    rows: list[TextRow]
    images: list[Image.Image]
    """Of the rows."""
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
    ahead: deque[list[Future[_CutPage | Reject]]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        while group := list(islice(files, PAGES_AT_ONCE)):
            ahead.append([pool.submit(_load_and_cut, inputs, file) for file in group])
            if len(ahead) > 1:
                yield from _read_group(inputs, ahead.popleft(), pool)
        for futures in ahead:
            yield from _read_group(inputs, futures, pool)


def write_markup(text: str) -> str:
    """Return the markup of a printed text, with a backslash before each printed dollar.

    Raises:
        LabelError: `unsupported_markup`: a backslash has no markup.
    """
    if "\\" in text:
        raise LabelError(UNSUPPORTED, "\\")
    return r"\$".join(map(to_markup, text.split("$")))


def _load_and_cut(inputs: ReadingInputs, file: PageFile) -> _CutPage | Reject:
    """Return a page with its boxes cut, or the reason why there is nothing to read."""
    try:
        loaded = inputs.loader.load(file)
        page = loaded.open()
        if not loaded.label.boxes:
            detail = f"its label has {loaded.label.out_of_scope or 'no boxes'}"
            raise LabelError("no_line_boxes", detail)
    except RowError as error:
        return Reject(reason=error.reason, detail=error.detail, page_id=file.page_id)
    rows, rejects = cut_boxes(loaded.label, page, with_texts=False)
    images = [crop_row(page, row, inputs.style.margin_px) for row in rows]
    return _CutPage(file=file, loaded=loaded, rows=rows, images=images, rejects=rejects)


def _read_group(
    inputs: ReadingInputs, group: Sequence[Future[_CutPage | Reject]], pool: ThreadPoolExecutor
) -> Iterator[PartRow]:
    """Yield the rows of a group of pages, all read in one call; label files are written when it ends."""
    pages = [future.result() for future in group]
    images = [image for page in pages if isinstance(page, _CutPage) for image in page.images]
    texts, confidences = (
        inputs.read([encode_image(image, NATIVE_PNG) for image in images]) if images else ([], [])
    )
    readings = zip(texts, confidences, strict=True)
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
        yield from count_boxes(page.loaded.label, len(page.rejects))
        label = _write_label(page, [text for text, _ in page_readings], inputs.style.label_column)
        writes.append(pool.submit(write_bytes, inputs.labels / f"{page.file.page_id}.json", label))
    for write in writes:
        write.result()


def _make_lines(
    page: _CutPage, readings: Sequence[tuple[str, float]], style: ReadingStyle
) -> Iterator[PartRow]:
    """Yield a line for each reading, or a reject: nothing was read, or it cannot be printed."""
    page_id = page.file.page_id
    for row, image, (reading, confidence) in zip(page.rows, page.images, readings, strict=True):
        try:
            text, markup = _interpret(reading, style.label_column)
        except LabelError as error:
            yield Reject(reason=error.reason, detail=error.detail, page_id=page_id, box=row.name)
            continue
        flags = [LOW_CONFIDENCE] * (confidence < style.flag_below) + [NO_INK] * (not row.has_ink)
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
            confidence=round(confidence, 6),
            flags=tuple(flags),
        )
        for flag in flags:
            yield TopicCount(topic="flagged", name=flag)


def _interpret(reading: str, label_column: LabelColumn) -> tuple[str, str]:
    """Return text and markup of a reading.

    Raises:
        LabelError: `empty_text`: nothing was read; `unsupported_markup`: the reading cannot be printed.
    """
    if label_column == "markup":
        markup = nfc(reading).strip()
        return print_line(markup), markup
    text = " ".join(canonical(reading).split())
    if is_empty(text):
        raise LabelError("empty_text", f"the reading is {text!r}")
    return text, write_markup(text)


def _write_label(page: _CutPage, readings: Sequence[str], label_column: LabelColumn) -> bytes:
    """Return the label file of a page; a reading that cannot be printed is kept as it is."""
    markups: dict[int, list[str]] = {row.box_index: [] for row in page.rows}
    for row, reading in zip(page.rows, readings, strict=True):
        try:
            markups[row.box_index].append(_interpret(reading, label_column)[1])
        except LabelError:
            markups[row.box_index].append(" ".join(nfc(reading).split()))
    return write_label(
        page.loaded.label_bytes,
        page.loaded.label,
        markups={index: "\n".join(filter(None, lines)) for index, lines in markups.items()},
        image_name=page.file.image_path.rpartition("/")[2],
    )

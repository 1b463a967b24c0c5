"""Pages with their boxes drawn on them, next to a table of the lines and rejects of each box."""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from PIL import Image

from ocr_ray.dataset.lines import Reject, TextLine
from ocr_ray.errors import CropError
from ocr_ray.html_page import data_uri, render_page
from ocr_ray.pages.files.page_image import decode_page
from ocr_ray.pages.labels.read import Box, PageLabel

MARGIN_PX = 30
"""Around a page, so that boxes beyond its edges and their numbers can be seen."""
MAX_DRAWN_PIXELS = 8_000_000
"""Larger pages are drawn smaller: the HTML holds all of them, and so does the memory."""
Outcome = Literal["line", "flagged", "reject", "unused"]
_WORST_FIRST: tuple[Outcome, ...] = ("reject", "flagged", "line")


class BoxRow(NamedTuple):
    """What a box gave, or one of the rows of text in it: a line or a reject."""

    name: str
    """The number of the box, with that of the row of text if there are several: `4`, `4.1`; or `page`."""
    outcome: Outcome
    line: TextLine | None = None
    image_uri: str = ""
    flags: Sequence[str] = ()
    confidence: str = ""
    reject: Reject | None = None
    markup: str = ""
    """Of a rejected box, as in the label."""


class DrawnBox(NamedTuple):
    """A box in pixels of the page, moved to where it can be seen; numbers as SVG writes them."""

    number: int
    outcome: Outcome
    x: str
    y: str
    width: str
    height: str
    label_x: str
    label_y: str


class Drawing(NamedTuple):
    """A page image and the boxes on it."""

    image_uri: str
    width_px: int
    height_px: int
    boxes: Sequence[DrawnBox]
    warnings: Sequence[str]
    """What is odd about the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageView:
    """One page as the template shows it."""

    page_id: str
    schema: str
    summary: str
    drawing: Drawing | str
    """Or the reason why the image cannot be opened."""
    rows: Sequence[BoxRow]
    markup: str = ""
    """Of the whole problem; empty: not shown."""
    notes: Sequence[str] = ()
    label_json: str = ""
    """The label file that the job wrote, where lines are reviewed."""
    entries: Mapping[str, int] = field(default_factory=dict)
    """Positions in that file by the number of a box."""


def render_boxes(
    title: str, legend: Mapping[Outcome, str], pages: Sequence[PageView], *, review: object = None
) -> str:
    """Return the HTML of pages; `legend` says what the colour of a box means.

    With `review`, a `ReviewedDataset`, lines can be accepted and corrected.
    """
    has_confidence = any(row.confidence for page in pages for row in page.rows)
    return render_page(
        "pages/html/boxes.html" if review is None else "pages/html/review.html",
        title=title,
        review=review,
        legend=legend,
        pages=pages,
        margin_px=MARGIN_PX,
        has_confidence=has_confidence,
        box_of=_box_of,
    )


def list_rows(label: PageLabel, lines: Iterable[TextLine], rejects: Iterable[Reject]) -> list[BoxRow]:
    """Return lines and rejects in reading order; those of the whole page come first."""
    markup = {str(box.index): box.markup for box in label.boxes}
    rows = [_describe_line(line) for line in lines]
    rows += [
        BoxRow(name, "reject", reject=reject, markup=markup.get(name, ""))
        for reject in rejects
        for name in [reject.box or "page"]
    ]
    order = {str(box.index): rank for rank, box in enumerate(label.boxes)}
    return sorted(rows, key=lambda row: (order.get(_box_of(row), -1), _text_row_of(row)))


def _describe_line(line: TextLine) -> BoxRow:
    flags = line.flags or ()
    return BoxRow(
        line.line_id.rpartition("#")[2],
        "flagged" if flags else "line",
        line=line,
        image_uri=data_uri(line.image_bytes),
        flags=[flag.replace("_", " ") for flag in flags],
        confidence="" if line.confidence is None else f"{100 * line.confidence:.1f} %",
    )


def draw_page(image_bytes: bytes, label: PageLabel, rows: Sequence[BoxRow]) -> Drawing | str:
    """Return the page with its boxes in the colour of their worst row, or why its image cannot be opened."""
    try:
        decoded = decode_page(image_bytes, label)
    except CropError as error:
        return str(error)
    page = decoded.image
    buffer = io.BytesIO()
    shrinking = math.ceil(math.sqrt(page.width * page.height / MAX_DRAWN_PIXELS))
    (page.reduce(shrinking) if shrinking > 1 else page).save(buffer, "PNG")
    boxes = [
        _draw_box(box, page, _find_outcome(box, rows))
        for box in label.boxes
        if not any(map(math.isnan, (box.x0, box.y0, box.x1, box.y1)))
    ]
    return Drawing(data_uri(buffer.getvalue()), page.width, page.height, boxes, decoded.warnings)


def _draw_box(box: Box, page: Image.Image, outcome: Outcome) -> DrawnBox:
    # Corners in the wrong order are drawn all the same.
    x0, x1 = sorted(_limit(x, page.width) for x in (box.x0, box.x1))
    y0, y1 = sorted(_limit(y, page.height) for y in (box.y0, box.y1))
    numbers = (x0, y0, x1 - x0, y1 - y0, x0 - 3, y0 + 11)
    return DrawnBox(box.index, outcome, *(f"{number:g}" for number in numbers))


def _limit(value: float, side_px: int) -> float:
    edge = MARGIN_PX - 2
    return min(max(value, -edge), side_px + edge)


def _find_outcome(box: Box, rows: Iterable[BoxRow]) -> Outcome:
    """Return the worst outcome among the rows of a box."""
    outcomes = {row.outcome for row in rows if _box_of(row) == str(box.index)}
    return next((outcome for outcome in _WORST_FIRST if outcome in outcomes), "unused")


def _box_of(row: BoxRow) -> str:
    return row.name.partition(".")[0]


def _text_row_of(row: BoxRow) -> int:
    number = row.name.partition(".")[2]
    return int(number) if number.isdecimal() else 0

"""Review of the labels that a model wrote: a work place to accept and correct each line in the browser.

The page keeps what was decided in the browser's local storage, under the name of the dataset, and gives it as
corrections.json or as label files of 71716 in a zip.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ocr_ray.dataset.lines import LabelColumn, Reject, TextLine
from ocr_ray.pages.html.boxes import BoxRow, Outcome, PageView, draw_page, list_rows, render_boxes
from ocr_ray.pages.labels.fields import parse_json
from ocr_ray.pages.labels.page_label import BoxFormat
from ocr_ray.pages.labels.read import PageLabel, read_label
from ocr_ray.storage.strict_json import to_json

_LEGEND: dict[Outcome, str] = {"line": "read", "flagged": "flagged for review", "reject": "rejected"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedDataset:
    """What the page needs to know about the dataset."""

    config_sha256: str
    label_column: LabelColumn
    """What is reviewed: the printed text, or markup."""
    box_format: BoxFormat = "xyxy"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPage:
    """A page that a model has labelled, with the lines and rejects of its boxes."""

    page_id: str
    image_path: str = ""
    image_bytes: bytes
    label: PageLabel
    """As it was before the model read the page."""
    label_file: bytes
    """As the job wrote it."""
    lines: Sequence[TextLine]
    rejects: Sequence[Reject]


def review_html(pages: Iterable[LabelledPage], dataset: ReviewedDataset) -> str:
    """Return the HTML of pages in the order given, the boxes of each in reading order.

    Boxes have the numbers of the label. The lines of all pages are reviewed from the least confident one on.
    """
    views = []
    for page in pages:
        rows = list_rows(page.label, page.lines, page.rejects)
        drawing = draw_page(page.image_bytes, page.label, rows)
        views.append(
            PageView(
                page_id=page.page_id,
                schema=page.label.schema,
                summary=_summarise(rows),
                drawing=drawing,
                rows=rows,
                notes=() if isinstance(drawing, str) else drawing.warnings,
                label_json=to_json(parse_json(page.label_file)),
                entries=_number_entries(page, dataset.box_format),
            )
        )
    return render_boxes(
        f"Label review: {len(views)} pages, least confident first", _LEGEND, views, review=dataset
    )


def _number_entries(page: LabelledPage, box_format: BoxFormat) -> Mapping[str, int]:
    """Return the position of each box in the written label, which for 71859 is another than in its own."""
    written = read_label(page.label_file, page.page_id, box_format=box_format)
    return {str(box.index): entry.index for box, entry in zip(page.label.boxes, written.boxes, strict=True)}


def _summarise(rows: Sequence[BoxRow]) -> str:
    lines = [row for row in rows if row.line]
    num_flagged = sum(row.outcome == "flagged" for row in lines)
    return f"{len(lines)} lines, {num_flagged} flagged, {len(rows) - len(lines)} rejects"

"""Review of the labels that a model wrote: each box with its image, text and confidence."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ocr_ray.dataset.lines import Reject, TextLine
from ocr_ray.pages.html.boxes import BoxRow, Outcome, PageView, draw_page, list_rows, render_boxes
from ocr_ray.pages.labels.read import PageLabel

_LEGEND: dict[Outcome, str] = {"line": "read", "flagged": "flagged for review", "reject": "rejected"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPage:
    """A page that a model has labelled, with the lines and rejects of its boxes."""

    page_id: str
    image_bytes: bytes
    label: PageLabel
    """As it was before the model read the page."""
    lines: Sequence[TextLine]
    rejects: Sequence[Reject]


def review_html(pages: Iterable[LabelledPage]) -> str:
    """Return the HTML of pages in the order given, the boxes of each in reading order.

    Boxes have the numbers of the label.
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
            )
        )
    return render_boxes(f"Label review: {len(views)} pages, least confident first", _LEGEND, views)


def _summarise(rows: Sequence[BoxRow]) -> str:
    lines = [row for row in rows if row.line]
    num_flagged = sum(row.outcome == "flagged" for row in lines)
    return f"{len(lines)} lines, {num_flagged} flagged, {len(rows) - len(lines)} rejects"

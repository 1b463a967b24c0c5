"""Preview of the crops: pages with their boxes, and the lines cut from them.

A wrong box format shows at a glance.
"""

from collections.abc import Iterable

from ocr_ray.pages.crop import PageCrops
from ocr_ray.pages.html.boxes import Outcome, PageView, draw_page, list_rows, render_boxes
from ocr_ray.pages.labels.read import PageLabel

_LEGEND: dict[Outcome, str] = {
    "line": "cropped into lines",
    "reject": "rejected",
    "unused": "not used in this mode",
}


def preview_html(pages: Iterable[tuple[str, bytes, PageLabel, PageCrops]]) -> str:
    """Return the HTML of pages: each page's id, image file, label and crops.

    Boxes have the numbers of the label. What reaches far beyond the page is drawn at its margin.
    """
    views = []
    for page_id, image_bytes, label, crops in pages:
        rows = list_rows(label, crops.lines, crops.rejects)
        views.append(
            PageView(
                page_id=page_id,
                schema=label.schema,
                summary=_summarise(label, crops),
                drawing=draw_page(image_bytes, label, rows),
                rows=rows,
                markup=label.problem_markup,
                notes=[f"{name}: {count}" for name, count in crops.warnings.items()],
            )
        )
    return render_boxes(f"Crop preview: {len(views)} pages", _LEGEND, views)


def _summarise(label: PageLabel, crops: PageCrops) -> str:
    counts = f"{len(label.boxes)} boxes, {len(crops.lines)} lines, {len(crops.rejects)} rejects"
    return counts + "".join(f", {count} {kind} out of scope" for kind, count in label.out_of_scope.items())

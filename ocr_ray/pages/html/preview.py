"""Pages with their boxes drawn, and what was cut out of them beside: a wrong box format is seen at once.

One HTML file for any browser, without scripts and without anything outside of it.
"""

import base64
import io
import math
from collections import defaultdict
from collections.abc import Iterable
from html import escape

from PIL import Image

from ocr_ray.dataset.lines import Reject, TextLine
from ocr_ray.errors import CropError
from ocr_ray.pages.crop import PageCrops
from ocr_ray.pages.files.page_image import open_page
from ocr_ray.pages.labels.read import Box, PageLabel

SURROUNDINGS_PX = 30
"""Drawn around a page, so that boxes beyond its edges are seen."""
MAX_TEXT_LENGTH = 500

_STYLE = """
body { font: 14px/1.4 sans-serif; margin: 16px; color: #222; background: #fff; }
h1 { font-size: 18px; } h2 { font-size: 15px; margin: 0 0 8px; } p { margin: 4px 0; }
section { border-top: 1px solid #ccc; padding: 16px 0; }
section > div { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 16px;
  align-items: start; }
svg { width: 100%; height: auto; background: #eee; }
rect { fill: none; stroke-width: 1.5; } text { font: bold 12px sans-serif; }
.line rect { stroke: #1a7f37; } .line text, td.line { fill: #1a7f37; color: #1a7f37; }
.reject rect { stroke: #cf222e; } .reject text, td.reject { fill: #cf222e; color: #cf222e; }
.unused rect { stroke: #888; } .unused text { fill: #888; }
table { border-collapse: collapse; width: 100%; } td { border-top: 1px solid #eee; padding: 4px; }
td { vertical-align: top; overflow-wrap: anywhere; } td:first-child { font-weight: bold; width: 3em; }
td img { max-width: 100%; height: auto; outline: 1px solid #ddd; display: block; }
code { color: #666; white-space: pre-wrap; } .warning { color: #9a6700; }
"""


def preview_html(pages: Iterable[tuple[str, bytes, PageLabel, PageCrops]]) -> str:
    """Return the HTML of pages: each page's id, image file, label, and what was cut out of it.

    Boxes are numbered as in the label: green gave lines, red none, grey were not asked for. What reaches far
    beyond the page is drawn at the edge of its surroundings. A text is shown up to 500 characters.
    """
    sections = [_draw_section(*page) for page in pages]
    return (
        '<!DOCTYPE html>\n<html lang="ko"><head><meta charset="utf-8"><title>Boxes and lines</title>'
        f"<style>{_STYLE}</style></head><body><h1>{len(sections)} pages, their boxes and lines</h1>\n"
        f"{''.join(sections)}</body></html>\n"
    )


def _draw_section(page_id: str, content: bytes, label: PageLabel, crops: PageCrops) -> str:
    try:
        drawing = _draw_page(open_page(content), label, crops)
    except CropError as error:
        drawing = f'<p class="warning">{escape(str(error))}</p>'
    warnings = "".join(
        f'<p class="warning">{escape(name)}: {count}</p>' for name, count in crops.warnings.items()
    )
    rows = "".join(_draw_rows(label, crops))
    problem = escape(_shorten(label.problem_markup))
    found = f"{len(label.boxes)} boxes, {len(crops.lines)} lines, {len(crops.rejects)} rejects"
    scope = "".join(f", {count} {escape(name)} out of scope" for name, count in label.out_of_scope.items())
    return (
        f"<section><h2>{escape(page_id)} ({escape(label.schema)}): {found}{scope}</h2>"
        f"<div><div>{drawing}<p><code>{problem}</code></p>{warnings}</div><table>{rows}</table></div>"
        "</section>\n"
    )


def _draw_page(page: Image.Image, label: PageLabel, crops: PageCrops) -> str:
    edge = SURROUNDINGS_PX
    cropped, rejected = _lines_by_box(crops), _rejects_by_box(crops)
    shapes = []
    for box in label.boxes:
        name = str(box.index)
        kind = "line" if name in cropped else "reject" if name in rejected else "unused"
        shapes.append(f'<g class="{kind}">{_draw_box(box, page)}</g>')
    return (
        f'<svg viewBox="{-edge} {-edge} {page.width + 2 * edge} {page.height + 2 * edge}">'
        f'<image href="{_to_uri(_encode_png(page))}" width="{page.width}" height="{page.height}"/>'
        f"{''.join(shapes)}</svg>"
    )


def _draw_box(box: Box, page: Image.Image) -> str:
    """Return the outline of a box with its number, or nothing if it has no place."""
    if any(map(math.isnan, (box.x0, box.y0, box.x1, box.y1))):
        return ""
    # Corners in the wrong order are drawn all the same.
    x0, x1 = sorted(_limit(x, page.width) for x in (box.x0, box.x1))
    y0, y1 = sorted(_limit(y, page.height) for y in (box.y0, box.y1))
    return (
        f'<rect x="{x0:g}" y="{y0:g}" width="{x1 - x0:g}" height="{y1 - y0:g}"/>'
        f'<text x="{x0 - 3:g}" y="{y0 + 11:g}" text-anchor="end">{box.index}</text>'
    )


def _limit(value: float, side_px: int) -> float:
    """Return a coordinate moved to where it can be seen."""
    edge = SURROUNDINGS_PX - 2
    return min(max(value, -edge), side_px + edge)


def _draw_rows(label: PageLabel, crops: PageCrops) -> Iterable[str]:
    """Yield the rows of the table: what became of the page as a whole, then of each box."""
    cropped, rejected = _lines_by_box(crops), _rejects_by_box(crops)
    for name in ["page", *(str(box.index) for box in label.boxes)]:
        for line in cropped[name]:
            yield f'<tr><td class="line">{_name_of(line)}</td><td>{_draw_line(line)}</td></tr>'
        for reject in rejected[name]:
            found = f"<b>{escape(reject.reason)}</b> {escape(_shorten(reject.detail))}"
            markup = next((box.markup for box in label.boxes if str(box.index) == name), "")
            code = f"<code>{escape(_shorten(markup))}</code>"
            yield f'<tr><td class="reject">{escape(name)}</td><td class="reject">{found}<br>{code}</td></tr>'


def _draw_line(line: TextLine) -> str:
    """Return a line's picture as wide and high as it was on the page, its text and its markup."""
    uri = _to_uri(line.image_bytes)
    text, markup = escape(_shorten(line.text)), escape(_shorten(line.markup))
    code = f"<br><code>{markup}</code>" if line.markup != line.text else ""
    # The picture may be a square; the aspect is that of the page.
    shape = f"width:{line.width_px}px;aspect-ratio:{line.width_px}/{line.height_px}"
    return f'<img src="{uri}" style="{shape}" alt="">{text}{code}'


def _lines_by_box(crops: PageCrops) -> dict[str, list[TextLine]]:
    lines = defaultdict(list)
    for line in crops.lines:
        lines[_name_of(line).partition(".")[0]].append(line)
    return lines


def _rejects_by_box(crops: PageCrops) -> dict[str, list[Reject]]:
    rejects = defaultdict(list)
    for reject in crops.rejects:
        rejects[reject.box or "page"].append(reject)
    return rejects


def _name_of(line: TextLine) -> str:
    """Return the end of a line's id: `4`, `4.1` or `page`."""
    return line.line_id.rpartition("#")[2]


def _encode_png(page: Image.Image) -> bytes:
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()


def _to_uri(content: bytes) -> str:
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_TEXT_LENGTH else f"{text[:MAX_TEXT_LENGTH]}…"

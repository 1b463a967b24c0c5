"""Pages as they were read: each box with its picture, its text, and how sure the reader is of it.

One HTML file for any browser, on a phone too, without scripts and without anything outside of it.
"""

import base64
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from PIL import Image

from ocr_ray.dataset.lines import Reject, TextLine
from ocr_ray.errors import CropError
from ocr_ray.pages.files.page_image import open_page
from ocr_ray.pages.labels.read import Box, PageLabel

SURROUNDINGS_PX = 30
"""Drawn around a page, so that boxes beyond its edges and their numbers are seen."""
MAX_TEXT_LENGTH = 500

_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #222; --faint: #767676; --edge: #ccc;
  --sure: #1a7f37; --flagged: #9a5b00; --reject: #cf222e; --mark: #fff4d6; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181d; --ink: #e6e6e6; --faint: #9a9a9a;
  --edge: #3a3f47; --sure: #4ac26b; --flagged: #e3a008; --reject: #ff7b72; --mark: #3a2f12; } }
body { font: 15px/1.45 sans-serif; margin: 16px; color: var(--ink); background: var(--paper); }
h1 { font-size: 19px; } h2 { font-size: 15px; margin: 0 0 8px; overflow-wrap: anywhere; } p { margin: 4px 0; }
section { border-top: 1px solid var(--edge); padding: 16px 0; break-inside: avoid; }
section > div { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 16px;
  align-items: start; }
@media (max-width: 700px) { section > div { grid-template-columns: minmax(0, 1fr); } }
svg { width: 100%; height: auto; background: #eee; }
rect { fill: none; stroke-width: 1.5; } svg text { font: bold 12px sans-serif; }
.sure rect { stroke: #1a7f37; } .sure text { fill: #1a7f37; }
.flagged rect { stroke: #b06a00; } .flagged text { fill: #b06a00; }
.reject rect { stroke: #cf222e; } .reject text { fill: #cf222e; }
table { border-collapse: collapse; width: 100%; }
td { border-top: 1px solid var(--edge); padding: 6px 4px; vertical-align: top; overflow-wrap: anywhere; }
td:first-child { font-weight: bold; width: 3em; } td:last-child { width: 4.5em; text-align: right; }
tr.sure td:first-child { color: var(--sure); } tr.flagged { background: var(--mark); }
tr.flagged td:first-child, .flags { color: var(--flagged); }
tr.reject td { color: var(--reject); }
td img { max-width: 100%; height: auto; outline: 1px solid var(--edge); display: block; background: #fff; }
code { color: var(--faint); white-space: pre-wrap; }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPage:
    """A page that was read, and what became of its boxes."""

    page_id: str
    image_bytes: bytes
    label: PageLabel
    """As it was before it was read."""
    lines: Sequence[TextLine]
    rejects: Sequence[Reject]


def review_html(pages: Iterable[ReadPage]) -> str:
    """Return the HTML of pages in the order given, the boxes of each in reading order.

    Boxes are numbered as in the label: green were read, amber are flagged for a person, red gave nothing.
    A text is shown up to 500 characters.
    """
    sections = [_draw_section(page) for page in pages]
    return (
        '<!DOCTYPE html>\n<html lang="ko"><head><meta charset="utf-8"><title>Pages as they were read</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>{len(sections)} pages as they were read</h1>\n"
        f"{''.join(sections)}</body></html>\n"
    )


def _draw_section(page: ReadPage) -> str:
    try:
        drawing = _draw_page(open_page(page.image_bytes), page)
    except CropError as error:
        drawing = f"<p>{escape(str(error))}</p>"
    num_flagged = sum(bool(line.flags) for line in page.lines)
    found = f"{len(page.lines)} lines, {num_flagged} flagged, {len(page.rejects)} rejects"
    return (
        f"<section><h2>{escape(page.page_id)} ({escape(page.label.schema)}): {found}</h2>"
        f"<div><div>{drawing}</div><table>{''.join(_draw_rows(page))}</table></div></section>\n"
    )


def _draw_page(image: Image.Image, page: ReadPage) -> str:
    edge = SURROUNDINGS_PX
    shapes = "".join(
        f'<g class="{_kind_of(box, page)}">{_draw_box(box, image)}</g>' for box in page.label.boxes
    )
    return (
        f'<svg viewBox="{-edge} {-edge} {image.width + 2 * edge} {image.height + 2 * edge}">'
        f'<image href="{_to_uri(_encode_png(image))}" width="{image.width}" height="{image.height}"/>'
        f"{shapes}</svg>"
    )


def _kind_of(box: Box, page: ReadPage) -> str:
    """Return what is worst about the rows of a box."""
    if any(_box_of(reject.box or "") == str(box.index) for reject in page.rejects):
        return "reject"
    lines = [line for line in page.lines if _box_of(_name_of(line)) == str(box.index)]
    return "flagged" if any(line.flags for line in lines) else "sure"


def _draw_box(box: Box, image: Image.Image) -> str:
    """Return the outline of a box with its number, or nothing if it has no place."""
    if any(map(math.isnan, (box.x0, box.y0, box.x1, box.y1))):
        return ""
    # Corners in the wrong order are drawn all the same.
    x0, x1 = sorted(_limit(x, image.width) for x in (box.x0, box.x1))
    y0, y1 = sorted(_limit(y, image.height) for y in (box.y0, box.y1))
    return (
        f'<rect x="{x0:g}" y="{y0:g}" width="{x1 - x0:g}" height="{y1 - y0:g}"/>'
        f'<text x="{x0 - 3:g}" y="{y0 + 11:g}" text-anchor="end">{box.index}</text>'
    )


def _limit(value: float, side_px: int) -> float:
    """Return a coordinate moved to where it can be seen."""
    edge = SURROUNDINGS_PX - 2
    return min(max(value, -edge), side_px + edge)


def _draw_rows(page: ReadPage) -> Iterable[str]:
    """Yield the rows of the table in reading order; a reject stands where its line would."""
    rows = [(_name_of(line), _draw_line(line)) for line in page.lines]
    rows += [(reject.box or "page", _draw_reject(reject)) for reject in page.rejects]
    order = {str(box.index): rank for rank, box in enumerate(page.label.boxes)}
    for _, row in sorted(rows, key=lambda row: (order.get(_box_of(row[0]), -1), _row_of(row[0]))):
        yield row


def _draw_line(line: TextLine) -> str:
    """Return a line's picture as wide and high as it was on the page, its text, markup and confidence."""
    flags = line.flags or ()
    code = f"<br><code>{escape(_shorten(line.markup))}</code>" if line.markup != line.text else ""
    named = f'<br><span class="flags">{escape(", ".join(flags).replace("_", " "))}</span>' if flags else ""
    # The picture may be a square; the aspect is that of the page.
    shape = f"width:{line.width_px}px;aspect-ratio:{line.width_px}/{line.height_px}"
    return (
        f'<tr class="{"flagged" if flags else "sure"}"><td>{escape(_name_of(line))}</td>'
        f'<td><img src="{_to_uri(line.image_bytes)}" style="{shape}" alt="">{escape(_shorten(line.text))}'
        f"{code}{named}</td><td>{100 * (line.confidence or 0.0):.1f} %</td></tr>"
    )


def _draw_reject(reject: Reject) -> str:
    return (
        f'<tr class="reject"><td>{escape(reject.box or "page")}</td><td><b>{escape(reject.reason)}</b> '
        f"{escape(_shorten(reject.detail))}</td><td></td></tr>"
    )


def _name_of(line: TextLine) -> str:
    """Return the end of a line's id: `4` or `4.1`."""
    return line.line_id.rpartition("#")[2]


def _box_of(name: str) -> str:
    return name.partition(".")[0]


def _row_of(name: str) -> int:
    row = name.partition(".")[2]
    return int(row) if row.isdecimal() else 0


def _encode_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _to_uri(content: bytes) -> str:
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_TEXT_LENGTH else f"{text[:MAX_TEXT_LENGTH]}…"

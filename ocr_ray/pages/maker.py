"""Pages drawn by the project itself, with labels in the format of AI Hub 71716, for the demo and the tests.

The real pages may not be passed on. These have what matters of them: about 765 px wide, RGBA on a transparent
background, a gothic font of 15-20 px, a problem broken into lines by width alone (even inside a word), maths
in `$…$` in the label but not in print, a byte order mark.
"""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ocr_ray.pages.problems import Problem, make_problem
from ocr_ray.randomness import keyed_generator
from ocr_ray.storage import Location, write_bytes

PAGE_WIDTH_PX = 765
MARGIN_PX = 12
FONT_SIZES_PX = (15, 20)
FIGURE_SIDES_PX = (70, 120)
INK = (26, 26, 26)

# What stays on one line: a number or formula, a Latin word, a character with the punctuation behind it.
_UNBREAKABLE = re.compile(r"(?:\$[^$]*\$|[A-Za-z]+|.)[.,?]?")
_PRINTED_SIGNS = {r"\times": "×", r"\div": "÷", r"\square": "□"}

_Font = ImageFont.FreeTypeFont
_Corners = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeLine:
    """The truth about one line of a made page; corners are x0, y0, x1, y1 in page pixels, half-open."""

    markup: str
    text: str
    ink: _Corners
    """The smallest box around what was drawn."""
    box: _Corners
    """The box in the label: the ink and a margin of a few pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadePage:
    """A drawn page, its label, and what a test needs to know about both."""

    page_id: str
    image_bytes: bytes
    """RGBA PNG; black where it is transparent."""
    label_bytes: bytes
    """UTF-8 JSON with a byte order mark."""
    problem_markup: str
    lines: tuple[MadeLine, ...]
    figure: _Corners | None


def make_page(seed: int, number: int, *, font_bytes: bytes, font_index: int = 0) -> MadePage:
    """Return the page of `number`; depends on the seed, the number and the font alone.

    `font_bytes` is a .ttf or .ttc with Hangul and `×÷□①`, `font_index` the face within it.
    """
    rng = keyed_generator(seed, "page", number)
    problem = make_problem(rng)
    font = ImageFont.truetype(
        io.BytesIO(font_bytes),
        int(rng.integers(FONT_SIZES_PX[0], FONT_SIZES_PX[1] + 1)),
        index=font_index,
        layout_engine=ImageFont.Layout.BASIC,  # the same glyph positions with and without libraqm
    )
    figure_side_px = int(rng.integers(*FIGURE_SIDES_PX)) if problem.has_figure else 0
    text_width_px = PAGE_WIDTH_PX - 2 * MARGIN_PX - (figure_side_px + MARGIN_PX if problem.has_figure else 0)
    markups = [line for part in problem.parts for line in _break_lines(part, font, text_width_px)]
    pitch_px = round(font.size * rng.uniform(1.6, 2.0))
    height_px = 2 * MARGIN_PX + max(len(markups) * pitch_px, figure_side_px)
    ink = Image.new("L", (PAGE_WIDTH_PX, height_px), 0)
    lines = tuple(
        _draw_line(ink, markup, y_px=MARGIN_PX + rank * pitch_px, font=font, rng=rng)
        for rank, markup in enumerate(markups)
    )
    figure = _draw_figure(ink, figure_side_px, rng) if problem.has_figure else None
    page_id = f"P{problem.grade}_{problem.term}_{problem.unit:02}_{problem.topic:05}_{number:05}"
    label = _make_label(page_id, problem, lines, figure)
    return MadePage(
        page_id=page_id,
        image_bytes=_encode_page(ink),
        label_bytes=json.dumps(label, ensure_ascii=False, indent=2).encode("utf-8-sig"),
        problem_markup=problem.markup,
        lines=lines,
        figure=figure,
    )


def write_pages(
    location: Location, *, num_pages: int, seed: int, font_bytes: bytes, font_index: int = 0
) -> None:
    """Write the pages 0 to `num_pages` - 1 into the sub-folders `images` and `labels`."""
    for number in range(num_pages):
        page = make_page(seed, number, font_bytes=font_bytes, font_index=font_index)
        write_bytes(location / "images" / f"{page.page_id}.png", page.image_bytes)
        write_bytes(location / "labels" / f"{page.page_id}.json", page.label_bytes)


def _print_markup(markup: str) -> str:
    """Return what is printed for the markup; not by `text.markup`, so that tests can compare them."""
    text = markup.replace("$", "")
    for command, sign in _PRINTED_SIGNS.items():
        text = text.replace(command, sign)
    return text


def _break_lines(markup: str, font: _Font, width_px: int) -> Iterator[str]:
    line = ""
    for piece in _UNBREAKABLE.findall(markup):
        if line.strip() and font.getlength(_print_markup(line + piece).rstrip()) > width_px:
            yield line.strip()
            line = ""
        line += piece
    yield line.strip()


def _draw_line(
    ink: Image.Image, markup: str, *, y_px: int, font: _Font, rng: np.random.Generator
) -> MadeLine:
    text = _print_markup(markup)
    layer = Image.new("L", ink.size, 0)
    ImageDraw.Draw(layer).text((MARGIN_PX, y_px), text, fill=255, font=font)
    corners = layer.getbbox()
    assert corners is not None, "a line has ink"
    ink.paste(layer.crop(corners), corners[:2])
    left, top, right, bottom = (int(margin) for margin in rng.integers(1, 4, size=4))
    x0, y0, x1, y1 = corners
    return MadeLine(markup=markup, text=text, ink=corners, box=(x0 - left, y0 - top, x1 + right, y1 + bottom))


def _draw_figure(ink: Image.Image, side_px: int, rng: np.random.Generator) -> _Corners:
    """Draw a rectangle, triangle or circle at the right margin; return its corners."""
    x0, y0 = PAGE_WIDTH_PX - MARGIN_PX - side_px, MARGIN_PX
    x1, y1 = x0 + side_px - 1, y0 + side_px - 1  # Pillow's shapes include their last pixel
    draw = ImageDraw.Draw(ink)
    match int(rng.integers(3)):
        case 0:
            draw.rectangle((x0, y0, x1, y1), outline=255, width=2)
        case 1:
            draw.polygon([(x0, y1), (x1, y1), (int(rng.integers(x0, x1)), y0)], outline=255, width=2)
        case _:
            draw.ellipse((x0, y0, x1, y1), outline=255, width=2)
    return x0, y0, x1 + 1, y1 + 1


def _encode_page(ink: Image.Image) -> bytes:
    """Return the PNG of dark ink whose alpha is its strength, on transparent black."""
    page = Image.new("RGBA", ink.size, (0, 0, 0, 0))
    page.paste(INK, mask=ink.point(lambda strength: 255 if strength else 0))
    page.putalpha(ink)
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()


def _make_label(
    page_id: str, problem: Problem, lines: tuple[MadeLine, ...], figure: _Corners | None
) -> dict[str, Any]:
    boxes = [{"type": "line", "bbox": list(line.box), "text": line.markup} for line in lines]
    if figure is not None:
        boxes.append({"type": "image", "bbox": list(figure), "text": "None"})
    return {
        "question_filename": f"{page_id}.png",
        "id": page_id.split("_", 3)[3],
        "question_info": [
            {
                "question_grade": f"P{problem.grade}",
                "question_term": problem.term,
                "question_unit": f"{problem.unit:02}",
                "question_topic": f"{problem.topic:05}",
                "question_topic_name": problem.topic_name,
                "question_type1": "객관식" if len(problem.parts) > 1 else "서술",
                "question_step": "기본",
                "question_difficulty": 2,
            }
        ],
        "OCR_info": [{"figure_text": "", "question_text": problem.markup, "question_bbox": boxes}],
    }

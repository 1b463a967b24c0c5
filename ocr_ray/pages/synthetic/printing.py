"""Printing on synthetic pages: line breaking, drawing of lines and figures, exact bounds of their ink."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Corners = tuple[int, int, int, int]
"""x0, y0, x1, y1 in page pixels, half-open."""
PillowFont = ImageFont.FreeTypeFont

# Never broken: a number or formula, a Latin word, a character and the punctuation after it.
_UNBREAKABLE = re.compile(r"(?:\$[^$]*\$|[A-Za-z]+|.)[.,?]?")
_PRINTED_SIGNS = {r"\times": "×", r"\div": "÷", r"\square": "□"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticLine:
    """The content of one line of a synthetic page."""

    markup: str
    text: str
    ink: Corners
    """Bounds of what was drawn."""
    words: tuple[Corners, ...]
    """Bounds of the ink of each word."""
    box: Corners
    """The ink with a margin of a few pixels."""


def print_markup(markup: str) -> str:
    """Return the printed text of markup, independently of `text.markup`, so that tests can compare both."""
    text = markup.replace("$", "")
    for command, sign in _PRINTED_SIGNS.items():
        text = text.replace(command, sign)
    return text


def break_lines(markup: str, font: PillowFont, width_px: float) -> Iterator[str]:
    """Yield lines of at most `width_px`, broken by width only, even inside a word."""
    line = ""
    for unit in _UNBREAKABLE.findall(markup):
        if line.strip() and font.getlength(print_markup(line + unit).rstrip()) > width_px:
            yield line.strip()
            line = ""
        line += unit
    yield line.strip()


def draw_line(
    ink: Image.Image, markup: str, *, origin: tuple[int, int], font: PillowFont, rng: np.random.Generator
) -> SyntheticLine:
    """Draw a line on `ink` (`L`, 0 is paper) with the pen at `origin`; the margins of its box are random."""
    text = print_markup(markup)
    layer = Image.new("L", ink.size, 0)
    ImageDraw.Draw(layer).text(origin, text, fill=255, font=font)
    corners = layer.getbbox()
    assert corners is not None, "a line has ink"
    ink.paste(layer.crop(corners), corners[:2])
    left, top, right, bottom = (int(margin) for margin in rng.integers(1, 4, size=4))
    x0, y0, x1, y1 = corners
    return SyntheticLine(
        markup=markup,
        text=text,
        ink=corners,
        words=tuple(_find_words(text, layer, origin[0], font)),
        box=(x0 - left, y0 - top, x1 + right, y1 + bottom),
    )


def draw_figure(ink: Image.Image, corners: Corners, rng: np.random.Generator) -> None:
    """Draw a rectangle, triangle or ellipse with these bounds on `ink`."""
    x0, y0, x1, y1 = corners[0], corners[1], corners[2] - 1, corners[3] - 1  # inclusive in Pillow
    draw = ImageDraw.Draw(ink)
    match int(rng.integers(3)):
        case 0:
            draw.rectangle((x0, y0, x1, y1), outline=255, width=2)
        case 1:
            draw.polygon([(x0, y1), (x1, y1), (int(rng.integers(x0, x1)), y0)], outline=255, width=2)
        case _:
            draw.ellipse((x0, y0, x1, y1), outline=255, width=2)


def _find_words(text: str, layer: Image.Image, x_px: int, font: PillowFont) -> Iterator[Corners]:
    """Yield the bounds of each word's ink; the pen position after a word separates it from the next."""
    x0 = 0
    for match in re.finditer(r"\S+", text):
        x1 = x_px + math.ceil(font.getbbox(text[: match.end()])[2])
        word = layer.crop((x0, 0, x1, layer.height)).getbbox()
        assert word is not None, "a word has ink"
        yield x0 + word[0], word[1], x0 + word[2], word[3]
        x0 = x1

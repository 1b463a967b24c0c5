"""Print on a page: text broken into lines, lines and figures drawn, and where exactly their ink is."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Corners = tuple[int, int, int, int]
"""x0, y0, x1, y1 in page pixels, half-open."""
Font = ImageFont.FreeTypeFont

# What stays on one line: a number or formula, a Latin word, a character with the punctuation behind it.
_UNBREAKABLE = re.compile(r"(?:\$[^$]*\$|[A-Za-z]+|.)[.,?]?")
_PRINTED_SIGNS = {r"\times": "×", r"\div": "÷", r"\square": "□"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeLine:
    """The truth about one line of a made page."""

    markup: str
    text: str
    ink: Corners
    """The smallest box around what was drawn."""
    words: tuple[Corners, ...]
    """The smallest box around the ink of each word of the text."""
    box: Corners
    """The ink and a margin of a few pixels."""


def print_markup(markup: str) -> str:
    """Return what is printed for the markup; not by `text.markup`, so that tests can compare them."""
    text = markup.replace("$", "")
    for command, sign in _PRINTED_SIGNS.items():
        text = text.replace(command, sign)
    return text


def break_lines(markup: str, font: Font, width_px: int) -> Iterator[str]:
    """Yield the lines of at most `width_px`, broken by width alone, even inside a word."""
    line = ""
    for piece in _UNBREAKABLE.findall(markup):
        if line.strip() and font.getlength(print_markup(line + piece).rstrip()) > width_px:
            yield line.strip()
            line = ""
        line += piece
    yield line.strip()


def draw_line(
    ink: Image.Image, markup: str, *, origin: tuple[int, int], font: Font, rng: np.random.Generator
) -> MadeLine:
    """Draw a line onto `ink` (`L`, 0 is paper) with the pen at `origin`; its margins come from `rng`."""
    text = print_markup(markup)
    layer = Image.new("L", ink.size, 0)
    ImageDraw.Draw(layer).text(origin, text, fill=255, font=font)
    corners = layer.getbbox()
    assert corners is not None, "a line has ink"
    ink.paste(layer.crop(corners), corners[:2])
    left, top, right, bottom = (int(margin) for margin in rng.integers(1, 4, size=4))
    x0, y0, x1, y1 = corners
    return MadeLine(
        markup=markup,
        text=text,
        ink=corners,
        words=tuple(_find_words(text, layer, origin[0], font)),
        box=(x0 - left, y0 - top, x1 + right, y1 + bottom),
    )


def draw_figure(ink: Image.Image, corners: Corners, rng: np.random.Generator) -> None:
    """Draw a rectangle, triangle or circle that fills the corners onto `ink`."""
    x0, y0, x1, y1 = corners[0], corners[1], corners[2] - 1, corners[3] - 1  # Pillow's include the last pixel
    draw = ImageDraw.Draw(ink)
    match int(rng.integers(3)):
        case 0:
            draw.rectangle((x0, y0, x1, y1), outline=255, width=2)
        case 1:
            draw.polygon([(x0, y1), (x1, y1), (int(rng.integers(x0, x1)), y0)], outline=255, width=2)
        case _:
            draw.ellipse((x0, y0, x1, y1), outline=255, width=2)


def _find_words(text: str, layer: Image.Image, x_px: int, font: Font) -> Iterator[Corners]:
    """Yield the ink of each word; between the pen behind a word and the next one lies a space."""
    x0 = 0
    for match in re.finditer(r"\S+", text):
        x1 = x_px + math.ceil(font.getbbox(text[: match.end()])[2])
        word = layer.crop((x0, 0, x1, layer.height)).getbbox()
        assert word is not None, "a word has ink"
        yield x0 + word[0], word[1], x0 + word[2], word[3]
        x0 = x1

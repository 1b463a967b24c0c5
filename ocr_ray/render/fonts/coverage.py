"""Characters that a font can draw; a glyph in the cmap can still be the box for missing characters."""

from collections.abc import Iterable, Sequence
from contextlib import suppress

from PIL import Image, ImageDraw

from ocr_ray.render.fonts.find import UNDRAWABLE, Font
from ocr_ray.render.style import FONT_SIZES_PX

SIZE_PX = 48
BOXES = frozenset("□▢▭▯◻◽⬜☐■▮◼◾⬛ㅁᄆᆷ口囗ロ")
"""Box characters, which can look like the glyph for missing characters."""

_PRIVATE_PLANE = range(0xF0000, 0xFFFFE)
"""Code points to find one that a font lacks, to see what it draws instead."""


def find_drawable(font: Font, wanted: Iterable[str]) -> frozenset[str]:
    """Return the wanted characters that the font draws.

    They have a glyph other than .notdef, and ink that differs from .notdef's. White space needs no ink, and
    BOXES can have the same ink as .notdef. A glyph that FreeType cannot draw leaves out its character only.
    """
    mapped = font.characters()  # fontTools leaves out characters that the cmap maps to .notdef
    pen = _Pen(font)
    notdef = None
    with suppress(StopIteration, *UNDRAWABLE):
        notdef = pen.draw(next(char for char in map(chr, _PRIVATE_PLANE) if char not in mapped))
    drawable = set()
    for char in mapped.intersection(wanted):
        with suppress(*UNDRAWABLE):
            ink = pen.draw(char)
            if (ink != notdef or char in BOXES) if ink else char.isspace():
                drawable.add(char)
    return frozenset(drawable)


def find_shared_drawable(
    fonts: Sequence[Font], wanted: Iterable[str]
) -> tuple[frozenset[str], dict[str, list[str]]]:
    """Return the wanted characters that every font draws, and those that a font lacks, sorted, by font."""
    wanted = frozenset(wanted)
    drawable = {font.name: find_drawable(font, wanted) for font in fonts}
    lacking = {name: sorted(wanted - drawn) for name, drawn in drawable.items() if wanted - drawn}
    return wanted.intersection(*drawable.values()), lacking


class _Pen:
    """Draws single characters on a canvas four times as wide and high as the font size."""

    def __init__(self, font: Font) -> None:
        self._font = font.open(SIZE_PX)
        # A font's programs can fail at one size only.
        self._others = [font.open(size_px) for size_px in (FONT_SIZES_PX[0], FONT_SIZES_PX[-1])]
        self._canvas = Image.new("L", (4 * SIZE_PX, 4 * SIZE_PX))
        self._draw = ImageDraw.Draw(self._canvas)

    def draw(self, char: str) -> tuple[tuple[int, int], bytes] | None:
        """Return size and pixels of a character's ink, regardless of its position; None if it has no ink.

        Raises:
            one of UNDRAWABLE: FreeType cannot draw it, or it reaches beyond the canvas, as only wrong
                outlines or metrics do.
        """
        left, top, right, bottom = self._font.getbbox(char)
        if min(left, top) < -SIZE_PX or max(right, bottom) > 3 * SIZE_PX:
            raise ValueError(f"{char!r} reaches from {left}, {top} to {right}, {bottom} at {SIZE_PX} px")
        for font in self._others:
            font.getbbox(char)
        self._draw.rectangle((0, 0, *self._canvas.size), fill=0)
        self._draw.text((SIZE_PX, SIZE_PX), char, fill=255, font=self._font)
        box = self._canvas.getbbox()
        if box is None:
            return None
        ink = self._canvas.crop(box)
        return ink.size, ink.tobytes()

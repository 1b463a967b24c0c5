"""Renders lines with trdg's `GeneratorFromStrings`; no other module imports trdg.

Workarounds for trdg 1.8.0: it calls a method that Pillow 10 removed, opens the font file for every image,
uses three global random generators, draws missing glyphs as boxes, and returns None for images it
rejects.
"""

import atexit
import contextlib
import io
import random
import shutil
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageFont

from ocr_ray.errors import RenderError
from ocr_ray.render.fonts.find import UNDRAWABLE, Font
from ocr_ray.render.style import LineStyle, restrict_to_trdg

with contextlib.redirect_stdout(io.StringIO()):  # trdg prints that its optional handwriting is missing
    from trdg import computer_text_generator
    from trdg.generators.from_strings import GeneratorFromStrings

_NOISE, _WHITE, _IMAGE = 0, 1, 3
"""Values of trdg's `background_type`."""


class _SizedFont(ImageFont.FreeTypeFont):
    """A font with the methods that trdg needs."""

    def getsize(self, text: str) -> tuple[int, int]:
        """Return right and bottom of the ink in px, as Pillow's method did until version 9."""
        _, _, right, bottom = self.getbbox(text)
        return int(right), int(bottom)

    def getlength(self, text: str | bytes, *args: Any, **kwargs: Any) -> float:
        """Return the advance in px, or the ink's width if larger: trdg makes the image that wide."""
        return max(super().getlength(text, *args, **kwargs), self.getbbox(text)[2])


_fonts: dict[str, Font] = {}
"""Fonts by their keys, which are given to trdg in place of paths."""


@lru_cache(maxsize=256)
def _open_font(key: str, size_px: int) -> ImageFont.FreeTypeFont:
    return _fonts[key].open(size_px, _SizedFont)


@lru_cache(maxsize=65_536)
def _find_start(key: str, size_px: int, character: str) -> tuple[float, float]:
    """Return left and top of a glyph's ink in px, relative to its origin on the ascender line."""
    left, top, _, _ = _open_font(key, size_px).getbbox(character)
    return left, top


def _find_clipped(key: str, size_px: int, text: str) -> list[str]:
    """Return the characters that trdg would clip at the left end or the top of the line."""
    starts = {character: _find_start(key, size_px, character) for character in text}
    return sorted(c for c, (left, top) in starts.items() if top < 0 or (left < 0 and c == text[0]))


computer_text_generator.ImageFont = SimpleNamespace(truetype=lambda font, size: _open_font(font, size))


def draw_line(text: str, font: Font, style: LineStyle, backgrounds: Sequence[bytes] = ()) -> Image.Image:
    """Return the image of a line: greyscale, `style.height_px` high, as wide as the text; a pure function.

    trdg rotates by whole degrees, has white or noisy paper or a crop of one of `backgrounds`, and draws no
    neighbours; see `restrict_to_trdg`.

    Raises:
        RenderError: `missing_glyph`, the font lacks a character; `clipped_glyph`, a glyph extends beyond the
            edge; `invalid_glyph`, FreeType cannot draw one; `no_image`, trdg returned none.
    """
    style = restrict_to_trdg(style)
    if missing := sorted(set(text) - font.characters()):
        raise RenderError("missing_glyph", f"{font.name} lacks {' '.join(missing)} of {text!r}")
    folder = _background_folder(backgrounds[style.seed % len(backgrounds)]) if backgrounds else ""
    _fonts.setdefault(font.key, font)
    try:
        if clipped := _find_clipped(font.key, style.height_px, text):
            raise RenderError("clipped_glyph", f"{font.name} at {style.height_px} px: {' '.join(clipped)}")
        image = _generate(text, font.key, style, folder)
    except UNDRAWABLE as error:
        raise RenderError("invalid_glyph", f"{font.name}: {text!r}: {error}") from error
    if image is None:
        raise RenderError("no_image", f"trdg returned no image of {text!r} in {font.name}")
    return image


def _generate(text: str, key: str, style: LineStyle, folder: str) -> Image.Image | None:
    """Return the image that trdg makes, on an image of `folder` if there is one."""
    _seed_globals(style.seed)
    generator = GeneratorFromStrings(
        [text],
        count=1,
        fonts=[key],
        size=style.height_px,
        skewing_angle=int(style.skew_deg) % 360,  # trdg refuses negative angles
        blur=style.blur_px,
        background_type=_IMAGE if folder else _NOISE if style.noise else _WHITE,
        image_dir=folder,
        text_color=f"#{style.ink:02x}{style.ink:02x}{style.ink:02x}",
        space_width=style.space_width,
        character_spacing=round(style.letter_spacing * style.height_px),
        margins=style.margins_px,
        image_mode="L",
    )
    image: Image.Image | None = generator.next()[0]
    return image


@lru_cache(maxsize=256)
def _background_folder(content: bytes) -> str:
    """Return a folder with only this image: trdg chooses from a folder in the order of its listing."""
    folder = tempfile.mkdtemp(prefix="ocr_ray-background-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (Path(folder) / "background").write_bytes(content)
    return folder


def _seed_globals(seed: int) -> None:
    """Seed the generators that trdg uses, and restrict OpenCV to one thread without IPP."""
    cv2.setNumThreads(0)
    cv2.ipp.setUseIPP(False)
    cv2.setRNGSeed(seed)
    random.seed(seed)
    np.random.seed(seed)

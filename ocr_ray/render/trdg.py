"""Lines drawn by trdg's `GeneratorFromStrings`; the only user of trdg.

trdg 1.8.0 calls a method that Pillow 10 removed, opens the font file again for every image, draws from three
global random generators, draws missing glyphs as boxes and returns None for an image it does not like. Each
of these is met here.
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
from ocr_ray.render.fonts.find import Font
from ocr_ray.render.style import LineStyle, as_trdg_draws

with contextlib.redirect_stdout(io.StringIO()):  # trdg prints that its optional handwriting is not there
    from trdg import computer_text_generator
    from trdg.generators.from_strings import GeneratorFromStrings

_NOISE, _WHITE, _PICTURE = 0, 1, 3
"""What trdg calls its backgrounds."""


class _SizedFont(ImageFont.FreeTypeFont):
    """A font with what trdg asks of one."""

    def getsize(self, text: str) -> tuple[int, int]:
        """Return right and bottom of the ink, px, as Pillow's method did until version 9."""
        _, _, right, bottom = self.getbbox(text)
        return int(right), int(bottom)

    def getlength(self, text: str | bytes, *args: Any, **kwargs: Any) -> float:
        """Return the advance, px, widened to the ink: trdg makes the image just as wide as the advances."""
        return max(super().getlength(text, *args, **kwargs), self.getbbox(text)[2])


_fonts: dict[str, Font] = {}
"""By SHA-256: what trdg is given for a path."""


@lru_cache(maxsize=256)
def _open_font(sha256: str, size_px: int) -> _SizedFont:
    font = _fonts[sha256]
    return _SizedFont(io.BytesIO(font.content), size_px, font.face, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=65_536)
def _find_start(sha256: str, size_px: int, character: str) -> tuple[float, float]:
    """Return where a glyph's ink begins, px from its origin to the right and from the ascender down."""
    left, top, _, _ = _open_font(sha256, size_px).getbbox(character)
    return left, top


def _find_clipped(sha256: str, size_px: int, text: str) -> list[str]:
    """Return the characters that trdg would cut off at the left end of the line or at its top."""
    starts = {character: _find_start(sha256, size_px, character) for character in text}
    return sorted(c for c, (left, top) in starts.items() if top < 0 or (left < 0 and c == text[0]))


computer_text_generator.ImageFont = SimpleNamespace(truetype=lambda font, size: _open_font(font, size))


def draw_line(text: str, font: Font, style: LineStyle, pictures: Sequence[bytes] = ()) -> Image.Image:
    """Return the picture of a line: greyscale, `style.height_px` high, as wide as the text; a pure function.

    trdg turns by whole degrees, has paper that is white, noisy or a part of one of `pictures`, and knows no
    neighbour; see `as_trdg_draws`.

    Raises:
        RenderError: `missing_glyph`, the font lacks a character; `clipped_glyph`, a glyph reaches over the
            edge; `no_image`, trdg gave none.
    """
    style = as_trdg_draws(style)
    if missing := sorted(set(text) - font.characters()):
        raise RenderError("missing_glyph", f"{font.name} lacks {' '.join(missing)} of {text!r}")
    sha256 = font.sha256
    _fonts.setdefault(sha256, font)
    if clipped := _find_clipped(sha256, style.height_px, text):
        raise RenderError("clipped_glyph", f"{font.name} at {style.height_px} px: {' '.join(clipped)}")
    _seed_globals(style.seed)
    folder = _picture_folder(pictures[style.seed % len(pictures)]) if pictures else ""
    generator = GeneratorFromStrings(
        [text],
        count=1,
        fonts=[sha256],
        size=style.height_px,
        skewing_angle=int(style.skew_deg) % 360,  # trdg refuses negative angles
        blur=style.blur_px,
        background_type=_PICTURE if pictures else _NOISE if style.noise else _WHITE,
        image_dir=folder,
        text_color=f"#{style.ink:02x}{style.ink:02x}{style.ink:02x}",
        space_width=style.space_width,
        character_spacing=round(style.letter_spacing * style.height_px),
        margins=style.margins_px,
        image_mode="L",
    )
    image: Image.Image | None = generator.next()[0]
    if image is None:
        raise RenderError("no_image", f"trdg drew nothing for {text!r} in {font.name}")
    return image


@lru_cache(maxsize=256)
def _picture_folder(content: bytes) -> str:
    """Return a folder with this picture alone: trdg takes any of a folder, in the order of its listing."""
    folder = tempfile.mkdtemp(prefix="ocr_ray-picture-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (Path(folder) / "picture").write_bytes(content)
    return folder


def _seed_globals(seed: int) -> None:
    """Seed the generators that trdg draws from, and keep OpenCV to one thread and its own code."""
    cv2.setNumThreads(0)
    cv2.ipp.setUseIPP(False)
    cv2.setRNGSeed(seed)
    random.seed(seed)
    np.random.seed(seed)

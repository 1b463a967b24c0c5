"""Lines drawn about as fast as their images can be encoded.

A glyph is rasterised once per font, size and character and kept. A line is glyphs laid side by side on a
strip, one affine map of the strip into a canvas that already has the width of the final image and the height
of the line, a blur there, and one enlargement. Strip, canvas and image have one channel. The geometry is
trdg's: the text reaches from the font's ascender to the lowest ink of its characters.
"""

import io
import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ImageFont

from ocr_ray.dataset.images import JPEG_QUALITY, PNG_COMPRESS_LEVEL, SQUARE_SIZE_PX, ImageConfig
from ocr_ray.errors import RenderError
from ocr_ray.randomness import keyed_generator
from ocr_ray.render.fonts.find import Font
from ocr_ray.render.kernels import area_kernel, blur_kernel
from ocr_ray.render.style import LineStyle

cv2.setNumThreads(0)
cv2.ipp.setUseIPP(False)

Pixels = npt.NDArray[Any]
"""Shape (height, width), uint8."""

MAX_GLYPHS = 65_536
"""Kept per process, about 2 kB each; three fonts at the sizes of the styles have 39,000."""
_PADDING_PX = 8
"""Around the strip, so that what is averaged at its edges is not lost."""
_LOWEST_INK = 0.6
"""Share of the font's size that text reaches down to at least, so that a line of quotes stays small."""
_SKIPPING = 1.25
"""Pixels averaged into one from which on a bilinear map alone skips enough of them to be seen."""
_NOISE_SAMPLES = 2**20


Glyph = tuple[Pixels, int, int, int, int, int]
"""Coverage of the ink box; its left, top and bottom from the origin on the ascender; its width; the advance,
which is not less than left and width together. All px."""


class _GlyphCache(dict[str, Glyph]):
    """The glyphs of a font at a size, rasterised when they are first asked for."""

    def __init__(self, font: Font, size_px: int) -> None:
        content = io.BytesIO(font.content)
        self.font = ImageFont.truetype(content, size_px, font.face, layout_engine=ImageFont.Layout.BASIC)

    def __missing__(self, character: str) -> Glyph:
        mask, (left, top) = self.font.getmask2(character, mode="L", anchor="la")
        x0, _, x1, _ = mask.getbbox() or (0, 0, 0, 0)  # Pillow's mask reaches from the origin to the advance
        pixels = np.frombuffer(bytes(mask), np.uint8).reshape(mask.size[::-1])[:, x0:x1].copy()
        left, top = (left + x0, top) if x1 else (0, 0)
        height, width = pixels.shape
        advance = max(round(self.font.getlength(character)), left + width)
        if sum(map(len, _caches.values())) >= MAX_GLYPHS:
            for cache in _caches.values():
                cache.clear()
        self[character] = glyph = pixels, left, top, top + height, width, advance
        return glyph


@dataclass(frozen=True, slots=True)
class _Strip:
    """Glyphs side by side; coverage, with `_PADDING_PX` on every side."""

    pixels: Pixels
    width_px: int
    height_px: int


_caches: dict[tuple[Font, int], _GlyphCache] = {}
_SQUARE = (SQUARE_SIZE_PX, SQUARE_SIZE_PX)
_square = np.empty(_SQUARE, np.uint8)
"""Filled anew by each line that is encoded; fresh memory of that size costs as much as the resize."""


def draw_line(text: str, font: Font, style: LineStyle, *, square: bool = False) -> tuple[Pixels, int]:
    """Return the picture of a line, 8-bit greyscale, and its width in px before it was resized.

    The picture is `style.height_px` high and as wide as the text; or, if `square`, SQUARE_SIZE_PX both ways.
    A pure function of its arguments.

    Raises:
        RenderError: `missing_glyph`, the font lacks a character; `no_ink`, there is nothing to see.
    """
    canvas, width_px = _draw_canvas(text, font, style, square)
    return (_fill_square(canvas, np.empty(_SQUARE, np.uint8)) if square else canvas), width_px


def encode_line(text: str, font: Font, style: LineStyle, config: ImageConfig) -> tuple[bytes, int]:
    """Return the file of a line's picture, and its width in px before it was resized; see `draw_line`."""
    square = config.size == "384"
    canvas, width_px = _draw_canvas(text, font, style, square)
    return encode_canvas(canvas, config), width_px


def encode_canvas(canvas: Pixels, config: ImageConfig) -> bytes:
    """Return the file of a line's pixels, resized to the square if `config` says so.

    Of a square, the JPEG is byte for byte the one that `images.encode_image` gives.
    """
    if config.size == "384" and canvas.shape != _SQUARE:
        canvas = _fill_square(canvas, _square)
    if config.format == "jpeg":
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    else:
        options = [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESS_LEVEL]
    return bytes(cv2.imencode(".jpg" if config.format == "jpeg" else ".png", canvas, options)[1])


def _fill_square(canvas: Pixels, square: Pixels) -> Pixels:
    grows = max(canvas.shape) <= SQUARE_SIZE_PX
    return cv2.resize(
        canvas, _SQUARE, dst=square, interpolation=cv2.INTER_LINEAR if grows else cv2.INTER_AREA
    )


def _draw_canvas(text: str, font: Font, style: LineStyle, square: bool) -> tuple[Pixels, int]:
    """Return the line at its height, if `square` already as wide as the square, and its own width in px."""
    if missing := sorted(set(text) - font.characters()):
        raise RenderError("missing_glyph", f"{font.name} lacks {' '.join(missing)} of {text!r}")
    strip = _set_glyphs(text, font, style)
    turned_width, turned_height = _turn(strip, style.skew_deg)
    text_width = max(1, turned_width * style.text_height_px // turned_height)
    width_px = style.margins_px[1] + text_width + style.margins_px[3]
    stretch = SQUARE_SIZE_PX / width_px if square else 1.0
    shrink = turned_width / (text_width * stretch), turned_height / style.text_height_px
    canvas = _place(strip, style, shrink, SQUARE_SIZE_PX if square else width_px)
    if style.neighbour:
        _add_neighbour(canvas, style)
    return _print(canvas, style, stretch), width_px


def _set_glyphs(text: str, font: Font, style: LineStyle) -> _Strip:
    """Return the glyphs side by side, in whole pixels of the font's size as trdg sets them."""
    size_px = style.font_size_px
    glyphs = _caches.get((font, size_px))
    if glyphs is None:
        glyphs = _caches[font, size_px] = _GlyphCache(font, size_px)
    spacing = round(style.letter_spacing * size_px)
    space = int(glyphs[" "][-1] * style.space_width) + spacing
    x = first = highest = end = 0
    lowest = int(_LOWEST_INK * size_px)
    placed = []
    for character in text:
        if character == " ":
            x += space
            continue
        pixels, left, top, bottom, width, advance = glyphs[character]
        placed.append((pixels, x + left, top, bottom, width))
        # Comparisons, since `min` and `max` would take a tenth of the time of a line.
        if x + left < first:
            first = x + left
        if top < highest:
            highest = top
        if bottom > lowest:
            lowest = bottom
        x += advance
        if x > end:
            end = x
        x += spacing
    if not any(width for *_, width in placed):
        raise RenderError("no_ink", f"{text!r} has nothing to see in {font.name}")
    width_px, height_px = end - first, lowest - highest
    strip = np.zeros((height_px + 2 * _PADDING_PX, width_px + 2 * _PADDING_PX), np.uint8)
    right, down = _PADDING_PX - first, _PADDING_PX - highest
    drawn_to = 0
    for pixels, left, top, bottom, width in placed:
        x0 = left + right
        if x0 >= drawn_to:
            strip[top + down : bottom + down, x0 : x0 + width] = pixels
        else:
            box = strip[top + down : bottom + down, x0 : x0 + width]
            np.maximum(box, pixels, out=box)
        drawn_to = max(drawn_to, x0 + width)
    return _Strip(strip, width_px, height_px)


def _turn(strip: _Strip, skew_deg: float) -> tuple[int, int]:
    """Return width and height of the upright box around the turned strip, px, as Pillow's `rotate` does."""
    if not skew_deg:
        return strip.width_px, strip.height_px
    angle = math.radians(skew_deg)
    sine, cosine = abs(math.sin(angle)), math.cos(angle)
    middle_x, middle_y = strip.width_px / 2, strip.height_px / 2
    reach_x, reach_y = middle_x * cosine + middle_y * sine, middle_x * sine + middle_y * cosine
    return (
        math.ceil(middle_x + reach_x) - math.floor(middle_x - reach_x),
        math.ceil(middle_y + reach_y) - math.floor(middle_y - reach_y),
    )


def _place(strip: _Strip, style: LineStyle, shrink: tuple[float, float], width_px: int) -> Pixels:
    """Return the coverage of the line on a canvas of its height: the strip turned, shrunk, shifted at once.

    `shrink` is how many pixels of the strip, across and down, become one. Where that is more than one they
    are averaged first, because the bilinear map would skip some.
    """
    across, down = shrink
    pixels = strip.pixels
    # Downwards less is averaged by what the map averages itself; across a little more, as Pillow does.
    widths = math.sqrt(across * across + 0.5) if across > 1 else 1.0, math.sqrt(max(1, down * down - 1))
    if max(widths) > _SKIPPING:
        kernel_x, kernel_y = map(area_kernel, widths)
        pixels = cv2.sepFilter2D(pixels, -1, kernel_x, kernel_y, borderType=cv2.BORDER_CONSTANT)
    angle = math.radians(style.skew_deg)
    sine, cosine = math.sin(angle), math.cos(angle)
    # The middle of the text in the canvas and in the strip; pixel centres lie at half numbers.
    top, left, _, right = style.margins_px
    text_width = _turn(strip, style.skew_deg)[0] / across
    stretch = (width_px - text_width) / (left + right)
    x, y = left * stretch + text_width / 2 - 0.5, top + style.text_height_px / 2 - 0.5
    strip_x, strip_y = _PADDING_PX + strip.width_px / 2 - 0.5, _PADDING_PX + strip.height_px / 2 - 0.5
    a, b, c, d = cosine * across, -sine * down, sine * across, cosine * down
    canvas: Pixels = cv2.warpAffine(
        pixels,
        np.array([[a, b, strip_x - a * x - b * y], [c, d, strip_y - c * x - d * y]]),
        (width_px, style.height_px),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
    )
    return canvas


def _add_neighbour(canvas: Pixels, style: LineStyle) -> None:
    """Lay ink of another line along an edge: the line's own, shifted, so that it is print of that size."""
    rows = np.flatnonzero(canvas.max(axis=1) > 64)
    if not rows.size:
        return
    shift, height = style.seed % canvas.shape[1], style.neighbour_px
    if style.neighbour == "top":
        canvas[:height] = np.roll(canvas[rows[-1] + 1 - height : rows[-1] + 1], shift, axis=1)
    else:
        canvas[-height:] = np.roll(canvas[rows[0] : rows[0] + height], shift, axis=1)


def _print(coverage: Pixels, style: LineStyle, stretch: float) -> Pixels:
    """Return grey values: ink on paper, noise, and the blur, both as wide as on the line itself."""
    # Negative before its magnitude is taken: coverage times a negative number, less the paper.
    grey = cv2.convertScaleAbs(coverage, alpha=(style.paper - style.ink) / 255, beta=-style.paper)
    if style.noise:
        grey = _add_noise(grey, style, stretch)
    across, down = blur_kernel(style.blur_px * stretch, stretch < 1), blur_kernel(style.blur_px, False)
    return cv2.sepFilter2D(grey, -1, across, down, borderType=cv2.BORDER_REPLICATE)


def _add_noise(grey: Pixels, style: LineStyle, stretch: float) -> Pixels:
    """Add noise that is even in the line's own pixels, whatever the canvas is stretched to."""
    height, width = grey.shape
    drawn_width = min(width, round(width / stretch))
    size = height * drawn_width
    start = style.seed % max(1, _NOISE_SAMPLES - size)
    noise = np.resize(_noise()[start : start + size], (height, drawn_width))
    if drawn_width < width:
        noise = cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
    # Where several pixels of the line become one of the canvas, their noise evens out.
    strength = style.noise * float(np.linalg.norm(area_kernel(1 / stretch)))
    return cv2.addWeighted(grey, 1, noise, strength, 0, dtype=cv2.CV_8U)


@cache
def _noise() -> npt.NDArray[np.float32]:
    return keyed_generator(0, "noise", 0).standard_normal(_NOISE_SAMPLES, dtype=np.float32)

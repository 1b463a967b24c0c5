"""Renders lines about as fast as their images can be encoded.

1. Glyphs are rasterised once per font, size and character, and cached.
2. The glyphs of a line are placed next to each other on a strip.
3. One affine map draws the strip on a canvas with the width of the final image and the height of the line.
4. The canvas gets noise and a blur, and is resized once to the final image.

Strip, canvas and image have one channel. The geometry is that of trdg: text reaches from the font's
ascender to the lowest ink of its characters.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ocr_ray.dataset.images import JPEG_QUALITY, PNG_COMPRESS_LEVEL, SQUARE_SIZE_PX, ImageConfig
from ocr_ray.errors import RenderError
from ocr_ray.randomness import keyed_generator
from ocr_ray.render.fonts.find import UNDRAWABLE, Font
from ocr_ray.render.kernels import area_kernel, blur_kernel
from ocr_ray.render.style import LineStyle

cv2.setNumThreads(0)
cv2.ipp.setUseIPP(False)

Pixels = npt.NDArray[Any]
"""Shape (height, width), uint8."""

MAX_GLYPHS = 65_536
"""Glyphs cached per process, about 2 kB each; three fonts at all sizes have 39,000."""
_PADDING_PX = 8
"""Padding around the strip, so that averages at its edges lose nothing."""
_LOWEST_INK = 0.6
"""Smallest height of text, as a share of the font size, so that a line of quotes stays small."""
_SKIPPING = 1.25
"""Reduction above which a bilinear map would visibly skip pixels, so that they are averaged first."""
_NOISE_SAMPLES = 2**20


Glyph = tuple[Pixels, int, int, int, int, int]
"""Coverage of the ink box; its left, top and bottom relative to the origin on the ascender line; its width;
the advance, which is at least left + width. All in px."""


class _GlyphCache(dict[str, Glyph]):
    """Glyphs of a font at one size, rasterised at first use."""

    def __init__(self, font: Font, size_px: int) -> None:
        self.name = font.name
        self.font = font.open(size_px)

    def __missing__(self, character: str) -> Glyph:
        try:
            mask, (left, top) = self.font.getmask2(character, mode="L", anchor="la")
        except UNDRAWABLE as error:
            raise RenderError("invalid_glyph", f"{self.name}: {character!r}: {error}") from error
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
    """Coverage of the glyphs of a line, with `_PADDING_PX` on every side of `pixels`."""

    pixels: Pixels
    width_px: int
    height_px: int


_caches: dict[tuple[Font, int], _GlyphCache] = {}
_SQUARE = (SQUARE_SIZE_PX, SQUARE_SIZE_PX)
_square = np.empty(_SQUARE, np.uint8)
"""Reused for every encoded line, because allocating it takes as long as the resize."""


def draw_line(text: str, font: Font, style: LineStyle, *, square: bool = False) -> tuple[Pixels, int]:
    """Return the image of a line, 8-bit greyscale, and its width in px before resizing.

    The image is `style.height_px` high and as wide as the text or, if `square`, SQUARE_SIZE_PX wide and high.
    A pure function of its arguments.

    Raises:
        RenderError: `missing_glyph`, the font lacks a character; `invalid_glyph`, FreeType cannot draw one;
            `no_ink`, nothing is visible.
    """
    canvas, width_px = _draw_canvas(text, font, style, square)
    return (_fill_square(canvas, np.empty(_SQUARE, np.uint8)) if square else canvas), width_px


def encode_line(text: str, font: Font, style: LineStyle, config: ImageConfig) -> tuple[bytes, int]:
    """Return the encoded image of a line and its width in px before resizing; see `draw_line`."""
    square = config.size == "384"
    canvas, width_px = _draw_canvas(text, font, style, square)
    return encode_canvas(canvas, config), width_px


def encode_canvas(canvas: Pixels, config: ImageConfig) -> bytes:
    """Return the encoded image of a canvas, resized to the square if `config` says so.

    The JPEG of a square is identical to that of `images.encode_image`.
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
    """Return the canvas of a line, which has the square's width if `square`, and the line's width in px."""
    if missing := sorted(set(text) - font.characters()):
        raise RenderError("missing_glyph", f"{font.name} lacks {' '.join(missing)} of {text!r}")
    strip = _set_glyphs(text, font, style)
    rotated_width, rotated_height = _measure_rotated(strip, style.skew_deg)
    text_width = max(1, rotated_width * style.text_height_px // rotated_height)
    width_px = style.margins_px[1] + text_width + style.margins_px[3]
    stretch = SQUARE_SIZE_PX / width_px if square else 1.0
    shrink = rotated_width / (text_width * stretch), rotated_height / style.text_height_px
    canvas = _map_strip(strip, style, shrink, SQUARE_SIZE_PX if square else width_px)
    if style.neighbour:
        _add_neighbour(canvas, style)
    return _apply_style(canvas, style, stretch), width_px


def _set_glyphs(text: str, font: Font, style: LineStyle) -> _Strip:
    """Return the glyphs next to each other at whole pixels of the font size, as trdg places them."""
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
        # Comparisons, because `min` and `max` would take a tenth of the time of a line.
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
        raise RenderError("no_ink", f"{text!r} has no visible ink in {font.name}")
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


def _measure_rotated(strip: _Strip, skew_deg: float) -> tuple[int, int]:
    """Return width and height in px of the rotated strip's bounding box, as in Pillow's `rotate`."""
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


def _map_strip(strip: _Strip, style: LineStyle, shrink: tuple[float, float], width_px: int) -> Pixels:
    """Return the coverage of a line on its canvas: the strip rotated, shrunk and shifted in one map.

    `shrink` is the number of pixels of the strip per pixel of the canvas, across and down. Above one they are
    averaged first, because the bilinear map would skip pixels.
    """
    across, down = shrink
    pixels = strip.pixels
    # Down, the average is narrower by what the map itself averages; across, a little wider, as in Pillow.
    widths = math.sqrt(across * across + 0.5) if across > 1 else 1.0, math.sqrt(max(1, down * down - 1))
    if max(widths) > _SKIPPING:
        kernel_x, kernel_y = map(area_kernel, widths)
        pixels = cv2.sepFilter2D(pixels, -1, kernel_x, kernel_y, borderType=cv2.BORDER_CONSTANT)
    angle = math.radians(style.skew_deg)
    sine, cosine = math.sin(angle), math.cos(angle)
    # Centre of the text on the canvas and on the strip; pixel centres are at half-integers.
    top, left, _, right = style.margins_px
    text_width = _measure_rotated(strip, style.skew_deg)[0] / across
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
    """Add ink of a neighbouring line at an edge: a shifted strip of the line itself."""
    rows = np.flatnonzero(canvas.max(axis=1) > 64)
    if not rows.size:
        return
    shift, height = style.seed % canvas.shape[1], style.neighbour_px
    if style.neighbour == "top":
        canvas[:height] = np.roll(canvas[rows[-1] + 1 - height : rows[-1] + 1], shift, axis=1)
    else:
        canvas[-height:] = np.roll(canvas[rows[0] : rows[0] + height], shift, axis=1)


def _apply_style(coverage: Pixels, style: LineStyle, stretch: float) -> Pixels:
    """Return grey values: ink on paper, with noise and blur at the scale of the unstretched line."""
    # The absolute value of coverage * (paper - ink) / 255 - paper, which is never positive.
    grey = cv2.convertScaleAbs(coverage, alpha=(style.paper - style.ink) / 255, beta=-style.paper)
    if style.noise:
        grey = _add_noise(grey, style, stretch)
    across, down = blur_kernel(style.blur_px * stretch, stretch < 1), blur_kernel(style.blur_px, False)
    return cv2.sepFilter2D(grey, -1, across, down, borderType=cv2.BORDER_REPLICATE)


def _add_noise(grey: Pixels, style: LineStyle, stretch: float) -> Pixels:
    """Return the canvas with noise that is uniform in the pixels of the unstretched line."""
    height, width = grey.shape
    drawn_width = min(width, round(width / stretch))
    size = height * drawn_width
    start = style.seed % max(1, _NOISE_SAMPLES - size)
    noise = np.resize(_noise()[start : start + size], (height, drawn_width))
    if drawn_width < width:
        noise = cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
    # Averaging several pixels of the line into one of the canvas reduces the noise.
    strength = style.noise * float(np.linalg.norm(area_kernel(1 / stretch)))
    return cv2.addWeighted(grey, 1, noise, strength, 0, dtype=cv2.CV_8U)


@cache
def _noise() -> npt.NDArray[np.float32]:
    return keyed_generator(0, "noise", 0).standard_normal(_NOISE_SAMPLES, dtype=np.float32)

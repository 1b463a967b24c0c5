"""Lines of print on a page without boxes, in reading order: figures and rules are put aside, then the ink of
the print is projected onto the vertical axis.

Pages are upright print in one column on plain paper. A row is a line, however far apart its words are, so
choices next to each other are one line. Tables are taken for figures.
"""

import cv2
import numpy as np
import numpy.typing as npt

from ocr_ray.dataset.ink import Ink, Pixels, find_ink
from ocr_ray.pages.layout.text_rows import find_bands, find_runs, pad_bands, trim_columns

cv2.setNumThreads(0)

FLAT_ASPECT = 2
"""Pieces of ink wider than this many times their height do not tell the size of the print."""
FIGURE_SIZES = 4
"""A piece of ink higher than this many median pieces is a figure: letters come in pieces, whose median is
about two thirds of the height of the print, so this is more than two rows."""
RULE_SIZES = 20
"""A flat piece wider than this many median pieces is a rule."""
FRAME_SHARE, MIN_IN_FRAME = 0.5, 3
"""A rectangle with this share of the width of all ink and this many pieces inside is a frame around print."""
MAX_INSIDE_SHARE = 0.05
"""Ink of a frame that may lie inside its sides."""
BLOCK_SIZES = 2
"""Blocks of rows are this many median pieces apart; a heading and a page number are blocks of their own."""
MIN_BLOCK_SHARE = 0.6
"""A lower block, in median pieces, is a speck."""
LINE_IMAGE_SHARE = 0.4
"""A single row with this share of the height makes the image one of a line, which is read as it is."""
MAX_SYLLABLE_BANDS, MAX_SYLLABLE_ASPECT = 3, 1.5
MAX_SYLLABLE_GAPS, MAX_SYLLABLE_RUNS = 1 / 3, 4
"""Parts of a syllable are close together, and each is at most this many strokes wide, as the top of 뺐 is.
Short lines below each other are neither."""

_Corners = tuple[int, int, int, int]


def find_lines(pixels: Pixels) -> list[_Corners]:
    """Return x0, y0, x1, y1 of each line from top to bottom, half-open; a line image is a line as a whole.

    Nothing is returned where there is no ink.
    """
    text, size = _keep_print(find_ink(pixels))
    bands = [
        (top + start, bottom + start)
        for start, stop in _find_blocks(text, size)
        for top, bottom in find_bands(text[start:stop], 2)
    ]
    height_px, width_px = pixels.shape
    if _is_line_image(text, bands):
        return [(0, 0, width_px, height_px)]
    lines = []
    for top, bottom in pad_bands(bands, height_px) if bands else ():
        left, right = trim_columns(text[top:bottom])
        lines.append((left, top, right, bottom))
    return lines


def _is_line_image(text: Ink, bands: list[tuple[int, int]]) -> bool:
    """Return whether an image shows one line: a row that fills it, or the parts of a single syllable."""
    if len(bands) < 2:
        return bool(bands) and bands[0][1] - bands[0][0] >= LINE_IMAGE_SHARE * len(text)
    left, right = trim_columns(text)
    height_px = bands[-1][1] - bands[0][0]
    gaps_px = height_px - sum(bottom - top for top, bottom in bands)
    return (
        len(bands) <= MAX_SYLLABLE_BANDS
        and height_px >= LINE_IMAGE_SHARE * len(text)
        and height_px <= right - left <= MAX_SYLLABLE_ASPECT * height_px
        and gaps_px <= MAX_SYLLABLE_GAPS * height_px
        and all(
            len(find_runs(np.any(text[top:bottom], axis=0))) <= MAX_SYLLABLE_RUNS for top, bottom in bands
        )
    )


def _keep_print(ink: Ink) -> tuple[Ink, float]:
    """Return the ink without figures and what is in them, frames and rules; and a piece's median height."""
    found = cv2.connectedComponentsWithStats(ink.view(np.uint8), connectivity=8)
    labels, stats = np.asarray(found[1], np.int32), np.asarray(found[2], np.int32)
    x0, y0, width, height, _ = stats.T
    is_piece = np.maximum(width, height) > 1
    is_piece[0] = False  # the paper
    if not is_piece.any():
        return np.zeros_like(ink), 0.0
    is_upright = is_piece & (width <= FLAT_ASPECT * height)
    size = float(np.median(height[is_upright if is_upright.any() else is_piece]))
    is_rule = (width > RULE_SIZES * size) & (height < size)
    middle = np.stack([x0 + width / 2, y0 + height / 2])
    kept = is_piece & ~is_rule
    for index in np.flatnonzero(is_piece & (height > FIGURE_SIZES * size)).tolist():
        kept[index] = False
        start, end = np.array([x0[index], y0[index]]), np.array([width[index], height[index]])
        end = start + end
        inside = kept & ((middle > (start - size / 2)[:, None]) & (middle < (end + size / 2)[:, None])).all(
            axis=0
        )
        is_wide = width[index] >= FRAME_SHARE * _measure_width(ink)
        has_print = int(inside.sum()) >= MIN_IN_FRAME
        if not (is_wide and has_print and _is_frame(labels, index, stats[index], size)):
            kept &= ~inside
    text: Ink = kept[labels]
    return text, size


def _measure_width(ink: Ink) -> int:
    left, right = trim_columns(ink)
    return right - left


def _is_frame(labels: npt.NDArray[np.int32], index: int, stats: npt.NDArray[np.int32], size: float) -> bool:
    """Return whether nearly all ink of a piece is on the sides of its bounds."""
    x0, y0, width, height, area = stats.tolist()
    side = max(2, round(size / 2))
    inside = labels[y0 + side : y0 + height - side, x0 + side : x0 + width - side] == index
    return bool(inside.sum() <= MAX_INSIDE_SHARE * area)


def _find_blocks(text: Ink, size: float) -> list[tuple[int, int]]:
    """Return the rows of pixels of each block of print; lower ones than a piece of a letter are specks."""
    blocks: list[tuple[int, int]] = []
    for top, bottom in find_runs(np.any(text, axis=1)):
        if blocks and top - blocks[-1][1] <= BLOCK_SIZES * size:
            blocks[-1] = (blocks[-1][0], bottom)
        else:
            blocks.append((top, bottom))
    tallest = max((bottom - top for top, bottom in blocks), default=0)
    least = min(MIN_BLOCK_SHARE * size, tallest)
    return [(top, bottom) for top, bottom in blocks if bottom - top >= least]

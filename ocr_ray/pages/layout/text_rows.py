"""Rows of print in a box, found by projecting its ink on the vertical axis.

A band is one row of print. The pieces of a row, such as the bars of `=`, the tick of `호` or a stacked
fraction, are nearer to each other than rows are: between rows stands about half the height of the print.
"""

from itertools import pairwise

import cv2
import numpy as np

from ocr_ray.dataset.ink import Ink

cv2.setNumThreads(0)

FRAME_SHARE = 0.9
"""Share of the height from which a column of ink is the side of a frame."""
MIN_BAND_PX = 4
MIN_BAND_SHARE = 0.35
"""Height of a band of its own, in tallest bands; lower pieces belong to the band next to them."""
MIN_GAP_SHARE, MIN_CLEAR_GAP_SHARE = 0.35, 0.6
"""Height of the paper between two bands, in the less high one of them; clear: more than within a syllable."""
BAR_SHARE = 0.5
"""A piece in the middle between two others is a fraction's bar, if one gap has this share of the other."""
PADDING_PX = 2
"""Paper that stays around a row that is cut out, as the boxes of labels have it."""


def find_bands(ink: Ink, num_lines: int) -> list[tuple[int, int]]:
    """Return the rows of print from top to bottom, each from its first row of pixels to behind its last.

    `num_lines` is what the text has: if it is 1, rows must stand clearly apart to be more than one, because
    `두부` has a gap as well.
    """
    runs = _find_runs(np.any(_drop_frame(ink), axis=1))
    if not runs:
        return []
    min_height = max(MIN_BAND_PX, MIN_BAND_SHARE * max(y1 - y0 for y0, y1 in runs))
    tall = [index for index, (y0, y1) in enumerate(runs) if y1 - y0 >= min_height]
    min_gap_share = MIN_GAP_SHARE if num_lines > 1 else MIN_CLEAR_GAP_SHARE
    bands, top = [], runs[0][0]
    for upper, lower in pairwise(tall):
        cut = _find_cut(runs[upper : lower + 1], min_gap_share)
        if cut is not None:
            bands.append((top, runs[upper + cut][1]))
            top = runs[upper + cut + 1][0]
    return [*bands, (top, runs[-1][1])]


def pad_bands(bands: list[tuple[int, int]], height_px: int) -> list[tuple[int, int]]:
    """Return the bands, at least one, with a little paper above and below, but to the middle between two."""
    middles = [(y1 + y0) // 2 for (_, y1), (y0, _) in pairwise(bands)]
    return [
        (max(y0 - PADDING_PX, above), min(y1 + PADDING_PX, below))
        for (y0, y1), above, below in zip(bands, [0, *middles], [*middles, height_px], strict=True)
    ]


def trim_columns(ink: Ink) -> tuple[int, int]:
    """Return left and right of the ink with a little paper; the whole width if there is none."""
    columns = np.flatnonzero(ink.any(axis=0))
    if not columns.size:
        return 0, ink.shape[1]
    return max(int(columns[0]) - PADDING_PX, 0), min(int(columns[-1]) + 1 + PADDING_PX, ink.shape[1])


def _drop_frame(ink: Ink) -> Ink:
    """Return the ink without columns that reach from top to bottom, unless nothing else is printed."""
    counts = cv2.reduce(ink.view(np.uint8), 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0]
    sides = counts >= FRAME_SHARE * len(ink)
    if not sides.any():
        return ink
    inside = ink[:, ~sides]
    return inside if inside.any() else ink


def _find_runs(values: Ink) -> list[tuple[int, int]]:
    framed = np.concatenate(([False], values, [False]))
    edges = np.flatnonzero(framed[1:] != framed[:-1]).tolist()
    return list(zip(edges[0::2], edges[1::2], strict=True))


def _find_cut(runs: list[tuple[int, int]], min_gap_share: float) -> int | None:
    """Return which gap between runs divides the first from the last, if they are two rows of print."""
    gaps = [lower[0] - upper[1] for upper, lower in pairwise(runs)]
    widest, *others = sorted(gaps, reverse=True)
    is_fraction = bool(others) and others[0] >= BAR_SHARE * widest
    heights = (runs[0][1] - runs[0][0], runs[-1][1] - runs[-1][0])
    if is_fraction or widest < min_gap_share * min(heights):
        return None
    return gaps.index(widest)

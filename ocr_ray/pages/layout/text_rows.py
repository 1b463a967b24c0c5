"""Rows of print in a box, found by projecting its ink onto the vertical axis.

A band is the vertical extent of one row. The parts of a row, such as the bars of `=`, the tick of `호` or a
stacked fraction, are closer together than rows, which are about half the height of the print apart.
"""

from itertools import pairwise

import cv2
import numpy as np

from ocr_ray.dataset.ink import Ink

cv2.setNumThreads(0)

FRAME_SHARE = 0.9
"""A column with ink on this share of the height is the side of a frame."""
MIN_BAND_PX = 4
MIN_BAND_SHARE = 0.35
"""Smallest height of a band, in heights of the tallest; smaller pieces belong to the band next to them."""
MIN_GAP_SHARE, MIN_CLEAR_GAP_SHARE = 0.35, 0.6
"""Smallest gap between two bands, in heights of the smaller one; a clear gap is too wide for a syllable."""
BAR_SHARE = 0.5
"""A piece between two others is the bar of a fraction if the smaller gap has this share of the larger."""
PADDING_PX = 2
"""Paper kept around a row, as in labelled boxes."""


def find_bands(ink: Ink, num_lines: int) -> list[tuple[int, int]]:
    """Return the rows of print from top to bottom, each as a half-open range of pixel rows.

    `num_lines` is the number of lines in the text. If it is 1, rows must be clearly apart to count as
    several, because the letters of `두부` have a gap too.
    """
    runs = find_runs(np.any(_drop_frame(ink), axis=1))
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
    """Return the bands, at least one, with `PADDING_PX` above and below, but not past the middle of a gap."""
    middles = [(y1 + y0) // 2 for (_, y1), (y0, _) in pairwise(bands)]
    return [
        (max(y0 - PADDING_PX, above), min(y1 + PADDING_PX, below))
        for (y0, y1), above, below in zip(bands, [0, *middles], [*middles, height_px], strict=True)
    ]


def trim_columns(ink: Ink) -> tuple[int, int]:
    """Return left and right of the ink with `PADDING_PX` of paper, or the whole width if there is no ink."""
    columns = np.flatnonzero(ink.any(axis=0))
    if not columns.size:
        return 0, ink.shape[1]
    return max(int(columns[0]) - PADDING_PX, 0), min(int(columns[-1]) + 1 + PADDING_PX, ink.shape[1])


def _drop_frame(ink: Ink) -> Ink:
    """Return the ink without the sides of a frame, unless there is nothing else."""
    counts = cv2.reduce(ink.view(np.uint8), 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0]
    sides = counts >= FRAME_SHARE * len(ink)
    if not sides.any():
        return ink
    inside = ink[:, ~sides]
    return inside if inside.any() else ink


def find_runs(values: Ink) -> list[tuple[int, int]]:
    """Return start and end of each run of True along one axis, half-open."""
    edges = np.flatnonzero(np.diff(values, prepend=False, append=False)).tolist()
    return list(zip(edges[0::2], edges[1::2], strict=True))


def _find_cut(runs: list[tuple[int, int]], min_gap_share: float) -> int | None:
    """Return the index of the gap between the first run and the last, if they are two rows of print."""
    gaps = [lower[0] - upper[1] for upper, lower in pairwise(runs)]
    widest, *others = sorted(gaps, reverse=True)
    is_fraction = bool(others) and others[0] >= BAR_SHARE * widest
    heights = (runs[0][1] - runs[0][0], runs[-1][1] - runs[-1][0])
    if is_fraction or widest < min_gap_share * min(heights):
        return None
    return gaps.index(widest)

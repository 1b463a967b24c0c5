"""Reading long lines in pieces: cut at their widest gaps, read, and joined again.

A model sees every line as the same square, which squeezes the letters of a long line. So lines are cut into
pieces of limited aspect ratio. Cuts go only through paper.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise, repeat

import numpy as np
import numpy.typing as npt
from PIL import Image

from ocr_ray.dataset.images import open_line_image
from ocr_ray.dataset.ink import Pixels, find_ink
from ocr_ray.model.line_reading import LineReading, ReadImages, make_reading

MIN_WORD_GAP = 0.2
"""The narrowest gap that can be a space, in heights of the ink; synthetic pages have 0.25 or more."""
_NO_IMAGE = Image.new("L", (0, 0))
CLEAR_SHARE = 0.8
"""A gap of at least this share of the line's median word gap is as good to cut at as any other."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece:
    """A part of a line, from top to bottom."""

    image: Image.Image
    x0: int
    """In columns of the line's image, half-open; the pieces of a line cover it without overlap."""
    x1: int
    is_word: bool
    """Whether there is a word gap before the piece; False for the first."""


@dataclass(frozen=True, slots=True)
class _Gap:
    """The paper between two letters."""

    cut: int
    """The column in the middle, in stored pixels."""
    is_word_gap: bool
    doubt: float
    """How unlikely a word gap it is: 0 if about as wide as the line's word gaps, 1 for a letter gap."""


_Cost = tuple[float, float, int, float]
"""Pixels over the limit, doubt of the cuts, number of pieces, squared widths; compared in this order."""


def cut_pieces(
    image: Image.Image, max_aspect: float, *, size_px: tuple[int, int] | None = None
) -> list[Piece]:
    """Return the pieces of a greyscale line (`L`) from left to right; a single one if the line is not too
    wide.

    `max_aspect` is the greatest width of a piece in heights of the line, at least 1. `size_px` is the width
    and height of the line before it was resized; None: the size of the image. Cuts go through word gaps where
    these are close enough. There are no more pieces than needed, of similar widths. A piece stays wider where
    there is no gap to cut at, for instance above an underline.
    """
    if max_aspect < 1:
        raise ValueError(f"max_aspect must be at least 1, got {max_aspect}")
    width_px, height_px = size_px or image.size
    limit_px = max_aspect * height_px
    if width_px <= limit_px:
        return [Piece(image=image, x0=0, x1=image.width, is_word=False)]
    scales = (width_px / image.width, height_px / image.height)
    gaps = _find_gaps(np.asarray(image), scales)
    chosen = _choose_gaps(gaps, image.width, limit_px / scales[0])
    edges = [0, *(gap.cut for gap in chosen), image.width]
    return [
        Piece(image=image.crop((x0, 0, x1, image.height)), x0=x0, x1=x1, is_word=is_word)
        for (x0, x1), is_word in zip(
            pairwise(edges), [False, *(gap.is_word_gap for gap in chosen)], strict=True
        )
    ]


def join_pieces(pieces: Sequence[Piece], texts: Sequence[str]) -> str:
    """Return the text of a line from those of its pieces, with a space where a word gap was cut."""
    joined, is_word = "", False
    for piece, text in zip(pieces, map(str.strip, texts), strict=True):
        is_word |= piece.is_word
        if text:
            joined += f" {text}" if joined and is_word else text
            is_word = False
    return joined


def read_in_pieces(
    read: ReadImages, images: Sequence[bytes], max_aspect: float, *, sizes_px: Sequence[tuple[int, int]] = ()
) -> list[LineReading]:
    """Return the readings of encoded lines; wide ones are cut. `read` is called once.

    `sizes_px` are the widths and heights of the lines before they were resized, if they are stored as
    squares. The confidence of a line is the mean over its pieces, weighted by their number of characters plus
    one. A line reached the limit if a piece did.
    """
    lines: list[list[Piece]] = []
    encoded: list[bytes] = []
    sizes: Iterable[tuple[int, int] | None] = sizes_px or repeat(None, len(images))
    for number, (content, size_px) in enumerate(zip(images, sizes, strict=True)):
        image = open_line_image(content, f"line {number}").convert("L")
        pieces = cut_pieces(image, max_aspect, size_px=size_px)
        encoded += [content] if len(pieces) == 1 else [_encode(piece.image) for piece in pieces]
        lines.append([replace(piece, image=_NO_IMAGE) for piece in pieces])  # encoded they take a tenth
    readings = iter(read(encoded) if encoded else [])
    return [_join_readings(pieces, list(islice(readings, len(pieces)))) for pieces in lines]


def _join_readings(pieces: Sequence[Piece], readings: Sequence[LineReading]) -> LineReading:
    if len(readings) == 1:
        return readings[0]
    weights = [len(reading.text) + 1 for reading in readings]
    weighted = [weight * reading.confidence for weight, reading in zip(weights, readings, strict=True)]
    return make_reading(
        join_pieces(pieces, [reading.text for reading in readings]),
        sum(weighted) / sum(weights),
        any(reading.reached_limit for reading in readings),
    )


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _find_gaps(pixels: Pixels, scales: tuple[float, float]) -> list[_Gap]:
    """Return the gaps between letters; `scales` are the pixels of the line per stored pixel, for x and y.

    Letter gaps and word gaps are separated by their widths within each line, because fonts differ more from
    each other than the two kinds of gaps within a line.
    """
    ink = find_ink(pixels)
    edges = np.flatnonzero(np.diff(ink.any(axis=0), prepend=False, append=False))
    starts, ends = edges[1:-1:2], edges[2:-1:2]  # of paper
    if not starts.size:
        return []
    rows = np.flatnonzero(ink.any(axis=1))
    widths = (ends - starts) * scales[0] / ((rows[-1] + 1 - rows[0]) * scales[1])
    threshold = max(MIN_WORD_GAP, _otsu_threshold(widths))
    is_word_gap = widths > threshold
    usual = np.median(widths[is_word_gap]) if is_word_gap.any() else 1.0
    doubts = np.where(widths < CLEAR_SHARE * usual, 1 - widths / usual, 0.0)
    doubts[~is_word_gap] = 1.0
    cuts = (starts + ends) // 2
    return [_Gap(*gap) for gap in zip(cuts.tolist(), is_word_gap.tolist(), doubts.tolist(), strict=True)]


def _otsu_threshold(widths: npt.NDArray[np.float64]) -> float:
    """Return the width that divides the gaps into two classes with the least variance within each (Otsu)."""
    ordered = np.sort(widths)
    number, sums = len(ordered), ordered.cumsum()
    if number < 2:
        return 0.0
    below = np.arange(1, number)
    means_below, means_above = sums[:-1] / below, (sums[-1] - sums[:-1]) / (number - below)
    best = int(np.argmax(below * (number - below) * (means_above - means_below) ** 2))
    return float(ordered[best] + ordered[best + 1]) / 2


def _choose_gaps(gaps: Sequence[_Gap], width: int, limit: float) -> list[_Gap]:
    """Return the gaps to cut at, from left to right, with the lowest total cost."""
    ends = [*gaps, _Gap(width, is_word_gap=True, doubt=0.0)]
    best: list[tuple[_Cost, list[_Gap]]] = []  # for the pieces up to each end: their cost and cuts
    for index, end in enumerate(ends):
        candidates = [(_piece_cost(0, end, limit), list[_Gap]())]
        for before in range(index - 1, -1, -1):
            start = ends[before]
            if end.cut - start.cut > limit and before < index - 1:
                break  # a closer gap costs less
            (cost, chosen), own = best[before], _piece_cost(start.cut, end, limit)
            total = (cost[0] + own[0], cost[1] + own[1], cost[2] + own[2], cost[3] + own[3])
            candidates.append((total, [*chosen, start]))
        best.append(min(candidates, key=lambda candidate: candidate[0]))
    return best[-1][1]


def _piece_cost(start: int, end: _Gap, limit: float) -> _Cost:
    width = end.cut - start
    return max(0.0, width - limit), end.doubt, 1, float(width) ** 2

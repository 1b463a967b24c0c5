"""Long lines read in pieces: cut at their widest gaps, read one by one, and joined again.

A model sees every line as the same square, so that the letters of a long one are squeezed. A piece is at
most so many times as wide as it is high; cuts go through paper only.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat

import numpy as np
import numpy.typing as npt
from PIL import Image

Reader = Callable[[Sequence[bytes]], tuple[list[str], list[float]]]
"""Encoded images -> what each says, and the confidence in it, from 0 to 1."""

MIN_CONTRAST = 48
"""Grey levels between paper and the strongest ink; what has less holds no gap to cut at."""
INK_SHARE = 0.25
"""Share of that contrast from which a pixel is ink."""
MIN_WORD_GAP = 0.2
"""In heights of the ink: the narrowest gap that can be a space; those of made pages have 0.25 and more."""
CLEAR_SHARE = 0.8
"""Share of the usual word gap of a line from which a gap is as good as any: a pixel is no difference."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece:
    """A part of a line, from top to bottom."""

    image: Image.Image
    x0: int
    """In columns of the line's image, half-open; the pieces of a line cover it without overlap."""
    x1: int
    is_word: bool
    """Whether a word gap stands before it; False for the first."""


@dataclass(frozen=True, slots=True)
class _Gap:
    """Paper between two letters."""

    cut: int
    """The column in the middle, in stored pixels."""
    is_word_gap: bool
    doubt: float
    """Of whether it is one: 0 for a gap about as wide as the line's word gaps, 1 for a letter gap."""


_Cost = tuple[float, float, int, float]
"""Pixels over the limit, doubt of the cuts, pieces, squared widths: the first that differs decides."""


def cut_pieces(
    image: Image.Image, max_aspect: float, *, size_px: tuple[int, int] | None = None
) -> list[Piece]:
    """Return the pieces of a greyscale line (`L`) from left to right, one if it is no wider than allowed.

    `max_aspect` is a piece's greatest width in heights of the line, at least 1. `size_px` is the line's width
    and height before it was stored as a square; None: as it is stored. Cuts go through the widest gaps, those
    between words, where these are near enough; there are no more than are needed, and the pieces are of much
    the same width. Where letters leave no gap, above an underline for one, a piece stays wider.
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
    """Return what the pieces of a line say, with a space where a word gap was cut; empty ones left out."""
    joined, is_word = "", False
    for piece, text in zip(pieces, map(str.strip, texts), strict=True):
        is_word |= piece.is_word
        if text:
            joined += f" {text}" if joined and is_word else text
            is_word = False
    return joined


def read_in_pieces(
    read: Reader, images: Sequence[bytes], max_aspect: float, *, sizes_px: Sequence[tuple[int, int]] = ()
) -> tuple[list[str], list[float]]:
    """Return what a reader finds on encoded lines of which the wider ones are cut, in one call of it.

    `sizes_px` are the widths and heights of lines that are stored as squares. The confidence in a line is the
    mean of its pieces', weighted by their characters and the end of each.
    """
    lines: list[list[Piece]] = []
    encoded: list[bytes] = []
    sizes: Iterable[tuple[int, int] | None] = sizes_px or repeat(None, len(images))
    for content, size_px in zip(images, sizes, strict=True):
        with Image.open(io.BytesIO(content)) as image:
            pieces = cut_pieces(image.convert("L"), max_aspect, size_px=size_px)
        lines.append(pieces)
        encoded += [content] if len(pieces) == 1 else [_encode(piece.image) for piece in pieces]
    texts, confidences = read(encoded) if encoded else ([], [])
    joined, means, start = [], [], 0
    for pieces in lines:
        its = slice(start, start + len(pieces))
        weighted = [
            (len(text) + 1) * confidence
            for text, confidence in zip(texts[its], confidences[its], strict=True)
        ]
        joined.append(join_pieces(pieces, texts[its]) if len(pieces) > 1 else texts[start])
        means.append(sum(weighted) / sum(len(text) + 1 for text in texts[its]))
        start += len(pieces)
    return joined, means


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _find_gaps(pixels: npt.NDArray[np.uint8], scales: tuple[float, float]) -> list[_Gap]:
    """Return the gaps between letters; `scales` are the pixels of the line in a stored one, across and down.

    Letter gaps and word gaps are told apart by their own widths, line by line, since fonts differ more among
    each other than the two within a line.
    """
    ink = _find_ink(pixels)
    edges = np.flatnonzero(np.diff(ink.any(axis=0), prepend=False, append=False))
    starts, ends = edges[1:-1:2], edges[2:-1:2]  # of paper
    if not starts.size:
        return []
    rows = np.flatnonzero(ink.any(axis=1))
    widths = (ends - starts) * scales[0] / ((rows[-1] + 1 - rows[0]) * scales[1])
    threshold = max(MIN_WORD_GAP, _divide(widths))
    is_word_gap = widths > threshold
    usual = np.median(widths[is_word_gap]) if is_word_gap.any() else 1.0
    doubts = np.where(widths < CLEAR_SHARE * usual, 1 - widths / usual, 0.0)
    doubts[~is_word_gap] = 1.0
    cuts = (starts + ends) // 2
    return [_Gap(*gap) for gap in zip(cuts.tolist(), is_word_gap.tolist(), doubts.tolist(), strict=True)]


def _find_ink(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return where there is print, dark on light or light on dark; the most common grey is paper."""
    paper = int(np.bincount(pixels.ravel(), minlength=256).argmax())
    distance = np.abs(pixels.astype(np.int16) - paper)
    contrast = int(distance.max())
    if contrast < MIN_CONTRAST:
        return np.zeros(pixels.shape, bool)
    is_ink: npt.NDArray[np.bool_] = distance > INK_SHARE * contrast
    return is_ink


def _divide(widths: npt.NDArray[np.float64]) -> float:
    """Return the width that best divides the gaps into two kinds (Otsu: the least variance within each)."""
    ordered = np.sort(widths)
    number, sums = len(ordered), ordered.cumsum()
    if number < 2:
        return 0.0
    below = np.arange(1, number)
    means_below, means_above = sums[:-1] / below, (sums[-1] - sums[:-1]) / (number - below)
    best = int(np.argmax(below * (number - below) * (means_above - means_below) ** 2))
    return float(ordered[best] + ordered[best + 1]) / 2


def _choose_gaps(gaps: Sequence[_Gap], width: int, limit: float) -> list[_Gap]:
    """Return the gaps to cut at, from left to right, which together cost least."""
    ends = [*gaps, _Gap(width, is_word_gap=True, doubt=0.0)]
    best: list[tuple[_Cost, list[_Gap]]] = []  # up to each end, with the gaps cut before it
    for index, end in enumerate(ends):
        candidates = [(_cost_of(0, end, limit), list[_Gap]())]
        for before in range(index - 1, -1, -1):
            start = ends[before]
            if end.cut - start.cut > limit and before < index - 1:
                break  # a nearer gap would do
            (cost, chosen), own = best[before], _cost_of(start.cut, end, limit)
            total = (cost[0] + own[0], cost[1] + own[1], cost[2] + own[2], cost[3] + own[3])
            candidates.append((total, [*chosen, start]))
        best.append(min(candidates, key=lambda candidate: candidate[0]))
    return best[-1][1]


def _cost_of(start: int, end: _Gap, limit: float) -> _Cost:
    width = end.cut - start
    return max(0.0, width - limit), end.doubt, 1, float(width) ** 2

"""Words cut from labelled lines, at the gaps in the print that are the spaces of the text.

A line is not cut unless the gaps between its words are clearly wider than those between its letters, and its
words are as wide as their texts suggest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ocr_ray.dataset.ink import (
    MIN_CONTRAST,
    SOFT_EDGE_SHARE,
    WORD_INK_SHARE,
    Pixels,
    find_dark_print,
    measure_darkness,
)
from ocr_ray.pages.layout.text_rows import find_runs
from ocr_ray.text.hangul import count_hangul, is_hangul_syllable

MAX_EDGE_PX = 2
"""Width of a soft edge; beyond it is the grain of the paper."""
GAP_MARGIN_PX = 1.0
GAP_MARGIN_SHARE = 0.04
"""By how much the narrowest word gap must exceed the widest letter gap: in pixels and in line heights."""
WIDTH_TOLERANCE = (0.4, 0.08)
"""How much a word can differ from the width its text suggests: in syllables, plus a share of its width."""
MIN_SYLLABLES = 3
"""Syllables that a line must have; with fewer, size and baseline cannot be measured."""
BODY_SHARE = 0.15
"""A row of pixels with this share of the ink of a full row belongs to the body of the syllables."""
MAX_HEIGHT_SHARE = 1.5
"""Largest height of a word, in heights of the body; a taller one is a stacked fraction or touches another
line."""

_NARROW = frozenset(".,:;'!|()[]{}iIl1-")
_NARROW_WIDTH, _WIDTH, _WIDE_WIDTH = 0.4, 0.6, 0.9
"""Widths in syllables of narrow signs, of digits and Latin letters, and of all other signs."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WordImage:
    """The original pixels of one word, with the measures needed to join it with others."""

    text: str
    """As printed, canonical, without spaces."""
    pixels: Pixels
    """The ink with its soft edges."""
    page_id: str
    line_id: str
    index: int
    """Position in the line."""
    height_px: int
    """Height of the body of the line's syllables."""
    baseline_px: int
    """Lower end of that body, from the top of `pixels`; can lie outside."""
    gap_px: int
    """Median gap between the words of the line."""
    paper: int
    """Grey level of the paper, 0-255."""
    ink: int
    """Grey level of the darkest ink of the line, 0-255."""


def find_words(line: Pixels, text: str) -> list[tuple[int, int]] | None:
    """Return left and right of each word's ink, half-open, or None if the print is ambiguous.

    `text` has single spaces. A text without spaces gives None, because it does not show how wide a space is.
    """
    words = text.split(" ")
    paper, ink = find_dark_print(line)
    if len(words) < 2 or paper - ink < MIN_CONTRAST:
        return None
    darkness = measure_darkness(line, paper, ink).max(axis=0)
    runs = find_runs(darkness > WORD_INK_SHARE)
    if len(runs) < len(words):
        return None
    gaps = _measure_gaps(darkness, runs)
    by_width = sorted(range(len(gaps)), key=lambda index: gaps[index], reverse=True)
    word_gaps, letter_gaps = by_width[: len(words) - 1], by_width[len(words) - 1 :]
    margin_px = max(GAP_MARGIN_PX, GAP_MARGIN_SHARE * line.shape[0])
    if letter_gaps and gaps[word_gaps[-1]] < gaps[letter_gaps[0]] + margin_px:
        return None
    cuts = [-1, *sorted(word_gaps), len(runs) - 1]
    spans = [(runs[before + 1][0], runs[last][1]) for before, last in pairwise(cuts)]
    return _add_soft_edges(spans, darkness) if _have_expected_widths(spans, words) else None


def cut_words(line: Pixels, text: str, *, page_id: str, line_id: str) -> list[WordImage]:
    """Return the words of a line in order, none if it cannot be cut; `text` is the printed text."""
    if count_hangul(text) < MIN_SYLLABLES:
        return []
    columns = find_words(line, text)
    if columns is None:
        return []
    texts = text.split(" ")
    paper, ink = find_dark_print(line)
    darkness = measure_darkness(line, paper, ink)
    with_syllables = [
        darkness[:, x0:x1]
        for (x0, x1), word in zip(columns, texts, strict=True)
        if any(map(is_hangul_syllable, word))
    ]
    top, bottom = _find_body(np.concatenate(with_syllables, axis=1) > WORD_INK_SHARE)
    gap_px = int(np.median([right[0] - left[1] for left, right in pairwise(columns)]))
    words = []
    for index, ((x0, x1), word) in enumerate(zip(columns, texts, strict=True)):
        by_row = darkness[:, x0:x1].max(axis=1)
        rows = np.flatnonzero(by_row > WORD_INK_SHARE)
        y0, y1 = _add_soft_edge((int(rows[0]), int(rows[-1]) + 1), (0, len(by_row)), by_row)
        if y1 - y0 > MAX_HEIGHT_SHARE * (bottom - top) or "$" in word or "\\" in word:
            continue
        words.append(
            WordImage(
                text=word,
                pixels=line[y0:y1, x0:x1].copy(),  # a view would keep the whole line in memory
                page_id=page_id,
                line_id=line_id,
                index=index,
                height_px=bottom - top,
                baseline_px=bottom - y0,
                gap_px=gap_px,
                paper=paper,
                ink=ink,
            )
        )
    return words


def _measure_gaps(darkness: npt.NDArray[np.float32], runs: Sequence[tuple[int, int]]) -> list[float]:
    """Return the widths of the gaps between runs in pixels; a soft edge counts as part of a pixel."""
    paper = 1 - (darkness / WORD_INK_SHARE).clip(0, 1)
    return [float(paper[left[1] : right[0]].sum()) for left, right in pairwise(runs)]


def _have_expected_widths(spans: Sequence[tuple[int, int]], words: Sequence[str]) -> bool:
    """Return whether each word takes the share of the line that its characters suggest."""
    widths = np.array([x1 - x0 for x0, x1 in spans])
    expected = np.array([sum(map(_width_in_syllables, word)) for word in words])
    syllable_px = widths.sum() / expected.sum()
    num_syllables, share = WIDTH_TOLERANCE
    tolerance = num_syllables * syllable_px + share * widths
    return bool((np.abs(widths - expected * syllable_px) <= tolerance).all())


def _width_in_syllables(char: str) -> float:
    if is_hangul_syllable(char):
        return 1.0
    if char in _NARROW:
        return _NARROW_WIDTH
    return _WIDTH if char.isascii() and char.isalnum() else _WIDE_WIDTH


def _add_soft_edges(
    spans: Sequence[tuple[int, int]], darkness: npt.NDArray[np.float32]
) -> list[tuple[int, int]]:
    """Return the spans extended by the faint columns next to them, at most to the middle of a gap."""
    middles = [(left[1] + right[0]) // 2 for left, right in pairwise(spans)]
    limits = pairwise([0, *middles, len(darkness)])
    return [_add_soft_edge(span, limit, darkness) for span, limit in zip(spans, limits, strict=True)]


def _add_soft_edge(
    span: tuple[int, int], limit: tuple[int, int], darkness: npt.NDArray[np.float32]
) -> tuple[int, int]:
    first, last = span
    lowest, highest = max(first - MAX_EDGE_PX, limit[0]), min(last + MAX_EDGE_PX, limit[1])
    while first > lowest and darkness[first - 1] > SOFT_EDGE_SHARE:
        first -= 1
    while last < highest and darkness[last] > SOFT_EDGE_SHARE:
        last += 1
    return first, last


def _find_body(is_ink: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return top and end of the body of the syllables; commas reach below it."""
    row_ink = is_ink.sum(axis=1)
    full = BODY_SHARE * np.percentile(row_ink[row_ink > 0], 90)
    rows = np.flatnonzero(row_ink >= full)
    return int(rows[0]), int(rows[-1]) + 1

"""Lines joined from words of real print: real pixels without the context that sentences have."""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from PIL import Image

from ocr_ray.dataset.images import ImageConfig
from ocr_ray.dataset.ink import Pixels
from ocr_ray.dataset.lines import Reject, TextLine
from ocr_ray.pages.layout.words import Word
from ocr_ray.pages.page_image import encode_line
from ocr_ray.randomness import keyed_generator
from ocr_ray.text.markup import to_markup

MAX_DRAWS = 200
"""Words looked at for one line: enough to fill it if any fit, and an end if none do."""
MAX_INK_DIFFERENCE = 32
"""Grey levels between the ink of a line's first word and of the others."""
GAP_SHARE = 0.3
"""The narrowest gap between two words, in heights of the print."""
MARGINS_PX = (1, 3)
"""Paper on each side of the print, as the boxes of labels leave it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpliceConfig:
    """Which words are joined, and how their line is stored."""

    min_length: int = 5
    """Characters of a line, spaces counted."""
    max_length: int = 30
    max_height_difference_px: int = 1
    """Between the print of a line's first word and of the others; no word is resized."""
    image: ImageConfig = field(default_factory=ImageConfig)

    def __post_init__(self) -> None:
        if not 3 <= self.min_length <= self.max_length:
            raise ValueError(
                f"min_length must be from 3 to max_length, got {self.min_length} and {self.max_length}"
            )
        if self.max_height_difference_px < 0:
            raise ValueError(
                f"max_height_difference_px must not be negative, got {self.max_height_difference_px}"
            )


class WordPool:
    """Words to draw from, in an order that does not depend on how they came in."""

    def __init__(self, words: Iterable[Word]) -> None:
        self.words = sorted(words, key=lambda word: (word.height_px, word.line_id, word.index))
        self._heights = [word.height_px for word in self.words]

    def range_of(self, height_px: int, difference_px: int) -> tuple[int, int]:
        """Return the first of the words about as high, and the one behind the last."""
        first = bisect_left(self._heights, height_px - difference_px)
        return first, bisect_right(self._heights, height_px + difference_px)


def splice_line(pool: WordPool, *, seed: int, number: int, config: SpliceConfig) -> TextLine | Reject:
    """Return the line of `number`, joined from words of the pool; depends on nothing else.

    Words next to each other come from different pages, so from different problems; no word is there twice.
    Its style names the words as `line_id:index`. A reject is `no_words_fit`: too few words, of too few pages
    or of too many sizes.
    """
    rng = keyed_generator(seed, "splice", number)
    words = _draw_words(pool, rng, config)
    text = " ".join(word.text for word in words)
    if len(words) < 2 or len(text) < config.min_length:
        found = f"{len(pool.words)} words, joined only {text!r}"
        return Reject(reason="no_words_fit", detail=found, number=number)
    image = Image.fromarray(_join_words(words, rng))
    return TextLine(
        line_id=f"spliced#{number}",
        image_bytes=encode_line(image, config.image),
        text=text,
        markup=to_markup(text),
        source="spliced",
        width_px=image.width,
        height_px=image.height,
        style=json.dumps({"words": [f"{word.line_id}:{word.index}" for word in words]}, ensure_ascii=False),
    )


def _draw_words(pool: WordPool, rng: np.random.Generator, config: SpliceConfig) -> list[Word]:
    """Return words that fit together, as many as a length drawn evenly allows; too few if no others fit."""
    words: list[Word] = []
    if not pool.words:
        return words
    wanted_length = int(rng.integers(config.min_length, config.max_length + 1))
    first, last = 0, len(pool.words)
    length = -1  # a space stands before each word but the first
    for position in rng.random(MAX_DRAWS):
        word = pool.words[first + int(position * (last - first))]
        is_line = len(words) >= 2 and length >= config.min_length
        if length + 1 + len(word.text) > (wanted_length if is_line else config.max_length):
            continue
        if not words:
            first, last = pool.range_of(word.height_px, config.max_height_difference_px)
        elif not _fits(word, words):
            continue
        words.append(word)
        length += 1 + len(word.text)
        if length >= wanted_length:
            break
    return words


def _fits(word: Word, words: Sequence[Word]) -> bool:
    is_new = all(word.text != other.text for other in words)
    is_as_dark = abs(word.ink - words[0].ink) <= MAX_INK_DIFFERENCE
    return is_new and is_as_dark and word.page_id != words[-1].page_id


def _join_words(words: Sequence[Word], rng: np.random.Generator) -> Pixels:
    """Return the words on one baseline and one paper, with gaps like those of the lines they come from."""
    left, top, right, bottom = (int(margin) for margin in rng.integers(MARGINS_PX[0], MARGINS_PX[1] + 1, 4))
    gaps = [_draw_gap(before, behind, rng) for before, behind in pairwise(words)]
    baseline = top + max(word.baseline_px for word in words)
    height = baseline + bottom + max(word.pixels.shape[0] - word.baseline_px for word in words)
    width = left + right + sum(word.pixels.shape[1] for word in words) + sum(gaps)
    paper = int(np.median([word.paper for word in words]))
    line: Pixels = np.full((height, width), paper, np.uint8)
    x0 = left
    for word, gap in zip(words, [*gaps, 0], strict=True):
        y0 = baseline - word.baseline_px
        word_height, word_width = word.pixels.shape
        line[y0 : y0 + word_height, x0 : x0 + word_width] = _set_paper(word, paper)
        x0 += word_width + gap
    return line


def _draw_gap(before: Word, behind: Word, rng: np.random.Generator) -> int:
    """Return pixels between two words: the mean of their lines, or one more."""
    gap_px = round((before.gap_px + behind.gap_px) / 2) + int(rng.integers(2))
    return max(gap_px, round(GAP_SHARE * before.height_px))


def _set_paper(word: Word, paper: int) -> Pixels:
    """Return the word's pixels in the light of another paper; those of the same paper as they are."""
    if word.paper == paper:
        return word.pixels
    return (word.pixels * (paper / word.paper)).round().clip(0, 255).astype(np.uint8)

"""Lines spliced from words of real print: real pixels, but not the context of a sentence."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from PIL import Image

from ocr_ray.dataset.images import MAX_LINE_PIXELS, MAX_LINE_SIDE_PX, ImageConfig
from ocr_ray.dataset.ink import Pixels
from ocr_ray.dataset.lines import Reject, TextLine, WordOrigin
from ocr_ray.pages.files.page_image import encode_line
from ocr_ray.pages.layout.words import WordImage
from ocr_ray.randomness import keyed_generator
from ocr_ray.text.markup import to_markup

MAX_DRAWS = 200
"""Random words tried for one line: enough to fill it if words fit, and an end if none do."""
MAX_INK_DIFFERENCE = 32
"""Largest difference in grey levels between the ink of a line's first word and the others."""
GAP_SHARE = 0.3
"""Narrowest gap between two words, as a share of the height of the print."""
MARGINS_PX = (1, 3)
"""Range of the paper on each side of the print, as in labelled boxes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpliceConfig:
    """How words are chosen for a line, and how the line is stored."""

    min_length: int = 5
    """In characters, including spaces."""
    max_length: int = 30
    max_height_difference_px: int = 1
    """Between the print of a line's first word and the others; words are not resized."""
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
    """Words to draw from, in an order that does not depend on that of the input."""

    def __init__(self, words: Iterable[WordImage]) -> None:
        self.words = sorted(words, key=lambda word: (word.height_px, word.line_id, word.index))
        self._heights = [word.height_px for word in self.words]

    def range_of(self, height_px: int, difference_px: int) -> tuple[int, int]:
        """Return start and end of the range of words about as high."""
        first = bisect_left(self._heights, height_px - difference_px)
        return first, bisect_right(self._heights, height_px + difference_px)


def splice_line(pool: WordPool, *, seed: int, number: int, config: SpliceConfig) -> TextLine | Reject:
    """Return the line of `number`, joined from words of the pool; depends on nothing else.

    Adjacent words come from different pages, so from different problems; no word occurs twice. The reject is
    `no_words_fit`: too few words, or from too few pages, or in too many sizes.
    """
    rng = keyed_generator(seed, "splice", number)
    words = _draw_words(pool, rng, config)
    text = " ".join(word.text for word in words)
    if len(words) < 2 or len(text) < config.min_length:
        detail = f"{len(pool.words)} words, joined only {text!r}"
        return Reject(reason="no_words_fit", detail=detail, number=number)
    pixels = _join_words(words, rng)
    if pixels is None:
        return Reject(reason="no_words_fit", detail=f"too large as a line: {text!r}", number=number)
    image = Image.fromarray(pixels)
    return TextLine(
        line_id=f"spliced#{number}",
        image_bytes=encode_line(image, config.image),
        text=text,
        markup=to_markup(text),
        source="spliced",
        width_px=image.width,
        height_px=image.height,
        spliced_from=tuple(WordOrigin(word.line_id, word.index) for word in words),
    )


def _draw_words(pool: WordPool, rng: np.random.Generator, config: SpliceConfig) -> list[WordImage]:
    """Return words that fit together, up to a length drawn uniformly; fewer if no others fit."""
    words: list[WordImage] = []
    if not pool.words:
        return words
    target_length = int(rng.integers(config.min_length, config.max_length + 1))
    first, last = 0, len(pool.words)
    length = -1  # every word but the first has a space before it
    for position in rng.random(MAX_DRAWS):
        word = pool.words[first + int(position * (last - first))]
        is_line = len(words) >= 2 and length >= config.min_length
        if length + 1 + len(word.text) > (target_length if is_line else config.max_length):
            continue
        if not words:
            first, last = pool.range_of(word.height_px, config.max_height_difference_px)
        elif not _fits(word, words):
            continue
        words.append(word)
        length += 1 + len(word.text)
        if length >= target_length:
            break
    return words


def _fits(word: WordImage, words: Sequence[WordImage]) -> bool:
    is_new = all(word.text != other.text for other in words)
    is_as_dark = abs(word.ink - words[0].ink) <= MAX_INK_DIFFERENCE
    return is_new and is_as_dark and word.page_id != words[-1].page_id


def _join_words(words: Sequence[WordImage], rng: np.random.Generator) -> Pixels | None:
    """Return the words on one baseline and one paper grey, with gaps like those of their own lines.

    None: a line cannot be that large.
    """
    left, top, right, bottom = (int(margin) for margin in rng.integers(MARGINS_PX[0], MARGINS_PX[1] + 1, 4))
    gaps = [_draw_gap(word, next_word, rng) for word, next_word in pairwise(words)]
    baseline = top + max(word.baseline_px for word in words)
    height = baseline + bottom + max(word.pixels.shape[0] - word.baseline_px for word in words)
    width = left + right + sum(word.pixels.shape[1] for word in words) + sum(gaps)
    if max(height, width) > MAX_LINE_SIDE_PX or height * width > MAX_LINE_PIXELS:
        return None
    paper = int(np.median([word.paper for word in words]))
    line: Pixels = np.full((height, width), paper, np.uint8)
    x0 = left
    for word, gap in zip(words, [*gaps, 0], strict=True):
        y0 = baseline - word.baseline_px
        word_height, word_width = word.pixels.shape
        line[y0 : y0 + word_height, x0 : x0 + word_width] = _set_paper(word, paper)
        x0 += word_width + gap
    return line


def _draw_gap(word: WordImage, next_word: WordImage, rng: np.random.Generator) -> int:
    """Return the pixels between two words: the mean of their lines, or one more."""
    gap_px = round((word.gap_px + next_word.gap_px) / 2) + int(rng.integers(2))
    return max(gap_px, round(GAP_SHARE * word.height_px))


def _set_paper(word: WordImage, paper: int) -> Pixels:
    """Return the word's pixels scaled to another grey of the paper."""
    if word.paper == paper:
        return word.pixels
    return (word.pixels * (paper / word.paper)).round().clip(0, 255).astype(np.uint8)

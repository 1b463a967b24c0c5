"""The text of line `number`: words side by side that say nothing about each other, arithmetic, or both.

A reader that learns from such lines cannot guess the end of a line from its beginning.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TypeVar

import numpy as np

from ocr_ray.errors import InputError
from ocr_ray.randomness import keyed_generator
from ocr_ray.text import arithmetic
from ocr_ray.text.arithmetic import ArithmeticConfig
from ocr_ray.text.hangul import nfc
from ocr_ray.text.markup import to_markup

T = TypeVar("T")

_COUNTERS = """
개 명 권 마리 자루 송이 장 대 번 살 원 켤레 그루 상자 봉지 접시 컵 병 조각 쪽 줄 칸 층 바퀴
시간 분 초 일 월 년 주일 도 배 점 등 모둠 학년 cm m km mm g kg t L mL
"""
COUNTERS = tuple(_COUNTERS.split())
"""What is counted behind a number: `7개`, `12 cm`."""
CHARACTERS = arithmetic.CHARACTERS | frozenset("".join(COUNTERS)) | frozenset(",")
"""Every character that a line may hold besides those of its words."""

_SEPARATOR = ", "
_LONGEST_NUMBER = 5
_KEEP_DRAWING = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TextConfig:
    """What the lines are made of."""

    min_length: int = 5
    """Fewest characters of a line."""
    max_length: int = 30
    """Most characters of a line."""
    arithmetic_share: float = 0.3
    """Share of lines that are arithmetic."""
    mixed_share: float = 0.2
    """Share of lines with words, numbers and arithmetic; what is left are lines of words."""
    arithmetic: ArithmeticConfig = field(default_factory=ArithmeticConfig)

    def __post_init__(self) -> None:
        if not 1 <= self.min_length <= self.max_length:
            raise ValueError(
                "min_length must be at least 1 and at most max_length, "
                f"got {self.min_length} and {self.max_length}"
            )
        shares = self.arithmetic_share, self.mixed_share
        if not (min(shares) >= 0 and sum(shares) <= 1 + 1e-9):
            raise ValueError(
                "arithmetic_share and mixed_share must be at least 0 and together at most 1, "
                f"got {self.arithmetic_share} and {self.mixed_share}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LineText:
    """What a line says, and what it is made of."""

    text: str
    """What is printed, NFC."""
    markup: str
    """The same with maths in `$…$` LaTeX."""
    source: str
    """`words`, `arithmetic` or `mixed`."""


class TextSampler:
    """Draws lines; built once, then a pure function of (seed, number).

    Words are drawn evenly over the distinct ones that are short enough, on the condition that they fill
    the length asked for: a word's length in proportion to how many words have it and how likely the rest
    then fits.
    """

    def __init__(self, words: Iterable[str], config: TextConfig) -> None:
        """Raise InputError if a source that is asked for cannot make a line of the lengths."""
        self.config = config
        distinct = sorted({nfc(word) for word in words})
        if not all(word.split() == [word] for word in distinct):
            raise InputError("a word must not be empty or hold white space")
        self._words_by_length: dict[int, list[str]] = {}
        for word in distinct:
            if len(word) <= config.max_length:
                self._words_by_length.setdefault(len(word), []).append(word)
        self._choices = self._weigh_lengths()
        lengths = range(config.min_length, config.max_length + 1)
        self._word_lengths = [length for length in lengths if length in self._choices]
        fillable = sorted(self._choices)
        # A mixed line keeps two characters or more for a space and a number.
        self._mixed_lengths = [
            (length, fillable[: bisect_right(fillable, length - 2)])
            for length in lengths
            if fillable and fillable[0] <= length - 2
        ]
        words_share = 1 - config.arithmetic_share - config.mixed_share
        if words_share > 1e-9 and not self._word_lengths:
            raise InputError(self._complain("words"))
        if config.mixed_share and not self._mixed_lengths:
            raise InputError(self._complain("mixed"))

    def draw(self, seed: int, number: int) -> LineText:
        """Return line `number`; a line does not depend on which others are drawn."""
        generator = keyed_generator(seed, "text", number)
        choice = generator.random() - self.config.arithmetic_share
        if 0 <= choice < self.config.mixed_share:
            source, text = "mixed", self._draw_mixed(generator)
        elif choice >= 0 and self._word_lengths:
            length = _pick(self._word_lengths, generator.random)
            source, text = "words", " ".join(self._fill_with_words(length, generator.random))
        else:
            source, text = "arithmetic", self._draw_arithmetic(generator)
        return LineText(text=text, markup=to_markup(text), source=source)

    def _complain(self, source: str) -> str:
        return (
            f"the corpus must have words that make a {source} line of {self.config.min_length} to "
            f"{self.config.max_length} characters, got words of {sorted(self._words_by_length)} characters "
            "that are short enough: give more words or widen the lengths"
        )

    def _weigh_lengths(self) -> dict[int, tuple[list[int], list[float]]]:
        """Return, for each length that words can fill, the first word's lengths and their cumulative weights.

        `chance[r]` is the probability that words drawn evenly, joined by spaces, come to end exactly at r.
        """
        total = sum(map(len, self._words_by_length.values()))
        chance = {-1: 1.0}
        choices = {}
        for length in range(1, self.config.max_length + 1):
            weights = {
                first: len(words) / total * chance[length - first - 1]
                for first, words in sorted(self._words_by_length.items())
                if length - first - 1 in chance
            }
            if weights:
                chance[length] = sum(weights.values())
                choices[length] = list(weights), list(accumulate(weights.values()))
        return choices

    def _fill_with_words(self, length: int, random: Callable[[], float]) -> list[str]:
        """Return words whose lengths and the spaces between them come to exactly `length`."""
        words = []
        while length > 0:
            lengths, cumulative = self._choices[length]
            first = lengths[bisect_right(cumulative, random() * cumulative[-1], hi=len(lengths) - 1)]
            words.append(_pick(self._words_by_length[first], random))
            length -= first + 1
        return words

    def _draw_arithmetic(self, generator: np.random.Generator) -> str:
        """Return expressions that reach a drawn length; one is cut only where no whole one fits."""
        low, high = self.config.min_length, self.config.max_length
        target = low + int(generator.random() * (high - low + 1))
        text = self._draw_expression(generator)
        while len(text) < target:
            longer = text + _SEPARATOR + self._draw_expression(generator)
            if len(longer) > high and len(text) >= low:
                return text
            text = longer
        return text if len(text) <= high else _cut(text, low, high)

    def _draw_expression(self, generator: np.random.Generator) -> str:
        return arithmetic.draw_expression(generator, _pick(self.config.arithmetic.grades, generator.random))

    def _draw_mixed(self, generator: np.random.Generator) -> str:
        """Return words with numbers, counted things and expressions in between, of a drawn length exactly."""
        random = generator.random
        length, fillable = _pick(self._mixed_lengths, random)
        words_length = _pick(fillable, random)
        pieces = self._fill_with_words(words_length, random)
        places = list(range(len(pieces) + 1))
        for figure in self._fill_with_figures(length - words_length - 1, generator):
            # Different places while there are any, so that two figures rarely stand side by side.
            place = places.pop(int(random() * len(places))) if places else len(pieces)
            places = [other + (other > place) for other in places]
            pieces.insert(place, figure)
        return " ".join(pieces)

    def _fill_with_figures(self, length: int, generator: np.random.Generator) -> list[str]:
        """Return numbers and expressions whose lengths and the spaces between come to exactly `length`."""
        figures = []
        while length > 0:
            figure = self._draw_figure(generator)
            for _ in range(_KEEP_DRAWING):
                if len(figure) == length or len(figure) + 2 <= length:
                    break
                figure = self._draw_figure(generator)
            else:
                num_digits = length if length <= _LONGEST_NUMBER else 2
                figure = _draw_number(num_digits, generator.random)
            figures.append(figure)
            length -= len(figure) + 1
        return figures

    def _draw_figure(self, generator: np.random.Generator) -> str:
        random = generator.random
        choice = random()
        if choice < 0.4:
            return self._draw_expression(generator)
        number = _draw_number(1 + int(random() * random() * 4), random)
        if choice < 0.55:
            return number
        return number + ("" if choice < 0.9 else " ") + _pick(COUNTERS, random)


def _pick(values: Sequence[T], random: Callable[[], float]) -> T:
    return values[int(random() * len(values))]


def _draw_number(num_digits: int, random: Callable[[], float]) -> str:
    lowest = 10 ** (num_digits - 1)
    return str(lowest + int(random() * 9 * lowest))


def _cut(text: str, low: int, high: int) -> str:
    """Return the beginning of expressions longer than `high`: low to high characters, the last one no space.

    Where every character is needed, the space or separator at the cut gives way to what follows it.
    """
    cut = text[:high].rstrip(_SEPARATOR)
    while len(cut) < low:
        text = cut + text[len(cut) :].lstrip(_SEPARATOR)
        cut = text[:high].rstrip(_SEPARATOR)
    return cut

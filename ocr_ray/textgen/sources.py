"""The kinds of lines: words, arithmetic, mixed and sentence; each draws lines of an exact length."""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache, cached_property, lru_cache
from itertools import accumulate
from operator import itemgetter
from typing import NamedTuple, Protocol

from ocr_ray.randomness import keyed_generator
from ocr_ray.textgen.arithmetic.expressions import ArithmeticConfig, Expression, draw_expression
from ocr_ray.textgen.exact_length import LengthSampler, WeightedChoice
from ocr_ray.textgen.holdout import HoldoutSplit
from ocr_ray.textgen.random_numbers import Random, draw_number
from ocr_ray.textgen.words import join_words

EXPRESSION_SEPARATOR = ", "

_MAX_REDRAWS = 8
"""Expressions drawn for one that the split allows; after that, the numbers of the last are replaced."""
_MAX_TRIES = 3
"""Expressions drawn freely for one that fits a line; after that, one of the right length is looked up."""
_NUM_ENDINGS = 12_000
"""Expressions kept by length, to end lines with."""
_MAX_DIGITS = 4
"""Digits of the numbers that fill what no expression fits."""
_EXPRESSION_SHARE = 0.35
"""Share of mixed lines with an expression, where one fits."""
_WORD_SHARE = 0.5
"""Share of words among the tokens of a mixed line, besides the one word and one quantity it must have."""


class Drawn(NamedTuple):
    """A text and the school grades of its expressions, in order."""

    text: str
    grades: tuple[int, ...] = ()


class Source(Protocol):
    """Draws lines of one kind."""

    @property
    def lengths(self) -> Iterable[int]:
        """Possible line lengths in characters."""

    def draw(self, length: int, random: Random) -> Drawn:
        """Return a line of exactly one of `lengths`, without outer or double spaces."""


class WordLines:
    """Lines of unrelated words; some begin or end inside a word."""

    def __init__(
        self,
        words: WeightedChoice,
        endings: WeightedChoice,
        beginnings: WeightedChoice,
        *,
        cut_share: float,
        middle_dot_share: float,
        max_length: int,
    ) -> None:
        """`endings` of words can start a line, `beginnings` can end it."""
        whole = LengthSampler([(words, 1)], max_length)
        cut_at_end = LengthSampler([(beginnings, 1)], max_length, whole)
        self._whole = whole
        # Each with the index of the drawn token that belongs at the end of the line.
        self._cuts = (
            (LengthSampler([(endings, 1)], max_length, whole), None),
            (cut_at_end, 0),
            (LengthSampler([(endings, 1)], max_length, cut_at_end), 1),
        )
        self._cut_share = cut_share
        self._middle_dot_share = middle_dot_share
        self.lengths = whole.lengths

    def draw(self, length: int, random: Random) -> Drawn:
        """Return a line; of the cut ones, a third each is cut at the start, the end and both."""
        position = random() / self._cut_share if self._cut_share else 1
        sampler, last_index = self._whole, None
        if position < 1:
            cut, index = self._cuts[int(position * len(self._cuts))]
            if length in cut.lengths:
                sampler, last_index = cut, index
        words = sampler.draw(length, random)
        if last_index is not None:
            words.append(words.pop(last_index))
        return Drawn(join_words(words, self._middle_dot_share, random))


class ArithmeticLines:
    """Lines of expressions separated by commas."""

    def __init__(self, config: ArithmeticConfig, holdout: HoldoutSplit, max_length: int) -> None:
        self._config = config
        self._holdout = holdout
        self.lengths = range(1, max_length + 1)

    @cached_property
    def _endings(self) -> dict[int, list[Drawn]]:
        """Expressions by length; cached because they take longer than the rest of a sampler's setup."""
        return _list_endings(self._config, self._holdout)

    def draw(self, length: int, random: Random) -> Drawn:
        """Return expressions; numbers fill a length that no expression has."""
        texts: list[str] = []
        grades: list[int] = []
        remaining = length
        while remaining > 0:
            part = self._draw_part(remaining, random)
            texts.append(part.text)
            grades += part.grades
            remaining -= len(part.text) + len(EXPRESSION_SEPARATOR)
        return Drawn(EXPRESSION_SEPARATOR.join(texts), tuple(grades))

    def draw_expression(self, random: Random) -> Expression:
        """Return an expression with numbers that the split allows."""
        return _draw_expression(random, self._config, self._holdout)

    def _draw_part(self, remaining: int, random: Random) -> Drawn:
        """Return an expression that fills the rest of the line or leaves room for another one."""
        for _ in range(_MAX_TRIES):
            expression = self.draw_expression(random)
            rest = remaining - len(expression.text) - len(EXPRESSION_SEPARATOR)
            if rest in self._endings or rest == -len(EXPRESSION_SEPARATOR):
                return Drawn(expression.text, (expression.grade,))
        if endings := self._endings.get(remaining):
            return endings[int(random() * len(endings))]
        # A number must leave nothing, or room for a separator and another number.
        max_digits = min(_MAX_DIGITS, remaining - len(EXPRESSION_SEPARATOR) - 1)
        num_digits = remaining if remaining <= _MAX_DIGITS else 1 + int(random() * max_digits)
        return Drawn(self._holdout.replace_numbers(draw_number(random, num_digits)))


class MixedLines:
    """Lines of words with quantities between them, and sometimes an expression."""

    def __init__(
        self,
        words: WeightedChoice,
        quantities: WeightedChoice,
        arithmetic: ArithmeticLines,
        *,
        holdout: HoldoutSplit,
        max_length: int,
    ) -> None:
        self._words = words
        self._arithmetic = arithmetic
        self._holdout = holdout
        others = LengthSampler([(words, _WORD_SHARE), (quantities, 1 - _WORD_SHARE)], max_length)
        self._with_word = LengthSampler([(words, 1)], max_length, others)
        self._with_both = LengthSampler([(quantities, 1)], max_length, self._with_word)
        self.lengths = self._with_both.lengths

    def draw(self, length: int, random: Random) -> Drawn:
        """Return a line with at least one word and one quantity or expression."""
        sampler = self._with_both
        quantities: list[str] = []
        grades: tuple[int, ...] = ()
        if random() < _EXPRESSION_SHARE:
            expression = self._arithmetic.draw_expression(random)
            rest = length - len(expression.text) - 1
            if rest in self._with_word.lengths:
                sampler, length = self._with_word, rest
                quantities, grades = [expression.text], (expression.grade,)
        words = []
        for choice, width in sampler.plan(length, random):
            token = choice.draw(width, random)
            if choice is self._words:
                words.append(token)
            else:
                quantities.append(self._holdout.replace_numbers(token))
        return Drawn(" ".join(_interleave(words, quantities, random)), grades)


class SentenceLines:
    """Lines of running text, cut anywhere, whose end can be guessed from the beginning."""

    def __init__(self, passages: Sequence[str], lengths: Iterable[int]) -> None:
        """`passages` have single spaces and none at the ends."""
        self._passages = sorted(passages, key=len, reverse=True)
        self._sizes = [len(passage) for passage in self._passages]
        self._ends = list(accumulate(self._sizes, initial=0))
        self.lengths = frozenset(filter(self._is_possible, lengths))

    def draw(self, length: int, random: Random) -> Drawn:
        """Return the text at a random position, or at the next one where neither end is a space."""
        num_passages = self._count_passages(length)
        position = int(random() * self._count_positions(num_passages, length))
        indices = range(num_passages + 1)
        first = bisect_right(indices, position, key=lambda index: self._count_positions(index, length)) - 1
        start = position - self._count_positions(first, length)
        pattern = _without_outer_spaces(length)
        for step in range(num_passages + 1):
            if text := pattern.search(self._passages[(first + step) % num_passages], start):
                return Drawn(text[0])
            start = 0
        raise AssertionError(f"{length} is not one of the lengths of the passages")

    def _is_possible(self, length: int) -> bool:
        return any(map(_without_outer_spaces(length).search, self._passages[: self._count_passages(length)]))

    def _count_passages(self, length: int) -> int:
        """Return how many passages are long enough; they come first."""
        return bisect_right(self._sizes, -length, key=lambda size: -size)

    def _count_positions(self, num_passages: int, length: int) -> int:
        """Return the number of positions in the first passages where a text of that length can start."""
        return self._ends[num_passages] - num_passages * (length - 1)


@cache
def _without_outer_spaces(length: int) -> re.Pattern[str]:
    """Return the pattern of a text of that length that neither begins nor ends with a space."""
    return re.compile("[^ ]" if length == 1 else rf"[^ ].{{{length - 2}}}[^ ]", re.DOTALL)


def _draw_expression(random: Random, config: ArithmeticConfig, holdout: HoldoutSplit) -> Expression:
    """Return an expression with numbers that the split allows."""
    for _ in range(_MAX_REDRAWS):
        expression = draw_expression(random, config)
        if holdout.allows(expression.text):
            return expression
    return replace(expression, text=holdout.replace_numbers(expression.text))


@lru_cache(maxsize=32)
def _list_endings(config: ArithmeticConfig, holdout: HoldoutSplit) -> dict[int, list[Drawn]]:
    """Return a fixed sample of expressions by length in characters."""
    random = keyed_generator(0, "endings", 0).random
    endings: defaultdict[int, list[Drawn]] = defaultdict(list)
    for _ in range(_NUM_ENDINGS):
        expression = _draw_expression(random, config, holdout)
        endings[len(expression.text)].append(Drawn(expression.text, (expression.grade,)))
    return dict(endings)


def _interleave(words: Sequence[str], quantities: Sequence[str], random: Random) -> list[str]:
    """Return the words in order with the quantities at random positions before, between and after them.

    Two quantities are adjacent only if there are more of them than such positions.
    """
    positions: list[int] = []
    tokens = [(2 * index + 1, word) for index, word in enumerate(words)]
    for quantity in quantities:
        positions = positions or list(range(len(words) + 1))
        tokens.append((2 * positions.pop(int(random() * len(positions))), quantity))
    tokens.sort(key=itemgetter(0))
    return [token for _, token in tokens]

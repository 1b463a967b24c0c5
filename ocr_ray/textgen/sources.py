"""The kinds of lines. Each draws a line of an exact length, built so and never drawn again until it fits."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from itertools import accumulate
from operator import itemgetter
from typing import NamedTuple, Protocol

from ocr_ray.randomness import keyed_generator
from ocr_ray.textgen.arithmetic.expressions import ArithmeticConfig, Expression, draw_expression, draw_number
from ocr_ray.textgen.arithmetic.operations import Random
from ocr_ray.textgen.exact_length import Bag, Chain
from ocr_ray.textgen.holdout import Side
from ocr_ray.textgen.words import join_words

SEPARATOR = ", "
"""Stands between expressions."""

_REDRAWS = 8
"""Expressions drawn for a side before the numbers of one are moved."""
_TRIES = 3
"""Expressions drawn for a line before one of a known length ends it."""
_NUM_ENDINGS = 12_000
"""Expressions that are kept by their lengths, so that a line can end with one that fits what is left."""
_LONGEST_NUMBER = 4
_EXPRESSION_SHARE = 0.35
"""Share of mixed lines that get an expression, where one fits."""
_WORD_SHARE = 0.5
"""Share of words among the tokens of a mixed line, besides one word and one figure that each has."""


class Drawn(NamedTuple):
    """A text and the school grades of the expressions in it, in their order."""

    text: str
    grades: tuple[int, ...] = ()


class Source(Protocol):
    """What draws lines of one kind."""

    @property
    def lengths(self) -> Iterable[int]:
        """The lengths in characters that its lines can have."""

    def draw(self, length: int, random: Random) -> Drawn:
        """Return a line of exactly that length, one of `lengths`; no space at an end, no two together."""


class WordLines:
    """Words that say nothing about each other; some lines begin or end inside a word."""

    def __init__(
        self, words: Bag, starts: Bag, ends: Bag, *, cut_share: float, joint_share: float, longest: int
    ) -> None:
        """`starts` are ends of words, for a line's start; `ends` are beginnings."""
        whole = Chain([(words, 1)], longest)
        cut_at_end = Chain([(ends, 1)], longest, whole)
        self._whole = whole
        # Each with the rank at which it draws what belongs at the line's end.
        self._cuts = (
            (Chain([(starts, 1)], longest, whole), None),
            (cut_at_end, 0),
            (Chain([(starts, 1)], longest, cut_at_end), 1),
        )
        self._cut_share = cut_share
        self._joint_share = joint_share
        self.lengths = whole.lengths

    def draw(self, length: int, random: Random) -> Drawn:
        """Return a line; cut at its start, end or both, a third each of those cut, where pieces fill it."""
        place = random() / self._cut_share if self._cut_share else 1
        chain, rank_of_end = self._whole, None
        if place < 1:
            cut, rank = self._cuts[int(place * len(self._cuts))]
            if length in cut.lengths:
                chain, rank_of_end = cut, rank
        words = chain.draw(length, random)
        if rank_of_end is not None:
            words.append(words.pop(rank_of_end))
        return Drawn(join_words(words, self._joint_share, random))


class ArithmeticLines:
    """Expressions with commas between them."""

    def __init__(self, config: ArithmeticConfig, side: Side, longest: int) -> None:
        self._config = config
        self._side = side
        self.lengths = range(1, longest + 1)

    @cached_property
    def _endings(self) -> dict[int, list[Drawn]]:
        """Not made before it is needed: it takes longer than all else that a sampler is built from."""
        return _list_endings(self._config, self._side)

    def draw(self, length: int, random: Random) -> Drawn:
        """Return expressions; a length that none has, or none is left for, gets numbers instead."""
        texts: list[str] = []
        grades: list[int] = []
        left = length
        while left > 0:
            part = self._draw_part(left, random)
            texts.append(part.text)
            grades += part.grades
            left -= len(part.text) + len(SEPARATOR)
        return Drawn(SEPARATOR.join(texts), tuple(grades))

    def draw_expression(self, random: Random) -> Expression:
        """Return an expression with numbers of the side."""
        return _draw_expression(random, self._config, self._side)

    def _draw_part(self, left: int, random: Random) -> Drawn:
        """Return an expression that fills what is left, or leaves enough for a separator and another one."""
        for _ in range(_TRIES):
            expression = self.draw_expression(random)
            rest = left - len(expression.text) - len(SEPARATOR)
            if rest in self._endings or rest == -len(SEPARATOR):
                return Drawn(expression.text, (expression.grade,))
        if endings := self._endings.get(left):
            return endings[int(random() * len(endings))]
        # A number must leave nothing, or room for a separator and another number.
        longest = min(_LONGEST_NUMBER, left - len(SEPARATOR) - 1)
        num_digits = left if left <= _LONGEST_NUMBER else 1 + int(random() * longest)
        return Drawn(self._side.move_numbers(draw_number(random, num_digits)))


class MixedLines:
    """Words with figures between them, and sometimes an expression."""

    def __init__(
        self, words: Bag, figures: Bag, arithmetic: ArithmeticLines, *, side: Side, longest: int
    ) -> None:
        self._words = words
        self._arithmetic = arithmetic
        self._side = side
        more = Chain([(words, _WORD_SHARE), (figures, 1 - _WORD_SHARE)], longest)
        self._with_word = Chain([(words, 1)], longest, more)
        self._with_both = Chain([(figures, 1)], longest, self._with_word)
        self.lengths = self._with_both.lengths

    def draw(self, length: int, random: Random) -> Drawn:
        """Return a line with a word and a figure or expression in it."""
        chain = self._with_both
        figures: list[str] = []
        grades: tuple[int, ...] = ()
        if random() < _EXPRESSION_SHARE:
            expression = self._arithmetic.draw_expression(random)
            rest = length - len(expression.text) - 1
            if rest in self._with_word.lengths:
                chain, length = self._with_word, rest
                figures, grades = [expression.text], (expression.grade,)
        words = []
        for bag, width in chain.plan(length, random):
            token = bag.draw(width, random)
            if bag is self._words:
                words.append(token)
            else:
                figures.append(self._side.move_numbers(token))
        return Drawn(" ".join(_spread(words, figures, random)), grades)


class SentenceLines:
    """Running text, begun and broken anywhere, so that a line's end can be guessed from its beginning."""

    def __init__(self, passages: Sequence[str], lengths: Iterable[int]) -> None:
        """Passages have single spaces, and none at their ends."""
        self._passages = sorted(passages, key=len, reverse=True)
        self._sizes = [len(passage) for passage in self._passages]
        self._ends = list(accumulate(self._sizes, initial=0))
        self.lengths = frozenset(filter(self._has_place, lengths))

    def draw(self, length: int, random: Random) -> Drawn:
        """Return what stands at a random place; where a space would be at an end, at the next place."""
        num_places = self._count_places(self._count_passages(length), length)
        first = int(random() * num_places)
        for step in range(num_places):
            text = self._read((first + step) % num_places, length)
            if text[0] != " " != text[-1]:
                return Drawn(text)
        raise AssertionError(f"{length} is not one of the lengths of the passages")

    def _has_place(self, length: int) -> bool:
        num_places = self._count_places(self._count_passages(length), length)
        return any(
            text[0] != " " != text[-1] for text in (self._read(place, length) for place in range(num_places))
        )

    def _count_passages(self, length: int) -> int:
        """Return how many passages are long enough; they come first."""
        return bisect_right(self._sizes, -length, key=lambda size: -size)

    def _count_places(self, num_passages: int, length: int) -> int:
        """Return at how many places of the first passages a text of that length begins."""
        return self._ends[num_passages] - num_passages * (length - 1)

    def _read(self, place: int, length: int) -> str:
        """Return the text at a place, counted over all passages that are long enough."""
        ranks = range(self._count_passages(length) + 1)
        rank = bisect_right(ranks, place, key=lambda rank: self._count_places(rank, length)) - 1
        start = place - self._count_places(rank, length)
        return self._passages[rank][start : start + length]


def _draw_expression(random: Random, config: ArithmeticConfig, side: Side) -> Expression:
    """Return an expression with numbers of one side; if none comes up, those of the last are moved there."""
    for _ in range(_REDRAWS):
        expression = draw_expression(random, config)
        if side.fits(expression.text):
            return expression
    return replace(expression, text=side.move_numbers(expression.text))


@lru_cache(maxsize=32)
def _list_endings(config: ArithmeticConfig, side: Side) -> dict[int, list[Drawn]]:
    """Return some expressions by their lengths in characters, always the same ones."""
    random = keyed_generator(0, "endings", 0).random
    endings: defaultdict[int, list[Drawn]] = defaultdict(list)
    for _ in range(_NUM_ENDINGS):
        expression = _draw_expression(random, config, side)
        endings[len(expression.text)].append(Drawn(expression.text, (expression.grade,)))
    return dict(endings)


def _spread(words: Sequence[str], figures: Sequence[str], random: Random) -> list[str]:
    """Return the words in their order, the figures at random before, between and behind them.

    Two figures stand side by side only where there are more of them than places.
    """
    places: list[int] = []
    tokens = [(2 * index + 1, word) for index, word in enumerate(words)]
    for figure in figures:
        places = places or list(range(len(words) + 1))
        tokens.append((2 * places.pop(int(random() * len(places))), figure))
    tokens.sort(key=itemgetter(0))
    return [token for _, token in tokens]

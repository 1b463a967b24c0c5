"""Lines of an exact length: random tokens that, joined by single spaces, fill it without a remainder."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from ocr_ray.textgen.random_numbers import Random

Draw = Callable[[Random], str]

_FULL = -1
"""Remaining length after the last token, which needs no space after it."""


class Option(NamedTuple):
    """A way to draw a token of a known width."""

    width: int
    """Characters in every token that this option draws."""
    weight: float
    """Relative frequency of the option."""
    draw: Draw


class WeightedChoice:
    """Options to draw a token from, each in proportion to its weight."""

    def __init__(self, options: Iterable[Option]) -> None:
        by_width: defaultdict[int, list[Option]] = defaultdict(list)
        for option in options:
            if option.weight > 0:
                by_width[option.width].append(option)
        self._options = {
            width: ([option.draw for option in group], list(accumulate(option.weight for option in group)))
            for width, group in sorted(by_width.items())
        }
        total = sum(cumulative[-1] for _, cumulative in self._options.values())
        self.share_by_width = {width: cum[-1] / total for width, (_, cum) in self._options.items()}
        """Share of tokens of each width; empty if there are no options."""

    def draw(self, width: int, random: Random) -> str:
        """Return a token of one of the widths in `share_by_width`."""
        draws, cumulative = self._options[width]
        return draws[choose(cumulative, random)](random)


class LengthSampler:
    """Sequences of tokens of an exact total length: the first token, then what the sampler `rest` draws.

    The result is distributed as if tokens were drawn freely until the line is full and lines of another
    length were rejected, but without rejecting any. `probability[length]` is the probability that a free
    line ends exactly at that length; a token is drawn in proportion to its own share times the
    probability of the length that remains.
    """

    def __init__(
        self,
        choices: Sequence[tuple[WeightedChoice, float]],
        max_length: int,
        rest: "LengthSampler | None" = None,
    ) -> None:
        """Prepare all lengths up to `max_length`.

        `choices` are the alternatives for the first token, each with its share. Without `rest`, the
        following tokens come from this sampler itself, or the line ends. A sampler with a `rest` draws at
        least one token before those of `rest`, so nested samplers guarantee one token of each.
        """
        self.probability: dict[int, float] = {}
        self._rest = self if rest is None else rest
        self._options: dict[int, tuple[list[tuple[WeightedChoice, int]], list[float]]] = {}
        if rest is None:
            self.probability[_FULL] = 1.0
        for length in range(1, max_length + 1):
            weights = {
                (choice, width): share * share_of_width * self._rest.probability[length - width - 1]
                for choice, share in choices
                for width, share_of_width in choice.share_by_width.items()
                if share > 0 and length - width - 1 in self._rest.probability
            }
            if weights:
                self.probability[length] = sum(weights.values())
                self._options[length] = list(weights), list(accumulate(weights.values()))

    @property
    def lengths(self) -> frozenset[int]:
        """Lengths in characters that can be filled."""
        return frozenset(self._options)

    def plan(self, length: int, random: Random) -> list[tuple[WeightedChoice, int]]:
        """Return where to draw each token from and its width; together they fill one of `lengths` exactly."""
        tokens = []
        sampler = self
        while length > 0:
            options, cumulative = sampler._options[length]
            token = options[choose(cumulative, random)]
            tokens.append(token)
            length -= token[1] + 1
            sampler = sampler._rest
        return tokens

    def draw(self, length: int, random: Random) -> list[str]:
        """Return tokens that, joined by single spaces, have one of `lengths` exactly."""
        return [choice.draw(width, random) for choice, width in self.plan(length, random)]


def choose(cumulative: Sequence[float], random: Random) -> int:
    """Return a random index in proportion to the weights, given as cumulative sums."""
    return bisect_right(cumulative, random() * cumulative[-1], hi=len(cumulative) - 1)

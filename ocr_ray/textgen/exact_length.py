"""Tokens that make a line of an exact length when they are joined by single spaces."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from ocr_ray.textgen.arithmetic.operations import Random

Draw = Callable[[Random], str]

_NOTHING_LEFT = -1
"""What is left of a line behind its last token: not even the space that it would need."""


class Way(NamedTuple):
    """A way to draw a token of a known width."""

    width: int
    """Characters of every token drawn so."""
    share: float
    """How often, next to the other ways of a bag."""
    draw: Draw


class Bag:
    """Ways to draw a token, each taken in proportion to its share."""

    def __init__(self, ways: Iterable[Way]) -> None:
        by_width: defaultdict[int, list[Way]] = defaultdict(list)
        for way in ways:
            if way.share > 0:
                by_width[way.width].append(way)
        self._choices = {
            width: ([way.draw for way in group], list(accumulate(way.share for way in group)))
            for width, group in sorted(by_width.items())
        }
        total = sum(cumulative[-1] for _, cumulative in self._choices.values())
        self.share_by_width = {width: cum[-1] / total for width, (_, cum) in self._choices.items()}
        """How often a token is that wide; empty if there is no way to draw one."""

    def draw(self, width: int, random: Random) -> str:
        """Return a token of one of the widths in `share_by_width`."""
        draws, cumulative = self._choices[width]
        return draws[choose(cumulative, random)](random)


class Chain:
    """Tokens side by side: the first from some bags, the others as the chain `rest` draws them.

    A length is filled as if tokens were drawn freely until the line has it, and all lines thrown away that
    miss it, but without drawing those: `chance[length]` is the probability that a line comes to end exactly
    there, and a token is drawn in proportion to its share times the chance of what is left.
    """

    def __init__(self, bags: Sequence[tuple[Bag, float]], longest: int, rest: "Chain | None" = None) -> None:
        """Fill lengths up to `longest`; without `rest`, the chain goes on with itself or ends.

        `bags` come with their shares. A chain with a `rest` that can end has at least one token, so that a
        chain of chains has at least one token of each.
        """
        self.chance: dict[int, float] = {}
        self._rest = self if rest is None else rest
        self._choices: dict[int, tuple[list[tuple[Bag, int]], list[float]]] = {}
        if rest is None:
            self.chance[_NOTHING_LEFT] = 1.0
        for length in range(1, longest + 1):
            weights = {
                (bag, width): share * share_of_width * self._rest.chance[length - width - 1]
                for bag, share in bags
                for width, share_of_width in bag.share_by_width.items()
                if share > 0 and length - width - 1 in self._rest.chance
            }
            if weights:
                self.chance[length] = sum(weights.values())
                self._choices[length] = list(weights), list(accumulate(weights.values()))

    @property
    def lengths(self) -> frozenset[int]:
        """The lengths in characters that can be filled."""
        return frozenset(self._choices)

    def plan(self, length: int, random: Random) -> list[tuple[Bag, int]]:
        """Return bags and the widths to draw from them, which come to one of `lengths` exactly."""
        tokens = []
        chain = self
        while length > 0:
            choices, cumulative = chain._choices[length]
            token = choices[choose(cumulative, random)]
            tokens.append(token)
            length -= token[1] + 1
            chain = chain._rest
        return tokens

    def draw(self, length: int, random: Random) -> list[str]:
        """Return tokens that, joined by single spaces, come to one of `lengths` exactly."""
        return [bag.draw(width, random) for bag, width in self.plan(length, random)]


def choose(cumulative: Sequence[float], random: Random) -> int:
    """Return an index in proportion to the weights whose running sums these are."""
    return bisect_right(cumulative, random() * cumulative[-1], hi=len(cumulative) - 1)

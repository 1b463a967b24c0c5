"""Context dependence: how much worse a model reads what it could have guessed wrong.

A model that reads the head of a line and makes up the rest is worse in last thirds than in first ones, and
worse on words in a shuffled order than on the same words in their own. Both are quotients of error rates, 1
for a reader that takes no notice of context; the number is their geometric mean.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any, NamedTuple

from ocr_ray.evaluation.alignment import third_of
from ocr_ray.evaluation.readings import Reading
from ocr_ray.metrics import Sums

SPLICED = "spliced"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextCounts(Sums):
    """Errors and characters of the truth: of thirds over all lines, of words in both orders."""

    first_errors: int
    first_characters: int
    last_errors: int
    last_characters: int
    spliced_errors: int
    spliced_characters: int
    """Of words of spliced lines that are also known where they come from."""
    own_errors: int
    """Of the same words in the lines that they come from, once for each spliced line that has them."""
    own_characters: int
    words_unmatched: int
    """Of spliced lines, whose own lines are not among those read; left out on both sides."""

    def describe(self) -> dict[str, Any]:
        """Return the quotients, their mean, and the counts they come from.

        An example, worked: in first thirds 2 of 100 characters are wrong, in last thirds 18 of 90. Words of
        spliced lines have 12 errors in 80 characters, the same words in their own lines 3 in 80. Then the
        last third is 18/90 over 2/100 = 10 times as bad as the first, and the shuffled order 12/80 over 3/80
        = 4 times as bad as their own; `context_dependence` is the root of 10 x 4, 6.3.

        Where the better side has no error at all, it counts as one and the quotient is the least it can be
        (`…_at_least`); where neither side has one, there is none. The mean needs both.
        """
        thirds = divide_rates(
            (self.last_errors, self.last_characters), (self.first_errors, self.first_characters)
        )
        orders = divide_rates(
            (self.spliced_errors, self.spliced_characters), (self.own_errors, self.own_characters)
        )
        return {
            "context_dependence": None if thirds is None or orders is None else sqrt(thirds * orders),
            "last_over_first": thirds,
            "last_over_first_at_least": thirds is not None and not self.first_errors,
            "spliced_over_own": orders,
            "spliced_over_own_at_least": orders is not None and not self.own_errors,
            "counts": asdict(self),
        }


class _Word(NamedTuple):
    """A word by where it stands in its own line."""

    dataset: str
    line_id: str
    place: int


class ContextDependence:
    """Counts thirds and words; needs of spliced lines what their `style` says of their words' origin.

    Kept are two numbers a word, of the words of page lines only if any spliced lines are known.
    """

    def __init__(self, spliced_styles: Mapping[tuple[str, str], str] | None = None) -> None:
        """`spliced_styles`: the column `style` of spliced lines, by dataset and line_id."""
        self._styles = spliced_styles or {}
        self._wanted = {
            word for (dataset, _), style in self._styles.items() for word in _read_words(dataset, style)
        }
        self._thirds: Counter[str] = Counter()
        self._own: dict[_Word, tuple[int, int]] = {}
        self._spliced: defaultdict[_Word, list[tuple[int, int]]] = defaultdict(list)

    def add(self, lines: Sequence[Reading]) -> None:
        """Count some lines, in any order."""
        for line in lines:
            self._add_thirds(line)
            if line.source == SPLICED:
                style = self._styles.get((line.dataset, line.line_id))
                words = _read_words(line.dataset, style) if style else []
                for word, counts in zip(words, count_words(line), strict=False):
                    self._spliced[word].append(counts)
                continue
            if self._wanted:
                for index, counts in enumerate(count_words(line)):
                    word = _Word(line.dataset, line.line_id, index)
                    if word in self._wanted:
                        self._own[word] = counts

    def counts(self) -> ContextCounts:
        """Return the sums over all lines that were added; words need both of their lines in the same sums."""
        sums: Counter[str] = Counter(self._thirds)
        for word, spliced in self._spliced.items():
            own = self._own.get(word)
            if own is None:
                sums["words_unmatched"] += len(spliced)
                continue
            sums["spliced_errors"] += sum(errors for errors, _ in spliced)
            sums["spliced_characters"] += sum(characters for _, characters in spliced)
            sums["own_errors"] += own[0] * len(spliced)
            sums["own_characters"] += own[1] * len(spliced)
        names = asdict(ContextCounts.zero())
        return ContextCounts(**{name: sums[name] for name in names})

    def _add_thirds(self, line: Reading) -> None:
        length = len(line.truth)
        for step in line.alignment.steps if length else ():
            name = ("first", None, "last")[third_of(step.owner, length)]
            if name:
                self._thirds[f"{name}_errors"] += step.kind != "equal"
                self._thirds[f"{name}_characters"] += step.kind != "insert"


def count_words(line: Reading) -> list[tuple[int, int]]:
    """Return errors and characters of each word of the truth; what was put in belongs to the word before it.

    Spaces are no part of a word, and what was put in behind one neither.
    """
    places: list[int | None] = []
    num_words = 0
    for word in line.truth.split(" "):
        places += [num_words] * len(word) + [None]
        num_words += 1
    errors, characters = [0] * num_words, [0] * num_words
    for step in line.alignment.steps:
        index = places[step.owner]
        if index is not None:
            errors[index] += step.kind != "equal"
            characters[index] += step.kind != "insert"
    return list(zip(errors, characters, strict=True))


def divide_rates(worse: tuple[int, int], better: tuple[int, int]) -> float | None:
    """Return one error rate over another, each as errors and characters.

    No error in the divisor counts as one. None where either is over nothing, or there is no error in both.
    """
    if not worse[1] or not better[1] or not (worse[0] or better[0]):
        return None
    return (worse[0] / worse[1]) / (max(1, better[0]) / better[1])


def _read_words(dataset: str, style: str) -> list[_Word]:
    """Return the words of a spliced line, named `line_id:index` in its style."""
    names = (name.rpartition(":") for name in json.loads(style)["words"])
    return [_Word(dataset, line_id, int(index)) for line_id, _, index in names]

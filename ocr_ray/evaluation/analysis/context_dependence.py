"""Context dependence: how much a model guesses from context instead of reading.

A model that reads the head of a line and invents the rest has more errors in last thirds than in first
thirds, and more errors on shuffled words than on the same words in their original order. Each is a ratio of
error rates, 1 for a model that ignores context; `context_dependence` is the geometric mean of the two.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any, NamedTuple

from ocr_ray.dataset.lines import WordOrigin
from ocr_ray.evaluation.alignment import third_of
from ocr_ray.evaluation.readings import Reading
from ocr_ray.metrics import Sums

SPLICED = "spliced"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextCounts(Sums):
    """Errors and reference characters; the fields are keys of report.json.

    First and last thirds are counted over all lines, words in spliced lines and in their original lines.
    """

    first_errors: int
    first_characters: int
    last_errors: int
    last_characters: int
    spliced_errors: int
    spliced_characters: int
    """Of words in spliced lines whose original line was evaluated as well."""
    own_errors: int
    """Of the same words in their original lines, counted once for each spliced line that uses them."""
    own_characters: int
    words_unmatched: int
    """Words of spliced lines whose original line was not evaluated; they count on neither side."""

    def describe(self) -> dict[str, Any]:
        """Return both ratios, their geometric mean, and the counts they come from.

        Example: 2 of 100 characters are wrong in first thirds, 18 of 90 in last thirds. Words of spliced
        lines have 12 errors in 80 characters, the same words in their original lines 3 in 80. The last third
        is (18/90) / (2/100) = 10 times as bad as the first, the shuffled order (12/80) / (3/80) = 4 times as
        bad as the original one, and `context_dependence` is sqrt(10 x 4) = 6.3.

        A divisor without errors counts as one error, so the ratio is a lower bound (`…_at_least`). A ratio is
        None if neither side has an error, and the mean is None if either ratio is.
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
    """A word by its origin: its position in its original line."""

    dataset: str
    origin: WordOrigin


class ContextDependence:
    """Counts the errors of thirds, and of words in spliced and original lines.

    Keeps two numbers for each word that is used in a spliced line.
    """

    def __init__(self, word_origins: Mapping[tuple[str, str], Sequence[WordOrigin]] | None = None) -> None:
        """`word_origins`: of the words of spliced lines, by dataset and line_id."""
        self._origins = word_origins or {}
        self._used_words = {
            _Word(dataset, origin) for (dataset, _), origins in self._origins.items() for origin in origins
        }
        self._thirds: Counter[str] = Counter()
        self._original: dict[_Word, tuple[int, int]] = {}
        self._spliced: defaultdict[_Word, list[tuple[int, int]]] = defaultdict(list)

    def add(self, lines: Sequence[Reading]) -> None:
        """Count the lines of a part."""
        for line in lines:
            self._add_thirds(line)
            if line.source == SPLICED:
                origins = self._origins.get((line.dataset, line.line_id), [])
                for origin, counts in zip(origins, count_words(line), strict=False):
                    self._spliced[_Word(line.dataset, origin)].append(counts)
                continue
            if self._used_words:
                for index, counts in enumerate(count_words(line)):
                    word = _Word(line.dataset, WordOrigin(line.line_id, index))
                    if word in self._used_words:
                        self._original[word] = counts

    def counts(self) -> ContextCounts:
        """Return the sums over all lines added so far."""
        sums: Counter[str] = Counter(self._thirds)
        for word, spliced in self._spliced.items():
            original = self._original.get(word)
            if original is None:
                sums["words_unmatched"] += len(spliced)
                continue
            sums["spliced_errors"] += sum(errors for errors, _ in spliced)
            sums["spliced_characters"] += sum(characters for _, characters in spliced)
            sums["own_errors"] += original[0] * len(spliced)
            sums["own_characters"] += original[1] * len(spliced)
        names = asdict(ContextCounts.zero())
        return ContextCounts(**{name: sums[name] for name in names})

    def describe(self) -> dict[str, Any]:
        """Return both ratios, their geometric mean, and the counts they come from."""
        return self.counts().describe()

    def _add_thirds(self, line: Reading) -> None:
        length = len(line.reference)
        for step in line.alignment.steps if length else ():
            name = ("first", None, "last")[third_of(step.anchor, length)]
            if name:
                self._thirds[f"{name}_errors"] += step.kind != "equal"
                self._thirds[f"{name}_characters"] += step.kind != "insert"


def count_words(line: Reading) -> list[tuple[int, int]]:
    """Return the errors and reference characters of each word of the reference.

    Insertions within or right after a word count for it; spaces and insertions after a space count for none.
    """
    word_indices: list[int | None] = []
    words = line.reference.split(" ")
    for index, word in enumerate(words):
        word_indices += [index] * len(word) + [None]
    errors, characters = [0] * len(words), [0] * len(words)
    for step in line.alignment.steps:
        word_index = word_indices[step.anchor]
        if word_index is not None:
            errors[word_index] += step.kind != "equal"
            characters[word_index] += step.kind != "insert"
    return list(zip(errors, characters, strict=True))


def divide_rates(worse: tuple[int, int], better: tuple[int, int]) -> float | None:
    """Return one error rate over another, each given as (errors, characters).

    A divisor without errors counts as one error. None if a rate is over no characters, or neither has errors.
    """
    if not worse[1] or not better[1] or not (worse[0] or better[0]):
        return None
    return (worse[0] / worse[1]) / (max(1, better[0]) / better[1])

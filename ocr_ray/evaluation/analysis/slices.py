"""Slices: error counts of groups of lines, and of groups of characters within lines.

A family divides all lines, or all characters, into slices: `by_font` has a slice for each font. The counts
of its slices add up to those of all lines, except for lines whose slice is unknown. Only the sums of the
slices are kept. To add a family of lines, add a function to `LINE_FAMILIES`.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ocr_ray.evaluation.alignment import Step, third_of
from ocr_ray.evaluation.analysis.seen_words import strip_word
from ocr_ray.evaluation.analysis.whole_problems import ProblemText
from ocr_ray.evaluation.readings import Reading
from ocr_ray.metrics import COLUMNS, Counts, count_lines, describe_counts
from ocr_ray.text.characters import CLASSES, classify

NO_VALUE = "(none)"
"""The slice of lines without a value; lines of pages have no font."""
YES, NO = "yes", "no"
THIRDS = ("first", "middle", "last")
SEEN, UNSEEN, BETWEEN = "seen", "unseen", "between words"
_LENGTHS = (5, 10, 15, 20, 30, 40)
_ASPECTS = (5, 10, 15, 20, 30)
"""Inclusive upper ends of the buckets."""
_WHOLE_WORDS = frozenset({"arithmetic", "mixed"})
"""Sources whose lines consist of whole words and expressions. Lines from other synthetic sources can be cut
inside a word, and the dataset does not record which are."""
_FRACTIONS = ("\\frac", "\\dfrac", "\\tfrac")


def _name_buckets(ends: Sequence[int], first: int) -> tuple[str, ...]:
    starts = (first, *(end + 1 for end in ends))
    return (*(f"{start}-{end}" for start, end in zip(starts, ends, strict=False)), f"{starts[-1]}+")


LENGTHS = _name_buckets(_LENGTHS, 0)
"""Characters of the reference."""
ASPECTS = (
    "up to 5",
    *(f"{low} to {high}" for low, high in pairwise(_ASPECTS)),
    "over 30",
)
"""Width over height of the line before it was resized."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceInputs:
    """What slices need besides the predictions; lines have no slice in a family whose input is None."""

    training_words: Container[str] | None = None
    """Words of the training data, without surrounding punctuation."""
    training_fonts: Container[str] | None = None
    training_numbers: Container[str] | None = None
    """Digits of the numbers of three or more."""
    training_problems: Container[str] | None = None
    """Texts of the problems on the pages trained on, as `mask_numbers` returns them."""
    training_topics: Container[str] | None = None
    """Of the page ids trained on."""
    training_datasets: tuple[str, ...] = ()
    """Their locations; empty if they are unknown."""
    base_model: str = ""
    """The model that training started from; empty if it is unknown."""
    problems: Mapping[str, Mapping[str, ProblemText]] = field(default_factory=dict)
    """Problem texts by dataset and page id, from the column that holds the reference."""


NameSlice = Callable[[Reading, SliceInputs], str | None]
"""Returns the slice of a line, None if it is unknown."""


def _font_is_seen(line: Reading, inputs: SliceInputs) -> str | None:
    if inputs.training_fonts is None or line.font is None:
        return None
    return SEEN if line.font in inputs.training_fonts else UNSEEN


def _aspect(line: Reading, _: SliceInputs) -> str | None:
    if not line.width_px or not line.height_px:
        return None
    return ASPECTS[bisect_left(_ASPECTS, line.width_px / line.height_px)]


def _box(line: Reading, _: SliceInputs) -> str | None:
    if line.page_order is None:
        return None
    return "first" if line.page_order == 0 else "later"


def _has_fraction(line: Reading, _: SliceInputs) -> str | None:
    if line.markup is None:
        return None
    return _yes_no(any(command in line.markup for command in _FRACTIONS))


def _starts_mid_word(line: Reading, inputs: SliceInputs) -> str | None:
    return _cuts_word(line, inputs, lambda whole, start: start > 0 and whole[start - 1] != " ")


def _ends_mid_word(line: Reading, inputs: SliceInputs) -> str | None:
    size = len(line.reference)
    return _cuts_word(
        line, inputs, lambda whole, start: whole[start + size : start + size + 1] not in ("", " ")
    )


def _cuts_word(line: Reading, inputs: SliceInputs, is_cut: Callable[[str, int], bool]) -> str | None:
    """Return whether `is_cut` holds at every position of the line in its problem's text.

    None if the problem's text does not contain the line, if positions disagree, or if the text was joined
    from the boxes with spaces between them.
    """
    if line.source in _WHOLE_WORDS:
        return NO
    problem = inputs.problems.get(line.dataset, {}).get(line.page_id or "")
    if problem is None or problem.reference is None or not problem.has_own_spaces or not line.reference:
        return None
    cuts = {is_cut(problem.reference, start) for start in _find_all(line.reference, problem.reference)}
    return _yes_no(cuts.pop()) if len(cuts) == 1 else None


def _find_all(text: str, whole: str) -> Iterable[int]:
    start = whole.find(text)
    while start >= 0:
        yield start
        start = whole.find(text, start + 1)


def _yes_no(value: bool) -> str:
    return YES if value else NO


LINE_FAMILIES: dict[str, NameSlice] = {
    "by_dataset": lambda line, _: line.dataset,
    "by_source": lambda line, _: line.source,
    "by_font": lambda line, _: NO_VALUE if line.font is None else line.font,
    "by_length": lambda line, _: LENGTHS[bisect_left(_LENGTHS, len(line.reference))],
    "by_aspect": _aspect,
    "by_starts_mid_word": _starts_mid_word,
    "by_ends_mid_word": _ends_mid_word,
    "by_box": _box,
    "by_has_fraction": _has_fraction,
    "by_font_seen": _font_is_seen,
}
"""Families of whole lines."""
CHARACTER_FAMILIES = ("by_third", "by_character_class", "by_word_seen")
"""Families of characters within lines.

A line counts in each slice in which it has a character or an error, and is exact there if it has no error in
the slice. An insertion belongs to the third and the word of the reference character before it, and to the
class of the inserted character. A word is correct if every character is; the other two families count no
words.
"""
_ORDERS = {
    "by_length": LENGTHS,
    "by_aspect": ASPECTS,
    "by_box": ("first", "later"),
    "by_third": THIRDS,
    "by_character_class": CLASSES,
    "by_word_seen": (SEEN, UNSEEN, BETWEEN),
}
_COLUMN = {name: index for index, name in enumerate(COLUMNS)}
_COLUMN_OF_KIND = {
    "equal": _COLUMN["character_hits"],
    "substitute": _COLUMN["character_substitutions"],
    "delete": _COLUMN["character_deletions"],
    "insert": _COLUMN["character_insertions"],
}


class LineSlices(NamedTuple):
    """Counts and slices of lines."""

    counts: Counts
    """Shape (lines, `COLUMNS`)."""
    names: dict[str, list[str | None]]
    """Slice of each line by family, None if unknown."""


def name_slices(lines: Sequence[Reading], inputs: SliceInputs) -> dict[str, list[str | None]]:
    """Return the slice of each line for each family of whole lines, None if unknown."""
    return {
        family: [name_slice(line, inputs) for line in lines] for family, name_slice in LINE_FAMILIES.items()
    }


class SliceSums:
    """Sums of the counts of every slice of every family."""

    def __init__(self, inputs: SliceInputs) -> None:
        self._inputs = inputs
        self._sums: dict[str, defaultdict[str, Counts]] = {
            family: defaultdict(lambda: np.zeros(len(COLUMNS), np.int64))
            for family in ("overall", *LINE_FAMILIES, *CHARACTER_FAMILIES)
        }
        self._num_unknown: Counter[str] = Counter()

    def add(self, lines: Sequence[Reading]) -> LineSlices:
        """Count the lines of a part; return the counts and slices of each."""
        counts = count_lines([line.reference for line in lines], [line.prediction for line in lines])
        names_by_family = name_slices(lines, self._inputs)
        self._sums["overall"][""] += counts.sum(axis=0)
        for family, names in names_by_family.items():
            rows_by_name: defaultdict[str | None, list[int]] = defaultdict(list)
            for row, name in enumerate(names):
                rows_by_name[name].append(row)
            self._num_unknown[family] += len(rows_by_name.pop(None, ()))
            for name, rows in rows_by_name.items():
                self._sums[family][str(name)] += counts[rows].sum(axis=0)
        for line in lines:
            self._add_characters(line)
        return LineSlices(counts, names_by_family)

    def describe(self) -> dict[str, Any]:
        """Return the rates of `overall` and of every slice by family, and `unknown_lines` by family."""
        families = {
            family: {name: describe_counts(sums[name]) for name in _sort_names(family, sums)}
            for family, sums in self._sums.items()
            if family != "overall"
        }
        overall = describe_counts(self._sums["overall"][""])
        unknown = {family: self._num_unknown[family] for family in (*LINE_FAMILIES, "by_word_seen")}
        return {"overall": overall, **families, "unknown_lines": unknown}

    def _add_characters(self, line: Reading) -> None:
        length, steps = len(line.reference), line.alignment.steps
        self._add_steps(
            "by_third", steps, lambda step: THIRDS[third_of(step.anchor, length)] if length else "first"
        )
        self._add_steps("by_character_class", steps, lambda step: classify(step.reference or step.prediction))
        if self._inputs.training_words is None:
            self._num_unknown["by_word_seen"] += 1
            return
        names, words = _name_words(line.reference, self._inputs.training_words)
        self._add_steps("by_word_seen", steps, lambda step: names[step.anchor] if names else BETWEEN)
        for name, start, stop in words:
            is_correct = line.alignment.prediction_for(start, stop) == line.reference[start:stop]
            column = "word_hits" if is_correct else "word_substitutions"
            self._sums["by_word_seen"][name][_COLUMN[column]] += 1

    def _add_steps(self, family: str, steps: Iterable[Step], name_step: Callable[[Step], str]) -> None:
        """Add each step of one line to its slice."""
        sums = self._sums[family]
        errors: defaultdict[str, int] = defaultdict(int)
        for step in steps:
            name = name_step(step)
            sums[name][_COLUMN_OF_KIND[step.kind]] += 1
            errors[name] += step.kind != "equal"
        for name, num_errors in errors.items():
            sums[name][_COLUMN["lines"]] += 1
            sums[name][_COLUMN["exact"]] += num_errors == 0


def _sort_names(family: str, names: Iterable[str]) -> list[str]:
    order = _ORDERS.get(family, ())
    return sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name))


def _name_words(text: str, seen: Container[str]) -> tuple[list[str], list[tuple[str, int, int]]]:
    """Return the slice of each character, and (slice, start, stop) of each word."""
    names, words = [BETWEEN] * len(text), []
    start = 0
    for word in text.split(" "):
        stop = start + len(word)
        if word:
            name = SEEN if strip_word(word) in seen else UNSEEN
            names[start:stop] = [name] * len(word)
            words.append((name, start, stop))
        start = stop + 1
    return names, words

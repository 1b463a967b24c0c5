"""What is read well and what is not: counts of lines, and of the characters in them, by what they are.

A family parts all lines, or all characters, so that the counts of its slices add up to those of the whole:
over any parts of the predictions, and over the slices but for the lines of which a fact cannot be known.
Nothing is kept of a line but what it adds to the sums of its slices.
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
from ocr_ray.evaluation.analysis.whole_problems import Problem
from ocr_ray.evaluation.readings import Reading
from ocr_ray.metrics import COLUMNS, Counts, count_lines, describe_counts
from ocr_ray.text.characters import CLASSES, classify

NO_VALUE = "(none)"
"""The slice of lines that have no such value, as lines of pages have no font."""
YES, NO = "yes", "no"
THIRDS = ("first", "middle", "last")
SEEN, UNSEEN, BETWEEN = "seen", "unseen", "between words"
_LENGTHS = (5, 10, 15, 20, 30, 40)
_ASPECTS = (5, 10, 15, 20, 30)
"""The ends of buckets, included."""
_WHOLE_WORDS = frozenset({"arithmetic", "mixed"})
"""Sources whose lines are made of whole words and expressions. Lines of words, of running text and spliced
ones may be cut inside a word, and nothing that is stored says which are."""
_FRACTIONS = ("\\frac", "\\dfrac", "\\tfrac")


def _name_buckets(ends: Sequence[int], first: int) -> tuple[str, ...]:
    starts = (first, *(end + 1 for end in ends))
    return (*(f"{start}-{end}" for start, end in zip(starts, ends, strict=False)), f"{starts[-1]}+")


LENGTHS = _name_buckets(_LENGTHS, 0)
"""Characters of the truth."""
ASPECTS = (
    "up to 5",
    *(f"{low} to {high}" for low, high in pairwise(_ASPECTS)),
    "over 30",
)
"""Widths of the line in its heights, before it was resized."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What is known of lines beside their predictions; what is None puts no line in a slice."""

    words: Container[str] | None = None
    """Words that the model has learnt from, without the punctuation around them."""
    fonts: Container[str] | None = None
    """Fonts that the model has learnt from."""
    problems: Mapping[str, Mapping[str, Problem]] = field(default_factory=dict)
    """Of the datasets of pages: each page's problem as a whole, in the column that holds the truth."""


Fact = Callable[[Reading, Knowledge], str | None]


def _font_is_seen(line: Reading, known: Knowledge) -> str | None:
    if known.fonts is None or line.font is None:
        return None
    return SEEN if line.font in known.fonts else UNSEEN


def _aspect(line: Reading, _: Knowledge) -> str | None:
    if not line.width_px or not line.height_px:
        return None
    return ASPECTS[bisect_left(_ASPECTS, line.width_px / line.height_px)]


def _box(line: Reading, _: Knowledge) -> str | None:
    if line.page_order is None:
        return None
    return "first" if line.page_order == 0 else "later"


def _has_fraction(line: Reading, _: Knowledge) -> str | None:
    if line.markup is None:
        return None
    return _say(any(command in line.markup for command in _FRACTIONS))


def _starts_mid_word(line: Reading, known: Knowledge) -> str | None:
    return _cuts_word(line, known, lambda whole, start: start > 0 and whole[start - 1] != " ")


def _ends_mid_word(line: Reading, known: Knowledge) -> str | None:
    size = len(line.truth)
    return _cuts_word(
        line, known, lambda whole, start: whole[start + size : start + size + 1] not in ("", " ")
    )


def _cuts_word(line: Reading, known: Knowledge, is_cut: Callable[[str, int], bool]) -> str | None:
    """Return whether a line's end lies within a word, by all places where its problem's text has the line.

    None where the problem's text has it nowhere, where places differ, or where that text is made of the
    boxes, with a space between any two.
    """
    if line.source in _WHOLE_WORDS:
        return NO
    problem = known.problems.get(line.dataset, {}).get(line.page_id or "")
    if problem is None or problem.truth is None or not problem.has_own_spaces or not line.truth:
        return None
    found = {is_cut(problem.truth, start) for start in _find_places(line.truth, problem.truth)}
    return _say(found.pop()) if len(found) == 1 else None


def _find_places(text: str, whole: str) -> Iterable[int]:
    start = whole.find(text)
    while start >= 0:
        yield start
        start = whole.find(text, start + 1)


def _say(fact: bool) -> str:
    return YES if fact else NO


LINE_FAMILIES: dict[str, Fact] = {
    "by_dataset": lambda line, _: line.dataset,
    "by_source": lambda line, _: line.source,
    "by_font": lambda line, _: NO_VALUE if line.font is None else line.font,
    "by_length": lambda line, _: LENGTHS[bisect_left(_LENGTHS, len(line.truth))],
    "by_aspect": _aspect,
    "by_starts_mid_word": _starts_mid_word,
    "by_ends_mid_word": _ends_mid_word,
    "by_box": _box,
    "by_has_fraction": _has_fraction,
    "by_font_seen": _font_is_seen,
}
"""Families of whole lines; a line of which the fact cannot be known is in no slice."""
CHARACTER_FAMILIES = ("by_third", "by_character_class", "by_word_seen")
"""Families of the characters within lines.

A line counts for each slice that it has a character or an error in, and is exact there without an error. What
was put in belongs to the third, and to the word, of the character of the truth before it; to the class of
what was read. A word is right if it was read letter for letter; the other families count no words.
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
_OF_KIND = {
    "equal": _COLUMN["character_hits"],
    "substitute": _COLUMN["character_substitutions"],
    "delete": _COLUMN["character_deletions"],
    "insert": _COLUMN["character_insertions"],
}


class Facts(NamedTuple):
    """What was found of each of some lines."""

    counts: Counts
    """Of shape (lines, `COLUMNS`)."""
    names: dict[str, list[str | None]]
    """Of each family of whole lines the slice of each; None: it is in none."""


def name_lines(lines: Sequence[Reading], known: Knowledge) -> dict[str, list[str | None]]:
    """Return of each family of whole lines the slice of each line, None for none."""
    return {family: [fact(line, known) for line in lines] for family, fact in LINE_FAMILIES.items()}


class SliceSums:
    """The counts of every slice of every family; sums of two add up to those of all their lines."""

    def __init__(self, known: Knowledge) -> None:
        self._known = known
        self._sums: dict[str, defaultdict[str, Counts]] = {
            family: defaultdict(lambda: np.zeros(len(COLUMNS), np.int64))
            for family in ("overall", *LINE_FAMILIES, *CHARACTER_FAMILIES)
        }
        self._unknown: Counter[str] = Counter()

    def add(self, lines: Sequence[Reading]) -> Facts:
        """Count some lines and return what was found of each."""
        counts = count_lines([line.truth for line in lines], [line.prediction for line in lines])
        facts = Facts(counts, name_lines(lines, self._known))
        self._sums["overall"][""] += counts.sum(axis=0)
        for family, names in facts.names.items():
            rows: defaultdict[str | None, list[int]] = defaultdict(list)
            for row, name in enumerate(names):
                rows[name].append(row)
            self._unknown[family] += len(rows.pop(None, ()))
            for name, some in rows.items():
                self._sums[family][str(name)] += counts[some].sum(axis=0)
        for line in lines:
            self._add_characters(line)
        return facts

    def merge(self, other: "SliceSums") -> None:
        """Add what another one has counted, of other lines."""
        for family, sums in other._sums.items():
            for name, counts in sums.items():
                self._sums[family][name] += counts
        self._unknown.update(other._unknown)

    def describe(self) -> dict[str, Any]:
        """Return the entries of `overall` and of every family, and `unknown_lines` by family."""
        families = {
            family: {name: describe_counts(sums[name]) for name in _sort_names(family, sums)}
            for family, sums in self._sums.items()
            if family != "overall"
        }
        overall = describe_counts(self._sums["overall"][""])
        unknown = {family: self._unknown[family] for family in (*LINE_FAMILIES, "by_word_seen")}
        return {"overall": overall, **families, "unknown_lines": unknown}

    def _add_characters(self, line: Reading) -> None:
        length, steps = len(line.truth), line.alignment.steps
        self._add_steps(
            "by_third", steps, lambda step: THIRDS[third_of(step.owner, length)] if length else "first"
        )
        self._add_steps("by_character_class", steps, lambda step: classify(step.truth or step.read))
        if self._known.words is None:
            self._unknown["by_word_seen"] += 1
            return
        names, words = _name_words(line.truth, self._known.words)
        self._add_steps("by_word_seen", steps, lambda step: names[step.owner] if names else BETWEEN)
        for name, start, stop in words:
            is_read = line.alignment.read_of(start, stop) == line.truth[start:stop]
            column = "word_hits" if is_read else "word_substitutions"
            self._sums["by_word_seen"][name][_COLUMN[column]] += 1

    def _add_steps(self, family: str, steps: Iterable[Step], name_of: Callable[[Step], str]) -> None:
        """Add each step of one line to the slice it belongs to."""
        sums = self._sums[family]
        errors: defaultdict[str, int] = defaultdict(int)
        for step in steps:
            name = name_of(step)
            sums[name][_OF_KIND[step.kind]] += 1
            errors[name] += step.kind != "equal"
        for name, num_errors in errors.items():
            sums[name][_COLUMN["lines"]] += 1
            sums[name][_COLUMN["exact"]] += num_errors == 0


def _sort_names(family: str, names: Iterable[str]) -> list[str]:
    order = _ORDERS.get(family, ())
    return sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name))


def _name_words(text: str, seen: Container[str]) -> tuple[list[str], list[tuple[str, int, int]]]:
    """Return the slice of each character, and of each word with its half-open places."""
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

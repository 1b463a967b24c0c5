"""Error counts of predictions: sums that add over any split of the lines, and the rates they give.

Counted by jiwer with its own defaults (https://jitsi.github.io/jiwer): white space at the ends of a line is
no character, every other space is; runs of spaces part words once. Both sides are put in canonical form, NFC
with one form for what prints alike (`㎠` is `cm²`), and nothing else is changed: no case folding, no dropping
of signs, digits or Hangul.
"""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from operator import eq
from typing import Any, Self

import jiwer
import numpy as np
import numpy.typing as npt

from ocr_ray.text.canonical import canonical

Counts = npt.NDArray[np.int64]
"""Whole numbers of lines, shape (lines, columns)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Whole numbers over some lines, which add up to those of the whole; rates are taken from sums."""

    @classmethod
    def zero(cls) -> Self:
        return cls.from_list([0] * len(fields(cls)))

    @classmethod
    def from_list(cls, values: Sequence[int] | npt.NDArray[np.int64]) -> Self:
        """Return the counts that `to_list` gave, or sums of such lists over ranks."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: int(value) for name, value in zip(names, values, strict=True)})

    def to_list(self) -> list[int]:
        """Return the counts in the order of the fields, to be summed over ranks."""
        return [getattr(self, field.name) for field in fields(self)]

    def __add__(self, other: Self) -> Self:
        return self.from_list([a + b for a, b in zip(self.to_list(), other.to_list(), strict=True)])


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCounts(Sums):
    """What was right and wrong over some lines.

    Every field is a sum over lines, so that the counts of ranks, parts and slices add up to those of the
    whole; rates are taken from sums, never averaged. With no reference characters (or words) an error rate is
    the number of insertions, as in jiwer; no rate is ever NaN. Over no lines nothing is wrong: error rates
    are 0, shares 1.
    """

    lines: int
    exact: int
    """Lines whose prediction equals the truth, both in canonical form."""
    character_hits: int
    character_substitutions: int
    character_deletions: int
    """Characters of the truth that the prediction lacks."""
    character_insertions: int
    """Characters of the prediction that the truth lacks."""
    word_hits: int
    word_substitutions: int
    word_deletions: int
    word_insertions: int

    @property
    def reference_characters(self) -> int:
        return self.character_hits + self.character_substitutions + self.character_deletions

    @property
    def reference_words(self) -> int:
        return self.word_hits + self.word_substitutions + self.word_deletions

    @property
    def cer(self) -> float:
        """Character error rate: errors over reference characters; above 1 where much was invented."""
        errors = self.character_substitutions + self.character_deletions + self.character_insertions
        return errors / max(1, self.reference_characters)

    @property
    def wer(self) -> float:
        """Word error rate: errors over reference words."""
        errors = self.word_substitutions + self.word_deletions + self.word_insertions
        return errors / max(1, self.reference_words)

    @property
    def character_accuracy(self) -> float:
        """Share of the reference characters that the alignment hits; insertions do not lower it."""
        if not self.reference_characters:
            return 0.0 if self.character_insertions else 1.0
        return self.character_hits / self.reference_characters

    @property
    def exact_match(self) -> float:
        """Share of the lines that were read without any error."""
        return self.exact / self.lines if self.lines else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LineCounts(Sums):
    """What an evaluation counts of lines besides `ErrorCounts`; over nothing a rate is None."""

    positions: int
    """Characters of the truth."""
    positional_hits: int
    """Those that the prediction has at the very same index."""
    jamo_hits: int
    """Of both sides decomposed (NFD): a syllable that is wrong in its last consonant alone is right in two
    of three."""
    jamo_substitutions: int
    jamo_deletions: int
    jamo_insertions: int
    bare_hits: int
    """Of both sides without their spaces."""
    bare_substitutions: int
    bare_deletions: int
    bare_insertions: int

    @property
    def positional_accuracy(self) -> float | None:
        """The old metric: share of the truth's characters that stand at the same index of the prediction.

        One insertion at the front makes all that follows wrong; it is kept to be compared with, not trusted.
        """
        return divide(self.positional_hits, self.positions)

    @property
    def jamo_cer(self) -> float | None:
        """Character error rate over jamo."""
        errors = self.jamo_substitutions + self.jamo_deletions
        return divide(errors + self.jamo_insertions, self.jamo_hits + errors)

    @property
    def cer_without_spaces(self) -> float | None:
        """Character error rate of what is printed, however it is spaced."""
        errors = self.bare_substitutions + self.bare_deletions
        return divide(errors + self.bare_insertions, self.bare_hits + errors)


COLUMNS = tuple(field.name for kind in (ErrorCounts, LineCounts) for field in fields(kind))
"""What `count_lines` counts of each line, in order: the fields of `ErrorCounts`, then of `LineCounts`."""
NUM_ERROR_COLUMNS = len(fields(ErrorCounts))
_KINDS = {"equal": 0, "substitute": 1, "delete": 2, "insert": 3}


def divide(numerator: float, denominator: float) -> float | None:
    """Return a rate; over nothing there is none."""
    return numerator / denominator if denominator else None


def normalise(text: str) -> str:
    """Return what is compared: canonical, without white space at the ends."""
    return canonical(text).strip()


def count_errors(truth: str, prediction: str) -> ErrorCounts:
    """Return the counts of one line."""
    return count_all([truth], [prediction])


def count_all(truths: Sequence[str], predictions: Sequence[str]) -> ErrorCounts:
    """Return the summed counts of lines; either side may hold empty strings.

    Raises:
        ValueError: there are not as many predictions as truths.
    """
    references, hypotheses = _normalise_all(truths, predictions)
    characters = jiwer.process_characters(references, hypotheses)
    words = jiwer.process_words(references, hypotheses)
    return ErrorCounts(
        lines=len(references),
        exact=sum(map(eq, references, hypotheses)),
        character_hits=characters.hits,
        character_substitutions=characters.substitutions,
        character_deletions=characters.deletions,
        character_insertions=characters.insertions,
        word_hits=words.hits,
        word_substitutions=words.substitutions,
        word_deletions=words.deletions,
        word_insertions=words.insertions,
    )


def count_lines(truths: Sequence[str], predictions: Sequence[str]) -> Counts:
    """Return the counts of each line, int64 of shape (lines, `COLUMNS`); the sum of all rows is the whole's.

    Raises:
        ValueError: there are not as many predictions as truths.
    """
    truths, predictions = _normalise_all(truths, predictions)
    positions = [
        [len(truth), sum(map(eq, truth, prediction))]
        for truth, prediction in zip(truths, predictions, strict=True)
    ]
    jamo = [[unicodedata.normalize("NFD", text) for text in side] for side in (truths, predictions)]
    bare = [["".join(text.split()) for text in side] for side in (truths, predictions)]
    return np.concatenate(
        [
            _count_errors_of_lines(truths, predictions),
            np.array(positions, np.int64).reshape(-1, 2),
            _count_characters(*jamo),
            _count_characters(*bare),
        ],
        axis=1,
    )


def _normalise_all(truths: Sequence[str], predictions: Sequence[str]) -> tuple[list[str], list[str]]:
    if len(truths) != len(predictions):
        raise ValueError(f"each truth needs a prediction, got {len(truths)} and {len(predictions)}")
    return [normalise(truth) for truth in truths], [normalise(prediction) for prediction in predictions]


def _count_errors_of_lines(truths: list[str], predictions: list[str]) -> Counts:
    """Return the fields of `ErrorCounts` for each line."""
    exact = [[1, int(a == b)] for a, b in zip(truths, predictions, strict=True)]
    lengths = [len(jiwer.wer_default(text)[0]) for text in truths]
    return np.concatenate(
        [
            np.array(exact, np.int64).reshape(-1, 2),
            _count_characters(truths, predictions),
            _count_by_alignment(jiwer.process_words, truths, predictions, lengths),
        ],
        axis=1,
    )


def _count_characters(truths: list[str], predictions: list[str]) -> Counts:
    lengths = [len(text) for text in truths]
    return _count_by_alignment(jiwer.process_characters, truths, predictions, lengths)


def _count_by_alignment(
    align: Callable[[list[str], list[str]], jiwer.WordOutput | jiwer.CharacterOutput],
    truths: list[str],
    predictions: list[str],
    lengths: list[int],
) -> Counts:
    """Return hits, substitutions, deletions and insertions of each line; equal lines are not aligned.

    `lengths` are the words or characters of the truths.
    """
    counts = np.zeros((len(truths), 4), np.int64)
    counts[:, 0] = lengths
    wrong = [row for row, pair in enumerate(zip(truths, predictions, strict=True)) if pair[0] != pair[1]]
    if not wrong:
        return counts
    output = align([truths[row] for row in wrong], [predictions[row] for row in wrong])
    counts[wrong, 0] = 0
    for row, chunks in zip(wrong, output.alignments, strict=True):
        for chunk in chunks:
            size = max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
            counts[row, _KINDS[chunk.type]] += size
    return counts


def describe_counts(counts: Sequence[int] | Counts) -> dict[str, Any]:
    """Return an entry of the report from a row of `COLUMNS`: rates, and the counts they come from.

    A rate over nothing is None, neither good nor bad.
    """
    errors = ErrorCounts.from_list(counts[:NUM_ERROR_COLUMNS])
    details = LineCounts.from_list(counts[NUM_ERROR_COLUMNS:])
    characters, words = errors.reference_characters, errors.reference_words
    return {
        "lines": errors.lines,
        "cer": errors.cer if characters else None,
        "wer": errors.wer if words else None,
        "character_accuracy": errors.character_accuracy if characters else None,
        "exact_match": divide(errors.exact, errors.lines),
        "positional_accuracy": details.positional_accuracy,
        "jamo_cer": details.jamo_cer,
        "cer_without_spaces": details.cer_without_spaces,
        "counts": {**asdict(errors), **asdict(details)},
    }


def evaluate_pairs(references: Sequence[str], predictions: Sequence[str]) -> dict[str, Any]:
    """Return the error rates of predictions over all lines, and the counts that they come from.

    The keys are those of an entry of `report.json`: `cer`, `wer`, `character_accuracy`, `exact_match`,
    `jamo_cer` and more. Texts are compared in canonical form; a rate over nothing is None.

    Raises:
        ValueError: the two differ in length.

    Example:
        >>> import ocr_ray
        >>> rates = ocr_ray.evaluate_pairs(["탁자 7개", "3 × 8 = 24"], ["탁자 1개", "3 × 8 = 24"])
        >>> rates["lines"], round(rates["cer"], 3), rates["exact_match"]
        (2, 0.067, 0.5)
    """
    return describe_counts(count_lines(references, predictions).sum(axis=0))

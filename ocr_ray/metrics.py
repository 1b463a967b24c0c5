"""Error counts of predictions, additive over lines, and the error rates computed from them.

Counted by jiwer with its defaults (https://jitsi.github.io/jiwer): white space at the ends of a line is
ignored, every other space is a character, and runs of spaces separate words once. Reference and prediction
are brought into canonical form first: NFC, with one form for characters that print alike (`㎠` is `cm²`).
There is no other normalisation, such as case folding or removal of signs, digits or Hangul.
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

MAX_LENGTH = 20_000
"""Characters of a text to compare; aligning takes quadratic time."""

Counts = npt.NDArray[np.int64]
"""Counts of lines, int64 of shape (lines, columns)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Additive counts over lines: rates are computed from sums, never averaged."""

    @classmethod
    def zero(cls) -> Self:
        return cls.from_list([0] * len(fields(cls)))

    @classmethod
    def from_list(cls, values: Sequence[int] | npt.NDArray[np.int64]) -> Self:
        """Return the counts from a list of `to_list`, or from a sum of such lists."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: int(value) for name, value in zip(names, values, strict=True)})

    def to_list(self) -> list[int]:
        """Return the counts in the order of the fields."""
        return [getattr(self, field.name) for field in fields(self)]

    def __add__(self, other: Self) -> Self:
        return self.from_list([a + b for a, b in zip(self.to_list(), other.to_list(), strict=True)])


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCounts(Sums):
    """Counts of correct and wrong characters, words and lines.

    Without reference characters (or words) an error rate is the number of insertions, as in jiwer; no rate is
    ever NaN. Without lines, error rates are 0 and accuracies 1.
    """

    lines: int
    exact: int
    """Lines whose prediction equals the reference, both in canonical form."""
    character_hits: int
    character_substitutions: int
    character_deletions: int
    """Characters of the reference that are missing in the prediction."""
    character_insertions: int
    """Characters of the prediction that are not in the reference."""
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
        """Character error rate: errors / reference characters; above 1 with many insertions."""
        errors = self.character_substitutions + self.character_deletions + self.character_insertions
        return errors / max(1, self.reference_characters)

    @property
    def wer(self) -> float:
        """Word error rate: errors / reference words."""
        errors = self.word_substitutions + self.word_deletions + self.word_insertions
        return errors / max(1, self.reference_words)

    @property
    def character_accuracy(self) -> float:
        """Share of the reference characters that are hits of the alignment; insertions do not lower it."""
        if not self.reference_characters:
            return 0.0 if self.character_insertions else 1.0
        return self.character_hits / self.reference_characters

    @property
    def exact_match(self) -> float:
        """Share of the lines without errors."""
        return self.exact / self.lines if self.lines else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LineCounts(Sums):
    """More counts for evaluations; rates without a denominator are None."""

    positions: int
    """Characters of the reference."""
    positional_hits: int
    """Characters that the prediction has at the same index."""
    jamo_hits: int
    """Counted on decomposed text (NFD), where a syllable has two or three jamo."""
    jamo_substitutions: int
    jamo_deletions: int
    jamo_insertions: int
    bare_hits: int
    """Counted on text without spaces."""
    bare_substitutions: int
    bare_deletions: int
    bare_insertions: int

    @property
    def positional_accuracy(self) -> float | None:
        """Positional accuracy: share of the reference characters at the same index in the prediction.

        One early insertion makes all later positions wrong; it is only for comparison with older results.
        """
        return divide(self.positional_hits, self.positions)

    @property
    def jamo_cer(self) -> float | None:
        """Character error rate on jamo."""
        errors = self.jamo_substitutions + self.jamo_deletions
        return divide(errors + self.jamo_insertions, self.jamo_hits + errors)

    @property
    def cer_without_spaces(self) -> float | None:
        """Character error rate on text without spaces."""
        errors = self.bare_substitutions + self.bare_deletions
        return divide(errors + self.bare_insertions, self.bare_hits + errors)


COLUMNS = tuple(field.name for kind in (ErrorCounts, LineCounts) for field in fields(kind))
"""The columns of `count_lines`: the fields of `ErrorCounts`, then of `LineCounts`."""
NUM_ERROR_COLUMNS = len(fields(ErrorCounts))
_KINDS = {"equal": 0, "substitute": 1, "delete": 2, "insert": 3}


def divide(numerator: float, denominator: float) -> float | None:
    """Return a rate, or None if the denominator is 0."""
    return numerator / denominator if denominator else None


def normalise(text: str) -> str:
    """Return the text that is compared: canonical, without white space at the ends."""
    return canonical(text).strip()


def count_errors(reference: str, prediction: str) -> ErrorCounts:
    """Return the counts of one line."""
    return count_all([reference], [prediction])


def count_all(references: Sequence[str], predictions: Sequence[str]) -> ErrorCounts:
    """Return the summed counts of lines; texts can be empty.

    Raises:
        ValueError: references and predictions differ in number.
    """
    references, predictions = _normalise_all(references, predictions)
    characters = jiwer.process_characters(references, predictions)
    words = jiwer.process_words(references, predictions)
    return ErrorCounts(
        lines=len(references),
        exact=sum(map(eq, references, predictions)),
        character_hits=characters.hits,
        character_substitutions=characters.substitutions,
        character_deletions=characters.deletions,
        character_insertions=characters.insertions,
        word_hits=words.hits,
        word_substitutions=words.substitutions,
        word_deletions=words.deletions,
        word_insertions=words.insertions,
    )


def count_lines(references: Sequence[str], predictions: Sequence[str]) -> Counts:
    """Return the counts of each line, int64 of shape (lines, `COLUMNS`).

    Raises:
        ValueError: references and predictions differ in number.
    """
    references, predictions = _normalise_all(references, predictions)
    positions = [
        [len(reference), sum(map(eq, reference, prediction))]
        for reference, prediction in zip(references, predictions, strict=True)
    ]
    jamo = [[unicodedata.normalize("NFD", text) for text in texts] for texts in (references, predictions)]
    bare = [["".join(text.split()) for text in texts] for texts in (references, predictions)]
    return np.concatenate(
        [
            _count_line_errors(references, predictions),
            np.array(positions, np.int64).reshape(-1, 2),
            _count_characters(*jamo),
            _count_characters(*bare),
        ],
        axis=1,
    )


def _normalise_all(references: Sequence[str], predictions: Sequence[str]) -> tuple[list[str], list[str]]:
    if len(references) != len(predictions):
        raise ValueError(f"each reference needs a prediction, got {len(references)} and {len(predictions)}")
    return [normalise(reference) for reference in references], [
        normalise(prediction) for prediction in predictions
    ]


def _count_line_errors(references: list[str], predictions: list[str]) -> Counts:
    """Return the fields of `ErrorCounts` for each line."""
    exact = [[1, int(a == b)] for a, b in zip(references, predictions, strict=True)]
    lengths = [len(jiwer.wer_default(text)[0]) for text in references]
    return np.concatenate(
        [
            np.array(exact, np.int64).reshape(-1, 2),
            _count_characters(references, predictions),
            _count_by_alignment(jiwer.process_words, references, predictions, lengths),
        ],
        axis=1,
    )


def _count_characters(references: list[str], predictions: list[str]) -> Counts:
    lengths = [len(text) for text in references]
    return _count_by_alignment(jiwer.process_characters, references, predictions, lengths)


def _count_by_alignment(
    align: Callable[[list[str], list[str]], jiwer.WordOutput | jiwer.CharacterOutput],
    references: list[str],
    predictions: list[str],
    lengths: list[int],
) -> Counts:
    """Return hits, substitutions, deletions and insertions of each line; equal lines are not aligned.

    `lengths` are the numbers of words or characters of the references.
    """
    counts = np.zeros((len(references), 4), np.int64)
    counts[:, 0] = lengths
    wrong = [row for row, pair in enumerate(zip(references, predictions, strict=True)) if pair[0] != pair[1]]
    if not wrong:
        return counts
    output = align([references[row] for row in wrong], [predictions[row] for row in wrong])
    counts[wrong, 0] = 0
    for row, chunks in zip(wrong, output.alignments, strict=True):
        for chunk in chunks:
            size = max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
            counts[row, _KINDS[chunk.type]] += size
    return counts


def describe_counts(counts: Sequence[int] | Counts) -> dict[str, Any]:
    """Return an entry of the report from counts in the order of `COLUMNS`: rates and counts.

    Rates without a denominator are None.
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
        ValueError: the two differ in length, or a text is longer than 20,000 characters.

    Examples:
        >>> import ocr_ray
        >>> rates = ocr_ray.evaluate_pairs(["탁자 7개", "3 × 8 = 24"], ["탁자 1개", "3 × 8 = 24"])
        >>> rates["lines"], round(rates["cer"], 3), rates["exact_match"]
        (2, 0.067, 0.5)
    """
    if (longest := max(map(len, (*references, *predictions)), default=0)) > MAX_LENGTH:
        raise ValueError(f"texts must have at most {MAX_LENGTH} characters, got {longest}; evaluate lines")
    return describe_counts(count_lines(references, predictions).sum(axis=0))

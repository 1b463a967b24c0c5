"""Error counts of predictions: sums that add over any split of the lines, and the rates they give.

Counted by jiwer with its own defaults (https://jitsi.github.io/jiwer): white space at the ends of a line is
no character, every other space is; runs of spaces part words once. Both sides are put in canonical form, NFC
with one form for what prints alike (`㎠` is `cm²`), and nothing else is changed: no case folding, no dropping
of signs, digits or Hangul.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

import jiwer

from ocr_ray.text.canonical import canonical


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCounts:
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

    @classmethod
    def zero(cls) -> "ErrorCounts":
        return cls.from_list([0] * len(fields(cls)))

    @classmethod
    def from_list(cls, values: Sequence[int]) -> "ErrorCounts":
        """Return the counts that `to_list` gave, or sums of such lists over ranks."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: int(value) for name, value in zip(names, values, strict=True)})

    def to_list(self) -> list[int]:
        """Return the counts in the order of the fields, to be summed over ranks."""
        return list(astuple(self))

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        return ErrorCounts.from_list([a + b for a, b in zip(self.to_list(), other.to_list(), strict=True)])

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


def count_errors(truth: str, prediction: str) -> ErrorCounts:
    """Return the counts of one line."""
    return count_all([truth], [prediction])


def count_all(truths: Sequence[str], predictions: Sequence[str]) -> ErrorCounts:
    """Return the summed counts of lines; either side may hold empty strings.

    Raises:
        ValueError: there are not as many predictions as truths.
    """
    if len(truths) != len(predictions):
        raise ValueError(f"each truth needs a prediction, got {len(truths)} and {len(predictions)}")
    references = [canonical(truth).strip() for truth in truths]
    hypotheses = [canonical(prediction).strip() for prediction in predictions]
    characters = jiwer.process_characters(references, hypotheses)
    words = jiwer.process_words(references, hypotheses)
    return ErrorCounts(
        lines=len(references),
        exact=sum(
            reference == hypothesis for reference, hypothesis in zip(references, hypotheses, strict=True)
        ),
        character_hits=characters.hits,
        character_substitutions=characters.substitutions,
        character_deletions=characters.deletions,
        character_insertions=characters.insertions,
        word_hits=words.hits,
        word_substitutions=words.substitutions,
        word_deletions=words.deletions,
        word_insertions=words.insertions,
    )

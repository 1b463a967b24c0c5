"""Character alignment of a line: which character of the reference was read as which.

jiwer returns one of the alignments with the fewest errors, and it places insertions before substitutions. If
a model reads the head of a line and invents a longer tail, jiwer puts the surplus right after the head. A
model writes from left to right, so here the gap is moved to the end of the line. The numbers of hits,
substitutions, deletions and insertions stay those of jiwer.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile, zip_longest
from typing import Literal, NamedTuple

import jiwer

from ocr_ray.metrics import normalise

Kind = Literal["equal", "substitute", "delete", "insert"]


class Step(NamedTuple):
    """One character of the reference and what was read for it; one of the two is empty in a gap."""

    kind: Kind
    reference: str
    prediction: str
    reference_index: int
    """Of an insertion: the number of reference characters before it."""
    prediction_index: int
    """Of a deletion: the number of predicted characters before it."""

    @property
    def anchor(self) -> int:
        """Index of the reference character that the step is counted under.

        An insertion is counted under the character before it, or under the first one; 0 if the reference is
        empty.
        """
        return max(0, self.reference_index - 1) if self.kind == "insert" else self.reference_index


class EditOperation(NamedTuple):
    """Consecutive steps of one kind, as half-open ranges of reference and prediction."""

    kind: Kind
    reference_start: int
    reference_stop: int
    prediction_start: int
    prediction_stop: int


@dataclass(frozen=True, slots=True)
class Alignment:
    """Reference and prediction of a line in canonical form, with the steps from left to right.

    The number of errors is the edit distance.
    """

    reference: str
    prediction: str
    steps: tuple[Step, ...]

    @property
    def is_exact(self) -> bool:
        return self.reference == self.prediction

    @property
    def operations(self) -> tuple[EditOperation, ...]:
        return tuple(_merge_steps(self.steps))

    @property
    def trailing_hallucination(self) -> str:
        """The end of the prediction that was inserted after the last reference character."""
        insertions = takewhile(lambda step: step.kind == "insert", reversed(self.steps))
        return self.prediction[len(self.prediction) - sum(1 for _ in insertions) :]

    def prediction_for(self, start: int, stop: int) -> str:
        """Return what was read for reference characters [start, stop), with the insertions after each."""
        return "".join(step.prediction for step in self.steps if start <= step.anchor < stop)


def align(reference: str, prediction: str) -> Alignment:
    """Return the alignment of one line."""
    return align_all([reference], [prediction])[0]


def align_all(references: Iterable[str], predictions: Iterable[str]) -> list[Alignment]:
    """Return the alignment of each line, after both sides are put in canonical form.

    Raises:
        ValueError: the numbers of references and predictions differ.
    """
    pairs = [(normalise(a), normalise(b)) for a, b in zip(references, predictions, strict=True)]
    wrong = [pair for pair in pairs if pair[0] != pair[1]]
    references, predictions = [pair[0] for pair in wrong], [pair[1] for pair in wrong]
    chunks = iter(jiwer.process_characters(references, predictions).alignments if wrong else [])
    return [
        Alignment(reference, prediction, tuple(_equal_steps(reference)))
        if reference == prediction
        else Alignment(
            reference, prediction, tuple(_shift_gaps(_expand_chunks(reference, prediction, next(chunks))))
        )
        for reference, prediction in pairs
    ]


def third_of(index: int, length: int) -> int:
    """Return which third of a line of `length` characters an index lies in, 0 to 2.

    Thirds are as even as possible, earlier ones longer: four characters are split 2, 1, 1; two 1, 1, 0.
    """
    return index * 3 // length


def _equal_steps(text: str) -> Iterator[Step]:
    return (Step("equal", character, character, index, index) for index, character in enumerate(text))


def _expand_chunks(reference: str, prediction: str, chunks: Sequence[jiwer.AlignmentChunk]) -> Iterator[Step]:
    """Yield jiwer's alignment of a line character by character."""
    for chunk in chunks:
        i, j = chunk.ref_start_idx, chunk.hyp_start_idx
        while i < chunk.ref_end_idx or j < chunk.hyp_end_idx:
            has_reference, has_prediction = i < chunk.ref_end_idx, j < chunk.hyp_end_idx
            kind: Kind = "insert" if not has_reference else "delete" if not has_prediction else "substitute"
            if chunk.type == "equal":
                kind = "equal"
            yield Step(
                kind, reference[i] if has_reference else "", prediction[j] if has_prediction else "", i, j
            )
            i, j = i + has_reference, j + has_prediction


def _shift_gaps(steps: Iterable[Step]) -> Iterator[Step]:
    """Yield steps with the same number of each kind, with gaps shifted to the right where possible.

    A gap moves after the substitutions that follow it if the line ends there, or if it can swap with the next
    correct character because the gap holds the same character. Within a run of errors only one side has gaps;
    otherwise substitutions would give fewer errors.
    """
    reference, prediction, errors = "", "", []
    i = j = 0  # start of the current run of errors
    for step in steps:
        if step.kind != "equal":
            errors.append(step)
            reference, prediction = reference + step.reference, prediction + step.prediction
            continue
        num_substitutions = min(len(reference), len(prediction))
        gap = reference[num_substitutions:] + prediction[num_substitutions:]
        offset = gap.find(step.reference)
        if offset < 0:
            yield from errors
            yield step
            reference, prediction, errors = "", "", []
            i, j = step.reference_index + 1, step.prediction_index + 1
            continue
        end = num_substitutions + offset
        yield from _substitutions_first(reference[:end], prediction[:end], i, j)
        i, j = i + len(reference[:end]), j + len(prediction[:end])
        yield Step("equal", step.reference, step.reference, i, j)
        i, j = i + 1, j + 1
        rest = gap[offset + 1 :] + step.reference
        reference, prediction = (rest, "") if len(reference) > len(prediction) else ("", rest)
        errors = list(_substitutions_first(reference, prediction, i, j))
    yield from _substitutions_first(reference, prediction, i, j)


def _substitutions_first(reference: str, prediction: str, i: int, j: int) -> Iterator[Step]:
    """Yield a run of errors starting at indices i and j: substitutions, then the surplus of either side."""
    for k, (expected, read) in enumerate(zip_longest(reference, prediction, fillvalue="")):
        kind: Kind = "insert" if not expected else "delete" if not read else "substitute"
        yield Step(kind, expected, read, i + min(k, len(reference)), j + min(k, len(prediction)))


def _merge_steps(steps: Iterable[Step]) -> Iterator[EditOperation]:
    for kind, group in groupby(steps, key=lambda step: step.kind):
        run = list(group)
        i, j = run[0].reference_index, run[0].prediction_index
        num_references = sum(len(step.reference) for step in run)
        num_predictions = sum(len(step.prediction) for step in run)
        yield EditOperation(kind, i, i + num_references, j, j + num_predictions)

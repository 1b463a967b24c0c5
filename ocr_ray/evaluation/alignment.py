"""Which character of a line was read as which: jiwer's alignment, with its gaps where a reader has them.

Of the alignments with the fewest errors jiwer gives one, and it puts what was inserted before what was
misread: of a line whose head was read and whose longer tail was made up, it says that the surplus stands
behind the head. A reader goes from left to right, so what it has too much or too little is at the end of the
line, where hits, substitutions, deletions and insertions are as many as jiwer counts.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile, zip_longest
from typing import Literal, NamedTuple

import jiwer

from ocr_ray.metrics import normalise

Kind = Literal["equal", "substitute", "delete", "insert"]
NUM_PARTS = 3
"""Parts of a line: its first, middle and last third."""


class Step(NamedTuple):
    """One character of the truth and what was read for it; either is empty in a gap."""

    kind: Kind
    truth: str
    read: str
    truth_place: int
    """Of an insertion: the number of the truth's characters before it."""
    read_place: int
    """Of a deletion: the number of the prediction's characters before it."""

    @property
    def owner(self) -> int:
        """The place of the truth's character that the step counts for: an insertion's is the one before it.

        Before the first it is the first. Without a truth it is 0, too.
        """
        return max(0, self.truth_place - 1) if self.kind == "insert" else self.truth_place


class Operation(NamedTuple):
    """Steps of one kind that follow each other, half-open places of truth and prediction."""

    kind: Kind
    truth_start: int
    truth_stop: int
    read_start: int
    read_stop: int


@dataclass(frozen=True, slots=True)
class Alignment:
    """A line in canonical form, and its steps from left to right; the errors are as few as can be."""

    truth: str
    prediction: str
    steps: tuple[Step, ...]

    @property
    def is_exact(self) -> bool:
        return self.truth == self.prediction

    @property
    def operations(self) -> tuple[Operation, ...]:
        return tuple(_merge_steps(self.steps))

    @property
    def overread(self) -> str:
        """What was read behind the last character of the truth."""
        behind = takewhile(lambda step: step.kind == "insert", reversed(self.steps))
        return self.prediction[len(self.prediction) - sum(1 for _ in behind) :]

    def read_of(self, start: int, stop: int) -> str:
        """Return what was read for the truth's characters [start, stop), insertions behind each with it."""
        return "".join(step.read for step in self.steps if start <= step.owner < stop)


def align(truth: str, prediction: str) -> Alignment:
    """Return the alignment of one line."""
    return align_all([truth], [prediction])[0]


def align_all(truths: Iterable[str], predictions: Iterable[str]) -> list[Alignment]:
    """Return the alignment of each line, both sides in canonical form as they are counted.

    Raises:
        ValueError: there are not as many predictions as truths.
    """
    pairs = [(normalise(a), normalise(b)) for a, b in zip(truths, predictions, strict=True)]
    wrong = [pair for pair in pairs if pair[0] != pair[1]]
    truths, predictions = [truth for truth, _ in wrong], [prediction for _, prediction in wrong]
    chunks = iter(jiwer.process_characters(truths, predictions).alignments if wrong else [])
    return [
        Alignment(truth, prediction, tuple(_equal_steps(truth)))
        if truth == prediction
        else Alignment(truth, prediction, tuple(_move_gaps(_read_steps(truth, prediction, next(chunks)))))
        for truth, prediction in pairs
    ]


def third_of(place: int, length: int) -> int:
    """Return which third of a line of `length` characters a place is in, 0 to 2.

    Thirds are as even as can be, earlier ones longer: 2, 1 and 1 of four characters, 1, 1 and none of two.
    """
    return place * NUM_PARTS // length


def count_confusions(alignments: Iterable[Alignment]) -> Counter[tuple[str, str]]:
    """Return how often each character was read as which other one.

    What was left out is read as an empty string; what was put in has an empty truth.
    """
    return Counter(
        (step.truth, step.read)
        for alignment in alignments
        if not alignment.is_exact
        for step in alignment.steps
        if step.kind != "equal"
    )


def _equal_steps(text: str) -> Iterator[Step]:
    return (Step("equal", character, character, place, place) for place, character in enumerate(text))


def _read_steps(truth: str, prediction: str, chunks: Sequence[jiwer.AlignmentChunk]) -> Iterator[Step]:
    """Yield what jiwer says of a line, character by character."""
    for chunk in chunks:
        i, j = chunk.ref_start_idx, chunk.hyp_start_idx
        while i < chunk.ref_end_idx or j < chunk.hyp_end_idx:
            in_truth, in_read = i < chunk.ref_end_idx, j < chunk.hyp_end_idx
            kind: Kind = "insert" if not in_truth else "delete" if not in_read else "substitute"
            if chunk.type == "equal":
                kind = "equal"
            yield Step(kind, truth[i] if in_truth else "", prediction[j] if in_read else "", i, j)
            i, j = i + in_truth, j + in_read


def _move_gaps(steps: Iterable[Step]) -> Iterator[Step]:
    """Yield steps with the same numbers of each kind, gaps further to the right where there is a reason.

    A gap moves behind the misread characters that follow it if the line ends there, or if it then changes
    places with the next character that was read, as one like it is in the gap. In a run of errors one side
    alone has gaps: an alignment with the fewest errors would have substitutions instead.
    """
    truths, reads, errors = "", "", []
    i = j = 0  # where the run of errors begins
    for step in steps:
        if step.kind != "equal":
            errors.append(step)
            truths, reads = truths + step.truth, reads + step.read
            continue
        num_misread = min(len(truths), len(reads))
        gap = truths[num_misread:] + reads[num_misread:]
        place = gap.find(step.truth)
        if place < 0:
            yield from errors
            yield step
            truths, reads, errors = "", "", []
            i, j = step.truth_place + 1, step.read_place + 1
            continue
        end = num_misread + place
        yield from _misread_first(truths[:end], reads[:end], i, j)
        i, j = i + len(truths[:end]), j + len(reads[:end])
        yield Step("equal", step.truth, step.truth, i, j)
        i, j = i + 1, j + 1
        behind = gap[place + 1 :] + step.truth
        truths, reads = (behind, "") if len(truths) > len(reads) else ("", behind)
        errors = list(_misread_first(truths, reads, i, j))
    yield from _misread_first(truths, reads, i, j)


def _misread_first(truths: str, reads: str, i: int, j: int) -> Iterator[Step]:
    """Yield a run of errors that begins at places i and j: pairs, then what one side has more."""
    for k, (truth, read) in enumerate(zip_longest(truths, reads, fillvalue="")):
        kind: Kind = "insert" if not truth else "delete" if not read else "substitute"
        yield Step(kind, truth, read, i + min(k, len(truths)), j + min(k, len(reads)))


def _merge_steps(steps: Iterable[Step]) -> Iterator[Operation]:
    for kind, group in groupby(steps, key=lambda step: step.kind):
        run = list(group)
        i, j = run[0].truth_place, run[0].read_place
        yield Operation(
            kind, i, i + sum(map(len, (s.truth for s in run))), j, j + sum(map(len, (s.read for s in run)))
        )

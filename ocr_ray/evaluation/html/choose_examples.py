"""The lines that a report shows: the worst, random ones, and a few for each kind of error and confusion."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from hashlib import blake2b
from heapq import heappush, heappushpop
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ocr_ray.dataset.parts import read_rows
from ocr_ray.evaluation.analysis.error_kinds import (
    MISSING_TAIL,
    RUN_ON,
    SPACING,
    SUBSTITUTION,
    name_error_kind,
)
from ocr_ray.evaluation.html.examples import Example, Examples, list_ops
from ocr_ray.evaluation.inputs import LinesPart
from ocr_ray.evaluation.readings import Reading, read_table

NUM_WORST = NUM_RANDOM = 30
NUM_PER_CONFUSION = 3
NUM_OF_KINDS = 6
"""Of all kinds of errors together."""
SHOWN_KINDS = (RUN_ON, MISSING_TAIL, SUBSTITUTION, SPACING)
ConfusedPair = tuple[str, str]
"""A piece of the reference and what was predicted for it; either may be empty."""


class Position(NamedTuple):
    """Where a line is stored: the number of its part and its row in it."""

    part: int
    row: int


class _Candidate(NamedTuple):
    """A line that may be shown; the greatest are."""

    weight: float
    key: bytes
    """A hash of the line's name, so that the choice does not depend on parts or their order."""
    position: Position


class ChosenLines:
    """Chooses lines part by part; holds their positions, three for each confusion seen."""

    def __init__(self) -> None:
        self._worst: list[_Candidate] = []
        self._random: list[_Candidate] = []
        self._kinds: defaultdict[str, list[_Candidate]] = defaultdict(list)
        self._confusions: defaultdict[ConfusedPair, list[_Candidate]] = defaultdict(list)

    def add(self, part: int, lines: Sequence[Reading]) -> None:
        """Consider all lines of a part, in their order."""
        for row, line in enumerate(lines):
            key = blake2b(f"{line.dataset}\n{line.line_id}".encode(), digest_size=8).digest()
            candidate = _Candidate(0.0, key, Position(part, row))
            _keep(self._random, candidate, NUM_RANDOM)
            if line.alignment.is_exact:
                continue
            _keep(self._kinds[name_error_kind(line.alignment)], candidate, NUM_OF_KINDS)
            errors = [
                (step.reference, step.prediction) for step in line.alignment.steps if step.kind != "equal"
            ]
            weight = len(errors) / max(1, len(line.reference))
            _keep(self._worst, candidate._replace(weight=weight), NUM_WORST)
            for pair in set(errors):
                _keep(self._confusions[pair], candidate, NUM_PER_CONFUSION)

    def read_examples(
        self,
        confusions: Sequence[ConfusedPair],
        parts: Sequence[LinesPart],
        read_predictions: Callable[[int], pa.Table],
        baseline: Iterable[pa.Table] = (),
    ) -> Examples:
        """Return the lines with their images: the worst first, random ones, and those with these confusions.

        `read_predictions` returns the table of a part by its number; `baseline` are the tables of another
        model.
        """
        of_confusions = [line for pair in confusions for line in self._confusions.get(pair, ())]
        kinds = self._choose_of_kinds()
        of_kinds = [line for lines in kinds.values() for line in lines]
        chosen = sorted({line.position for line in (*self._worst, *self._random, *of_kinds, *of_confusions)})
        examples = _read_lines(chosen, parts, read_predictions)
        names = {(line.dataset, line.line_id) for line in examples.values()}
        predictions = _find_predictions(baseline, names)
        shown = {
            position: replace(line, baseline_prediction=predictions.get((line.dataset, line.line_id)))
            for position, line in examples.items()
        }

        def list_examples(candidates: Iterable[_Candidate]) -> list[Example]:
            return [shown[candidate.position] for candidate in sorted(candidates, reverse=True)]

        return Examples(
            worst=list_examples(self._worst),
            random=list_examples(self._random),
            kinds={kind: list_examples(lines) for kind, lines in kinds.items()},
            confusions={pair: list_examples(self._confusions.get(pair, ())) for pair in confusions},
        )

    def _choose_of_kinds(self) -> dict[str, list[_Candidate]]:
        """Return random wrong lines by kind, as many of each kind as of the others where there are enough."""
        by_kind = {kind: sorted(self._kinds[kind], reverse=True) for kind in SHOWN_KINDS}
        in_turn = [
            (kind, lines[rank])
            for rank in range(NUM_OF_KINDS)
            for kind, lines in by_kind.items()
            if rank < len(lines)
        ][:NUM_OF_KINDS]
        kinds = dict.fromkeys(kind for kind, _ in in_turn)
        return {kind: [line for name, line in in_turn if name == kind] for kind in kinds}


def _read_lines(
    positions: Iterable[Position],
    parts: Sequence[LinesPart],
    read_predictions: Callable[[int], pa.Table],
) -> dict[Position, Example]:
    """Return the lines at these positions; a part is opened once."""
    rows_by_part: defaultdict[int, list[int]] = defaultdict(list)
    for position in positions:
        rows_by_part[position.part].append(position.row)
    examples = {}
    for part, rows in rows_by_part.items():
        table = read_predictions(part).take(rows)
        lines = zip(read_table(table), table["confidence"].to_pylist(), strict=True)
        stored = read_rows(parts[part].location, rows)
        for row, (line, confidence), source in zip(rows, lines, stored, strict=True):
            examples[Position(part, row)] = _make_example(line, confidence, source.image_bytes)
    return examples


def _find_predictions(tables: Iterable[pa.Table], names: set[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the predictions for lines by (dataset, line_id): all of these, and perhaps more."""
    line_ids = pa.array(sorted({line_id for _, line_id in names}), pa.string())
    predictions = {}
    for table in tables:
        rows = table.filter(pc.is_in(table["line_id"], line_ids))
        for row in rows.select(["dataset", "line_id", "prediction"]).to_pylist():
            predictions[row["dataset"], row["line_id"]] = row["prediction"]
    return predictions


def _keep(heap: list[_Candidate], candidate: _Candidate, number: int) -> None:
    """Add a candidate and keep the greatest `number`."""
    if len(heap) < number:
        heappush(heap, candidate)
    else:
        heappushpop(heap, candidate)


def _make_example(line: Reading, confidence: float | None, image_bytes: bytes) -> Example:
    return Example(
        line_id=line.line_id,
        dataset=line.dataset,
        reference=line.reference,
        prediction=line.prediction,
        image_bytes=image_bytes,
        confidence=confidence,
        ops=list_ops(line.alignment),
        width_px=line.width_px or 0,
        height_px=line.height_px or 0,
    )

"""The lines that a report shows: the worst, some at random, and for each confusion a few that have it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from hashlib import blake2b
from heapq import heappush, heappushpop
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ocr_ray.dataset.parts import read_rows
from ocr_ray.evaluation.html.examples import Example, Examples, list_ops
from ocr_ray.evaluation.inputs import LinesPart
from ocr_ray.evaluation.readings import Reading, read_table

NUM_WORST = NUM_RANDOM = 30
NUM_OF_CONFUSION = 3
Confusion = tuple[str, str]
"""What is printed, and what was read; either may be empty."""


class Place(NamedTuple):
    """Where a line is: the number of its part, and of its row therein."""

    part: int
    row: int


class _Found(NamedTuple):
    """A line that may be shown, ordered by how much it should be."""

    weight: float
    key: bytes
    """Of the line alone, so that what is shown does not depend on parts and order."""
    place: Place


class ChosenLines:
    """Chooses lines as parts go by; holds where they are, three places for each confusion met."""

    def __init__(self) -> None:
        self._worst: list[_Found] = []
        self._random: list[_Found] = []
        self._confusions: defaultdict[Confusion, list[_Found]] = defaultdict(list)

    def add(self, part: int, lines: Sequence[Reading]) -> None:
        """Consider the lines of a part, all of them in their order."""
        for row, line in enumerate(lines):
            key = blake2b(f"{line.dataset}\n{line.line_id}".encode(), digest_size=8).digest()
            found = _Found(0.0, key, Place(part, row))
            _keep(self._random, found, NUM_RANDOM)
            if line.alignment.is_exact:
                continue
            errors = [
                (step.reference, step.prediction) for step in line.alignment.steps if step.kind != "equal"
            ]
            _keep(self._worst, found._replace(weight=len(errors) / max(1, len(line.reference))), NUM_WORST)
            for confusion in set(errors):
                _keep(self._confusions[confusion], found, NUM_OF_CONFUSION)

    def read_examples(
        self,
        confusions: Sequence[Confusion],
        parts: Sequence[LinesPart],
        read_predictions: Callable[[int], pa.Table],
        baseline: Iterable[pa.Table] = (),
    ) -> Examples:
        """Return the lines with their images: the worst first, those at random, and of these confusions.

        `read_predictions` gives the table of a part by its number; `baseline` are those of another model.
        """
        of_confusions = [found for some in confusions for found in self._confusions.get(some, ())]
        rows: defaultdict[int, list[int]] = defaultdict(list)
        for place in sorted({found.place for found in (*self._worst, *self._random, *of_confusions)}):
            rows[place.part].append(place.row)
        examples = {}
        for part, some in rows.items():
            table = read_predictions(part).take(some)
            lines = zip(read_table(table), table["confidence"].to_pylist(), strict=True)
            images = read_rows(parts[part].location, some)
            for row, (line, confidence), image in zip(some, lines, images, strict=True):
                examples[Place(part, row)] = _make_example(line, confidence, image.image_bytes)
        readings = _find_readings(baseline, {(line.dataset, line.line_id) for line in examples.values()})
        shown = {
            place: replace(line, baseline_prediction=readings.get((line.dataset, line.line_id)))
            for place, line in examples.items()
        }

        def list_shown(some: Iterable[_Found]) -> list[Example]:
            return [shown[found.place] for found in sorted(some, reverse=True)]

        return Examples(
            worst=list_shown(self._worst),
            random=list_shown(self._random),
            confusions={some: list_shown(self._confusions.get(some, ())) for some in confusions},
        )


def _find_readings(tables: Iterable[pa.Table], keys: set[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return what was read of the lines with these datasets and line_ids, in tables of predictions."""
    line_ids = pa.array(sorted({line_id for _, line_id in keys}), pa.string())
    readings = {}
    for table in tables:
        some = table.filter(pc.is_in(table["line_id"], line_ids))
        names = ("dataset", "line_id", "prediction")
        for dataset, line_id, prediction in zip(*(some[name].to_pylist() for name in names), strict=True):
            readings[dataset, line_id] = prediction
    return readings


def _keep(heap: list[_Found], found: _Found, number: int) -> None:
    """Keep the greatest `number`."""
    if len(heap) < number:
        heappush(heap, found)
    else:
        heappushpop(heap, found)


def _make_example(line: Reading, confidence: float | None, image_bytes: bytes) -> Example:
    return Example(
        line_id=line.line_id,
        dataset=line.dataset,
        truth=line.reference,
        prediction=line.prediction,
        image_bytes=image_bytes,
        confidence=confidence,
        ops=list_ops(line.alignment),
        width_px=line.width_px or 0,
        height_px=line.height_px or 0,
    )

"""Character confusions: how often each character was read as which other one."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from ocr_ray.evaluation.alignment import Alignment
from ocr_ray.evaluation.readings import Reading

MAX_CONFUSIONS = 1_000
"""The report lists the most common ones."""


class Confusions:
    """Pairs of a reference character and what was read for it; one of the two is empty in a gap."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, lines: Sequence[Reading]) -> None:
        """Count the lines of a part."""
        self._counts.update(count_confusions(line.alignment for line in lines))

    def describe(self) -> list[dict[str, Any]]:
        """Return the most common confusions first."""
        ordered = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        return [
            {"truth": reference, "read": prediction, "count": count}
            for (reference, prediction), count in ordered[:MAX_CONFUSIONS]
        ]


def count_confusions(alignments: Iterable[Alignment]) -> Counter[tuple[str, str]]:
    """Return the number of each pair of reference and predicted character that differ.

    The prediction of a deletion and the reference of an insertion are empty strings.
    """
    return Counter(
        (step.reference, step.prediction)
        for alignment in alignments
        if not alignment.is_exact
        for step in alignment.steps
        if step.kind != "equal"
    )

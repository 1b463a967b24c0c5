"""Collapse: a model that says the same whatever it is shown, as `다음은` before anything else."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from ocr_ray.evaluation.readings import Reading
from ocr_ray.metrics import divide

OPENING_LENGTH = 3
"""Characters."""
NUM_OPENINGS = 10
"""Of the commonest that are reported."""


class Collapse:
    """What predictions have in common with each other; adds up over any parts of the lines.

    Of a pair of a truth and a prediction 16 bytes are kept, and the openings as they are.
    """

    def __init__(self) -> None:
        self._openings: Counter[str] = Counter()
        self._truth_openings: Counter[str] = Counter()
        self._pairs: Counter[tuple[bytes, bytes]] = Counter()

    def add(self, lines: Sequence[Reading]) -> None:
        """Count some lines."""
        self._openings.update(line.prediction[:OPENING_LENGTH] for line in lines)
        self._truth_openings.update(line.truth[:OPENING_LENGTH] for line in lines)
        self._pairs.update((_hash(line.truth), _hash(line.prediction)) for line in lines)

    def merge(self, other: "Collapse") -> None:
        """Add what another one has counted, of other lines."""
        self._openings.update(other._openings)
        self._truth_openings.update(other._truth_openings)
        self._pairs.update(other._pairs)

    def describe(self) -> dict[str, Any]:
        """Return how alike the predictions are, beside how alike the truths are.

        `repeats` are lines read wrong whose prediction is word for word the truth or the prediction of a line
        with another truth.
        """
        lines = self._pairs.total()
        commonest = _commonest(self._openings)
        truths = {truth for truth, _ in self._pairs}
        predictions = {prediction for _, prediction in self._pairs}
        repeats = self._count_repeats(truths)
        share = divide(commonest[0][1], lines) if commonest else None
        truth_openings = _commonest(self._truth_openings)
        truth_share = divide(truth_openings[0][1], lines) if truth_openings else None
        return {
            "lines": lines,
            "opening_share": share,
            "truth_opening_share": truth_share,
            "openings": [
                {"opening": opening, "lines": count, "truth_lines": self._truth_openings[opening]}
                for opening, count in commonest
            ],
            "distinct_predictions": len(predictions),
            "distinct_truths": len(truths),
            "distinct_ratio": divide(len(predictions), len(truths)),
            "repeats": repeats,
            "repeat_rate": divide(repeats, lines),
        }

    def _count_repeats(self, truths: Iterable[bytes]) -> int:
        truths_of: defaultdict[bytes, set[bytes]] = defaultdict(set)
        for truth in truths:
            truths_of[truth].add(truth)
        for truth, prediction in self._pairs:
            truths_of[prediction].add(truth)
        return sum(
            count
            for (truth, prediction), count in self._pairs.items()
            if truth != prediction and len(truths_of[prediction]) > 1
        )


def _commonest(openings: Counter[str]) -> list[tuple[str, int]]:
    """Return the commonest openings and their lines; of those as common the first by the alphabet."""
    return sorted(openings.items(), key=lambda item: (-item[1], item[0]))[:NUM_OPENINGS]


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()

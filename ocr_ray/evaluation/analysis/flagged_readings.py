"""Predictions that are incomplete: ended at the model's length limit, or with half a character."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ocr_ray.evaluation.readings import Reading
from ocr_ray.metrics import divide
from ocr_ray.model.line_reading import READING_FLAGS


class FlaggedReadings:
    """Counts the predictions with each flag."""

    def __init__(self) -> None:
        self._num_lines = 0
        self._flags: Counter[str] = Counter()

    def add(self, lines: Sequence[Reading]) -> None:
        """Count the lines of a part; those of earlier versions have no flags and are left out."""
        flags = [line.flags for line in lines if line.flags is not None]
        self._num_lines += len(flags)
        self._flags.update(flag for of_line in flags for flag in of_line)

    def describe(self) -> dict[str, Any]:
        """Return the number of lines with each flag, and their share."""
        counts = {name: self._flags[name] for name in READING_FLAGS}
        shares = {f"{name}_rate": divide(count, self._num_lines) for name, count in counts.items()}
        return {"lines": self._num_lines, **counts, **shares}

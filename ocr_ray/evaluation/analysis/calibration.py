"""Whether confidence can be believed: of the lines read with confidence 0.9, are nine in ten right?

Expected calibration error after Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ocr_ray.metrics import Sums, divide

NUM_BINS = 10
_UNIT = 10**9
"""Confidences are summed as whole billionths, so that no order of addition changes the sum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBin(Sums):
    """The lines whose confidence lies in one tenth of [0, 1]."""

    lines: int
    exact: int
    """Of them, read without any error."""
    confidence_billionths: int
    """The sum of their confidences."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Confidence against what was right, over some lines; sums that add over any split of them."""

    bins: tuple[CalibrationBin, ...] = (CalibrationBin.zero(),) * NUM_BINS
    """Bin b holds confidences in [b / 10, (b + 1) / 10), the last one 1 as well."""
    without_confidence: int = 0
    """Lines whose confidence is null or not a number; in no bin."""

    def __add__(self, other: "Calibration") -> "Calibration":
        return Calibration(
            tuple(mine + theirs for mine, theirs in zip(self.bins, other.bins, strict=True)),
            self.without_confidence + other.without_confidence,
        )

    @property
    def expected_calibration_error(self) -> float | None:
        """The mean distance of a line's bin's share of exact lines from its mean confidence."""
        lines = sum(found.lines for found in self.bins)
        distances = [abs(found.exact - found.confidence_billionths / _UNIT) for found in self.bins]
        return divide(sum(distances), lines)

    def to_report(self) -> dict[str, Any]:
        """Return what the report keeps under `calibration`."""
        return {
            "expected_calibration_error": self.expected_calibration_error,
            "without_confidence": self.without_confidence,
            "bins": [
                {
                    "low": number / NUM_BINS,
                    "high": (number + 1) / NUM_BINS,
                    "lines": found.lines,
                    "mean_confidence": divide(found.confidence_billionths / _UNIT, found.lines),
                    "exact_share": divide(found.exact, found.lines),
                }
                for number, found in enumerate(self.bins)
            ],
        }


def calibrate(confidences: Sequence[float | None], exact: Iterable[bool]) -> Calibration:
    """Return the calibration of lines, each with its confidence in [0, 1] and whether it was read exactly.

    Raises:
        ValueError: a confidence lies outside of [0, 1], beyond rounding.
    """
    bins = [[0, 0, 0] for _ in range(NUM_BINS)]
    without = 0
    for confidence, is_exact in zip(confidences, exact, strict=True):
        if confidence is None or math.isnan(confidence):
            without += 1
            continue
        if not -1e-6 <= confidence <= 1 + 1e-6:
            raise ValueError(f"a confidence must be from 0 to 1, got {confidence}")
        billionths = min(max(round(confidence * _UNIT), 0), _UNIT)
        sums = bins[min(billionths * NUM_BINS // _UNIT, NUM_BINS - 1)]
        for index, value in enumerate((1, int(is_exact), billionths)):
            sums[index] += value
    return Calibration(tuple(map(CalibrationBin.from_list, bins)), without)

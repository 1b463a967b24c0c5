"""Calibration of confidence: of the lines read with confidence 0.9, are nine in ten right?

Expected calibration error: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ocr_ray.evaluation.readings import Reading
from ocr_ray.metrics import divide

NUM_BINS = 10
_UNIT = 10**9
"""Confidences are summed as whole billionths, so that the sum does not depend on the order of the lines."""


class Calibration:
    """Confidence against the share of exact lines, in bins of equal width.

    Bin b holds confidences in [b / 10, (b + 1) / 10), the last one also 1.
    """

    def __init__(self) -> None:
        self._bins = np.zeros((NUM_BINS, 3), np.int64)
        """Lines, exact lines and the sum of confidences in billionths of each bin."""
        self._num_without_confidence = 0
        """Lines whose confidence is null or NaN; they are in no bin."""

    def add(self, lines: Sequence[Reading]) -> None:
        """Count the lines of a part.

        Raises:
            ValueError: a confidence lies outside of [0, 1] by more than rounding.
        """
        confidences = np.array([line.confidence for line in lines], np.float64)
        exact = np.array([line.alignment.is_exact for line in lines], np.int64)
        is_known = ~np.isnan(confidences)
        confidences, exact = confidences[is_known], exact[is_known]
        if (wrong := confidences[(confidences < -1e-6) | (confidences > 1 + 1e-6)]).size:
            raise ValueError(f"a confidence must be from 0 to 1, got {wrong[0]}")
        billionths = np.rint(confidences * _UNIT).astype(np.int64).clip(0, _UNIT)
        bins = np.minimum(billionths * NUM_BINS // _UNIT, NUM_BINS - 1)
        np.add.at(self._bins, bins, np.stack([np.ones_like(exact), exact, billionths], axis=1))
        self._num_without_confidence += int((~is_known).sum())

    def describe(self) -> dict[str, Any]:
        """Return the expected calibration error and the bins.

        The error is the distance between the share of exact lines and the mean confidence of a bin, averaged
        over lines.
        """
        bins = [(lines, exact, billionths / _UNIT) for lines, exact, billionths in self._bins.tolist()]
        distances = [abs(exact - confidence) for _, exact, confidence in bins]
        return {
            "expected_calibration_error": divide(sum(distances), sum(lines for lines, _, _ in bins)),
            "without_confidence": self._num_without_confidence,
            "bins": [
                {
                    "low": index / NUM_BINS,
                    "high": (index + 1) / NUM_BINS,
                    "lines": lines,
                    "mean_confidence": divide(confidence, lines),
                    "exact_share": divide(exact, lines),
                }
                for index, (lines, exact, confidence) in enumerate(bins)
            ],
        }

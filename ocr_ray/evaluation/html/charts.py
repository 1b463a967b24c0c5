"""Charts of the report as numbers: bars of a rate, and the calibration of confidence."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

BAR_SIZE_PX = (160, 16)
_MAX_RADIUS_PX = 10


class Bar(NamedTuple):
    """A rate on an axis from 0 to the end of a scale; all in pixels from the left of the chart."""

    label: str
    rate: float | None
    interval: tuple[float, float] | None
    baseline: float | None
    """Shown as a tick."""
    is_cut: bool
    """Whether the rate, or the end of its interval, lies beyond the axis."""


class Dot(NamedTuple):
    """A bin of confidences: both coordinates from 0 to 1, the radius in pixels."""

    mean_confidence: float
    exact_share: float
    radius_px: float
    label: str


def find_scale(rates: Iterable[float | None]) -> float:
    """Return the end of an axis from 0 that shows all rates; at most 1, longer bars are cut."""
    return min(1.0, max((rate for rate in rates if rate is not None), default=0.0))


def make_bar(
    rate: float | None,
    interval: Sequence[float] | None = None,
    *,
    scale: float,
    baseline: float | None = None,
) -> Bar:
    """Return the bar of a rate on an axis that ends at `scale`."""

    def to_px(value: float) -> float:
        share = min(max(value / scale if scale else 0.0, 0.0), 1.0)
        return round(share * (BAR_SIZE_PX[0] - 2) + 1, 1)

    return Bar(
        label="no value" if rate is None else f"{100 * rate:.2f} %",
        rate=None if rate is None else to_px(rate),
        interval=(to_px(interval[0]), to_px(interval[1])) if interval else None,
        baseline=None if baseline is None else to_px(baseline),
        is_cut=any(value is not None and value > scale for value in (rate, baseline, *(interval or ()))),
    )


def make_dots(bins: Sequence[Mapping[str, Any]]) -> list[Dot]:
    """Return a dot for each bin, all of which have lines; its area grows with their number."""
    most = max((entry["lines"] for entry in bins), default=1)
    return [
        Dot(
            entry["mean_confidence"],
            entry["exact_share"],
            max(2.0, _MAX_RADIUS_PX * math.sqrt(entry["lines"] / most)),
            f"{entry['lines']:,} lines: mean confidence {100 * entry['mean_confidence']:.1f} %, "
            f"exact match {100 * entry['exact_share']:.1f} %",
        )
        for entry in bins
    ]

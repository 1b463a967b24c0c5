"""The report's drawings, as SVG inside the page: a rate with its interval, and confidence against truth."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

BAR_SIZE = (160, 16)
DIAGRAM_SIZE = 300
_MARGIN, _TOP = 44, 14
_MAX_RADIUS = 10


def find_scale(rates: Iterable[float | None]) -> float:
    """Return the end of an axis from 0 that shows all rates; at most 1, bars beyond it are cut off."""
    return min(1.0, max((rate for rate in rates if rate is not None), default=0.0))


def draw_bar(
    rate: float | None, interval: Sequence[float] | None, *, scale: float, baseline: float | None = None
) -> str:
    """Return a bar of a rate from 0 to `scale`, with its interval and the baseline's rate as a tick."""
    width, height = BAR_SIZE
    middle = height / 2
    label = escape(f"{100 * rate:.2f} %" if rate is not None else "no value")
    marks = [f'<line class="axis" x1="0.5" y1="0" x2="0.5" y2="{height}"/>']
    if rate is not None:
        marks.append(f'<rect class="bar" x="0" y="3" width="{_place(rate, scale)}" height="{height - 6}"/>')
    if interval:
        low, high = (_place(end, scale) for end in interval)
        marks.append(f'<path class="whisker" d="M{low},{middle}H{high}M{low},5V11M{high},5V11"/>')
    if baseline is not None:
        x = _place(baseline, scale)
        marks.append(f'<line class="other" x1="{x}" y1="0" x2="{x}" y2="{height}"/>')
    return (
        f'<svg class="chart wide" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'preserveAspectRatio="none" role="img" aria-label="{label}">{"".join(marks)}</svg>'
    )


def draw_calibration(bins: Sequence[Mapping[str, Any]]) -> str:
    """Return the share of exact lines over mean confidence, a dot for each of the bins; all have lines.

    The area of a dot grows with its number of lines; on the dashed diagonal confidence can be believed.
    """
    size, end = DIAGRAM_SIZE, DIAGRAM_SIZE - _MARGIN
    length = end - _TOP
    most = max((found["lines"] for found in bins), default=1)
    points = [
        (
            _MARGIN + found["mean_confidence"] * length,
            end - found["exact_share"] * length,
            max(2.0, _MAX_RADIUS * math.sqrt(found["lines"] / most)),
            found["lines"],
        )
        for found in bins
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, *_ in points)
    dots = "".join(
        f'<circle class="bar" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
        f"<title>{lines:,} lines</title></circle>"
        for x, y, radius, lines in points
    )
    ticks = "".join(
        f'<text x="{_MARGIN + share * length}" y="{end + 14}" text-anchor="middle">{share:g}</text>'
        f'<text x="{_MARGIN - 6}" y="{end - share * length + 4}" text-anchor="end">{share:g}</text>'
        for share in (0, 0.5, 1)
    )
    far = _MARGIN + length
    return (
        f'<svg class="chart" width="{size}" height="{size}" viewBox="0 0 {size} {size}" role="img" '
        'aria-label="share of exact lines over mean confidence">'
        f'<path class="axis" d="M{_MARGIN},{_TOP}V{end}H{far}"/>'
        f'<line class="ideal" x1="{_MARGIN}" y1="{end}" x2="{far}" y2="{_TOP}"/>'
        f'<polyline class="path" points="{path}"/>{dots}{ticks}'
        f'<text x="{(_MARGIN + far) / 2}" y="{size - 6}" text-anchor="middle">mean confidence</text>'
        f'<text x="10" y="{end / 2}" text-anchor="middle" transform="rotate(-90 10 {end / 2})">'
        "exact lines</text></svg>"
    )


def _place(rate: float, scale: float) -> float:
    """Return how far from the left a rate lies, in pixels; what is beyond the scale lies at its end."""
    return round(min(max(rate / scale if scale else 0.0, 0.0), 1.0) * (BAR_SIZE[0] - 2) + 1, 1)

"""The flags of render_lines that bring synthetic lines nearer to real ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ocr_ray.render.style import LIMITS, MIN_CONTRAST

MIN_DISTANCE = 0.1
"""A flag is given for what differs by at least this Kolmogorov-Smirnov distance, which is from 0 to 1."""
MEASURED_STYLES = {"text_height_px": "text_height_px", "ink_grey": "ink", "paper_grey": "paper"}
"""Measures of images with the ranges of the style that set them."""
ENDS = (0.05, 0.95)
"""The quantiles of real lines that become the ends of a range."""


def measure_distance(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the Kolmogorov-Smirnov distance: how far two distributions are apart at most."""
    values = np.sort(np.concatenate([first, second]))
    shares = [
        np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (first, second)
    ]
    return float(np.abs(shares[0] - shares[1]).max())


def find_nearer_flags(
    real: Mapping[str, Sequence[float]],
    synthetic: Mapping[str, Sequence[float]],
    styles: Sequence[Mapping[str, Any]],
    *,
    real_uri: str,
) -> dict[str, Any]:
    """Return flags by name, empty if nothing differs much.

    `real` and `synthetic` are the values of each measure, `styles` those that the synthetic lines were drawn
    with. What is measured is not what the style says: the blur thins ink, letters without ascenders are
    lower. So a range is that of the real lines, corrected as the synthetic lines differ from their styles.
    """
    flags: dict[str, Any] = {}
    if measure_distance(real["length"], synthetic["length"]) >= MIN_DISTANCE:
        flags["lengths-like"] = real_uri
    ranges: dict[str, tuple[int, int]] = {}
    for measure, name in MEASURED_STYLES.items():
        if len(styles) < len(synthetic[measure]):  # crops, or lines of `--style plain`
            break
        asked = np.array([style[name] for style in styles], float)
        ends = np.quantile(real[measure], ENDS)
        if name == "text_height_px":
            ends = ends / np.median(np.array(synthetic[measure]) / asked)
        else:
            ends = ends - np.median(np.array(synthetic[measure]) - asked)
        low, high = LIMITS[name]
        ranges[name] = (round(float(np.clip(ends[0], low, high))), round(float(np.clip(ends[1], low, high))))
        if measure_distance(real[measure], synthetic[measure]) >= MIN_DISTANCE:
            flags[f"style.{name.replace('_', '-')}"] = ranges[name]
    if flags.keys() & {"style.ink", "style.paper"}:  # which depend on each other
        paper = ranges["paper"]
        ink_limit = max(0, paper[0] - MIN_CONTRAST)
        flags["style.ink"] = (min(ranges["ink"][0], ink_limit), min(ranges["ink"][1], ink_limit))
        flags["style.paper"] = (max(paper[0], MIN_CONTRAST), max(paper[1], MIN_CONTRAST))
    return flags

"""Two models side by side in the report: each rate of both, how far they lie apart, and how sure that is."""

from collections.abc import Mapping
from typing import Any

from ocr_ray.evaluation.report_charts import draw_bar
from ocr_ray.evaluation.report_tables import (
    Cell,
    draw_table,
    show_name,
    show_percent,
    show_points,
    show_text,
    show_value,
)

MAX_CHANCE = 0.05
"""A difference is marked as real below this p-value, in slices below this q-value."""
_HIGHER_IS_BETTER = ("exact_match", "character_accuracy")


def draw_compared_headline(baseline: Mapping[str, Any], rates: Mapping[str, str]) -> str:
    """Return the rates of both models over the lines that both read."""
    overall = baseline.get("overall") or {}
    heads = [
        ("", False),
        ("here", True),
        ("baseline", True),
        ("difference, points", True),
        ("95 % interval", True),
    ]
    rows = []
    for rate, title in rates.items():
        if found := overall.get(rate):
            low, high = found.get("low"), found.get("high")
            interval = "" if low is None or high is None else f"{show_points(low)} to {show_points(high)}"
            rows.append(
                [
                    Cell(title, title, is_number=False),
                    *_make_pair(found),
                    Cell(show_mark(rate, found), found.get("difference")),
                    Cell(interval, low),
                ]
            )
    if not rows:
        return ""
    lines = ", ".join(
        f"{show_value('lines', number)} {show_name(name)}"
        for name, number in (baseline.get("lines") or {}).items()
    )
    lines = f"Lines: {lines}." if lines else ""
    return (
        f"<h3>Beside the baseline</h3>{draw_table(heads, rows)}"
        f'<p class="faint">{lines}</p>'
        '<p class="faint">Paired bootstrap over the pages that both read. <b>★</b> marks a difference that '
        "is hardly chance: p below 0.05, and in slices, of which some differ by chance, a false discovery "
        "rate below 0.05 (Benjamini and Hochberg).</p>"
    )


def draw_compared_family(entries: Mapping[str, Any]) -> str:
    """Return the CER and the exact lines of both models by slice; the orange tick is the baseline's CER."""
    pairs = [entry.get("cer") or {} for entry in entries.values()]
    rates = [rate for pair in pairs for rate in (pair.get("here"), pair.get("baseline")) if rate is not None]
    scale = max(rates, default=0.0)
    if all(pair.get("baseline") is None for pair in pairs):
        return ""
    heads = [("slice", False), ("", False), ("CER", True), ("baseline", True), ("points", True)]
    heads += [("exact", True), ("baseline", True), ("points", True), ("lines", True)]
    rows = []
    for (name, entry), pair in zip(entries.items(), pairs, strict=True):
        exact = entry.get("exact_match") or {}
        bar = draw_bar(pair.get("here"), None, scale=scale, baseline=pair.get("baseline"))
        rows.append(
            [
                Cell(show_text(name), name, is_number=False),
                Cell(bar, pair.get("here"), is_number=False),
                *_make_pair(pair),
                Cell(show_mark("cer", pair), pair.get("difference")),
                *_make_pair(exact),
                Cell(show_mark("exact_match", exact), exact.get("difference")),
                Cell(show_value("lines", entry.get("lines")), entry.get("lines")),
            ]
        )
    key = '<span class="key">The tick is the baseline.</span>'
    return (
        f"<h3>Beside the baseline</h3>{draw_table(heads, rows)}"
        f'<p class="faint">Bars: CER from 0 to {show_percent(scale)}. {key}</p>'
    )


def show_mark(rate: str, found: Mapping[str, Any]) -> str:
    """Return a difference in points, whether it is better or worse, and a star where it is hardly chance."""
    difference = found.get("difference")
    if difference is None:
        return "–"
    chance = found.get("q_value", found.get("p_value"))
    is_sure = chance is not None and chance < MAX_CHANCE
    is_better = (difference > 0) == (rate in _HIGHER_IS_BETTER)
    word = "same" if not difference else "better" if is_better else "worse"
    title = "" if chance is None else f' title="p {found["p_value"]:.3g}, q {chance:.3g}"'
    star = " ★" if is_sure else ""
    kind = f"{word} sure" if is_sure else ""
    return f'<span class="{kind}"{title}>{show_points(difference)}<br><small>{word}{star}</small></span>'


def _make_pair(found: Mapping[str, Any]) -> list[Cell]:
    return [Cell(show_percent(found.get(name)), found.get(name)) for name in ("here", "baseline")]

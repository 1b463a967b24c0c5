"""Two models side by side in the report: each rate of both, how far they lie apart, and how sure that is."""

from collections.abc import Mapping
from typing import Any

from ocr_ray.evaluation.html.charts import draw_bar, find_scale
from ocr_ray.evaluation.html.tables import (
    Cell,
    Head,
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


def draw_compared_headline(baseline: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """Return the rates of both models over the lines that both read; of each rate its title."""
    overall = baseline.get("overall") or {}
    heads = [Head("", is_number=False), Head("here"), Head("baseline"), Head("points"), Head("95 % interval")]
    rows = []
    for rate, title in titles.items():
        found = overall.get(rate) or {}
        low, high = found.get("low"), found.get("high")
        interval = "" if low is None or high is None else f"{show_points(low)} to {show_points(high)}"
        if found:
            rows.append([Cell(title, title), *_compare(rate, found), Cell(interval, low)])
    model = (baseline.get("config") or {}).get("model_uri")
    lines = ", ".join(
        f"{show_value('', number)} {show_name(name)}"
        for name, number in (baseline.get("lines") or {}).items()
    )
    return (
        f"<h3>Beside the baseline{f' {show_text(model)}' if model else ''}</h3>{draw_table(heads, rows)}"
        f'<p class="faint">{f"Lines: {lines}. " if lines else ""}Paired bootstrap over the pages that both '
        f"read. <b>★</b> marks a difference that is hardly chance: p below {MAX_CHANCE}; in slices, of which "
        f"some differ by chance, a false discovery rate below {MAX_CHANCE} (Benjamini and Hochberg).</p>"
    )


def draw_compared_family(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the CER and the exact lines of both models by slice; nothing if the baseline has no slices."""
    pairs = [entry.get("cer") or {} for entry in entries.values()]
    if all(pair.get("baseline") is None for pair in pairs):
        return ""
    scale = find_scale(pair.get(side) for pair in pairs for side in ("here", "baseline"))
    heads = [Head("slice", is_number=False), Head("", is_number=False)]
    heads += [Head(name) for name in ("CER", "baseline", "points", "exact", "baseline", "points", "lines")]
    rows = []
    for (name, entry), pair in zip(entries.items(), pairs, strict=True):
        bar = draw_bar(pair.get("here"), None, scale=scale, baseline=pair.get("baseline"))
        rows.append(
            [
                Cell(show_text(name), name),
                Cell(bar, pair.get("here")),
                *_compare("cer", pair),
                *_compare("exact_match", entry.get("exact_match") or {}),
                Cell(show_value("lines", entry.get("lines")), entry.get("lines")),
            ]
        )
    return (
        f"<h3>Beside the baseline</h3>{draw_table(heads, rows)}"
        f'<p class="faint">Bars: CER from 0 to {show_percent(scale)}; '
        '<span class="key">the tick is the baseline</span>.</p>'
    )


def show_mark(rate: str, found: Mapping[str, Any]) -> str:
    """Return a difference in points, whether it is better or worse, and a star where it is hardly chance."""
    difference = found.get("difference")
    if difference is None:
        return "–"
    chances = {name: found[f"{name}_value"] for name in "pq" if found.get(f"{name}_value") is not None}
    is_sure = chances.get("q", chances.get("p", 1.0)) < MAX_CHANCE
    word = "same" if not difference else "better" if _is_better(rate, difference) else "worse"
    title = ", ".join(f"{name} {chance:.3g}" for name, chance in chances.items())
    return (
        f'<span class="{f"{word} sure" if is_sure else ""}" title="{title}">{show_points(difference)}'
        f"<br><small>{word}{' ★' if is_sure else ''}</small></span>"
    )


def _is_better(rate: str, difference: float) -> bool:
    return (difference > 0) == (rate in _HIGHER_IS_BETTER)


def _compare(rate: str, found: Mapping[str, Any]) -> list[Cell]:
    """Return both models' rate and their difference."""
    sides = [Cell(show_percent(found.get(side)), found.get(side)) for side in ("here", "baseline")]
    return [*sides, Cell(show_mark(rate, found), found.get("difference"))]

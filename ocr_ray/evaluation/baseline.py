"""Two models side by side on the lines that both read, and whether the difference is chance."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from ocr_ray.evaluation.alignment import Alignment
from ocr_ray.evaluation.bootstrap import (
    RATE_PARTS,
    group_rows,
    number_clusters,
    rate_difference,
    rate_parts,
    sum_clusters,
)
from ocr_ray.evaluation.readings import Reading
from ocr_ray.evaluation.slices import LINE_FAMILIES, Knowledge
from ocr_ray.metrics import Counts, count_lines, divide, normalise

_NOTHING_KNOWN = Knowledge()
_KEYS = ("dataset", "line_id")
_FACTS = ("source", "font", "page_id", "page_order", "width_px", "height_px", "markup")
_NO_FIGURES = ("overall", "baseline", "config", "hashes", "confusions", "unknown_lines")
"""Keys of a report that are compared elsewhere, or not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedLines:
    """The lines that two models read, with the same truth; row n of everything is the same line."""

    counts: Counts
    """N, `metrics.COLUMNS`."""
    baseline_counts: Counts
    clusters: Counts
    """The number of each line's page."""
    names: dict[str, list[str | None]]
    """Of each family the name of each line's slice."""
    left_out: dict[str, int]
    """How many lines only one of them read, or with another truth."""

    def compare(self, rows: Sequence[int]) -> dict[str, Any]:
        """Return the lines there and each rate of both models, with the difference's interval and p-value."""
        chosen = np.asarray(rows, dtype=np.int64)
        here, there = (
            sum_clusters(counts[chosen], self.clusters[chosen])
            for counts in (self.counts, self.baseline_counts)
        )
        rates = {}
        for rate in RATE_PARTS:
            mine, theirs = rate_parts(here, rate), rate_parts(there, rate)
            ends = {"here": divide(*mine.sum(axis=0).tolist()), "baseline": divide(*theirs.sum(axis=0).tolist())}
            rates[rate] = {**ends, **asdict(rate_difference(mine, theirs))}
        return {"lines": len(chosen), **rates}

    def compare_family(self, family: str) -> dict[str, dict[str, Any]]:
        """Return the comparison of each slice of a family, with q-values over the family."""
        entries = {name: self.compare(rows) for name, rows in group_rows(self.names[family]).items()}
        for rate in RATE_PARTS:
            known = [entry[rate] for entry in entries.values() if entry[rate]["p_value"] is not None]
            q_values = find_q_values([found["p_value"] for found in known])
            for found, q_value in zip(known, q_values, strict=True):
                found["q_value"] = q_value
        return entries


def compare_reports(
    report: Mapping[str, Any],
    baseline_report: Mapping[str, Any],
    *,
    predictions: Iterable[pa.Table],
    baseline_predictions: Iterable[pa.Table],
    known: Knowledge = _NOTHING_KNOWN,
) -> dict[str, Any]:
    """Return what the report keeps under `baseline`: both models by slice, with significance.

    `overall` and the families of whole lines are counted anew over the lines that both models read; each rate
    has `here`, `baseline`, `difference`, `low`, `high` and `p_value`, and in slices `q_value`. Families of
    characters, such as thirds, are taken from both reports over all their lines, without significance;
    `figures` are the baseline's own, such as its context dependence.
    """
    paired = pair_lines(predictions, baseline_predictions, known)
    others = [name for name in report if name.startswith("by_") and name not in LINE_FAMILIES]
    figures = [
        name for name in baseline_report if not name.startswith("by_") and name not in _NO_FIGURES
    ]
    return {
        "config": baseline_report.get("config", {}),
        "hashes": baseline_report.get("hashes", {}),
        "lines": {"both": len(paired.counts), **paired.left_out},
        "overall": paired.compare(range(len(paired.counts))),
        **{family: paired.compare_family(family) for family in paired.names},
        **{name: put_beside(report[name], baseline_report.get(name, {})) for name in others},
        "figures": {name: baseline_report[name] for name in figures},
    }


def pair_lines(
    predictions: Iterable[pa.Table],
    baseline_predictions: Iterable[pa.Table],
    known: Knowledge = _NOTHING_KNOWN,
) -> PairedLines:
    """Return the lines of both, by dataset and line_id, whose truth is the same in canonical form.

    Holds the texts of the baseline, about 300 bytes a line, and nothing of the rest but counts and names;
    about 0.4 ms a line.
    """
    waiting = {key: pair for table in baseline_predictions for key, *pair in _zip_rows(table)}
    num_theirs = len(waiting)
    counts, names = [_count([], [])], {family: list[str | None]() for family in LINE_FAMILIES}
    baseline_counts, pages = [_count([], [])], [_select_pages(None, [])]
    left_out = {"only_here": 0, "only_baseline": num_theirs, "other_truth": 0}
    for table in predictions:
        rows, readings = [], []
        for row, (key, truth, _) in enumerate(_zip_rows(table)):
            theirs = waiting.pop(key, None)
            left_out["only_here"] += theirs is None
            left_out["only_baseline"] -= theirs is not None
            if theirs is not None and normalise(theirs[0]) == normalise(truth):
                rows.append(row)
                readings.append(theirs[1])
            else:
                left_out["other_truth"] += theirs is not None
        kept = table.take(pa.array(rows, pa.int64()))
        truths = kept["text"].to_pylist()
        counts.append(count_lines(truths, kept["prediction"].to_pylist()))
        baseline_counts.append(count_lines(truths, readings))
        pages.append(kept)
        for line in _read_facts(kept):
            for family, fact in LINE_FAMILIES.items():
                names[family].append(fact(line, known))
    return PairedLines()

"""Two models side by side on the lines that both read, and whether the difference is chance."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ocr_ray.evaluation.bootstrap import (
    RATE_PARTS,
    IntArray,
    count_lines,
    number_clusters,
    rate_difference,
    rate_parts,
    sum_clusters,
)
from ocr_ray.evaluation.report import NO_VALUE
from ocr_ray.text.canonical import canonical

Family = Callable[[Mapping[str, Any]], str | None]
"""From a row of the predictions to its slice; None: the row is in no slice of the family."""

_KEYS = ["dataset", "line_id"]
_READ = [*_KEYS, "text", "prediction"]


def _by_column(column: str) -> Family:
    def find_slice(row: Mapping[str, Any]) -> str | None:
        return NO_VALUE if row[column] is None else str(row[column])

    return find_slice


COLUMN_FAMILIES: Mapping[str, Family] = {
    f"by_{column}": _by_column(column) for column in ("dataset", "source", "font")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedLines:
    """The lines that two models read, with the same truth; row n of everything is the same line."""

    rows: list[dict[str, Any]]
    """Without the prediction; of the first model's table, in its order."""
    counts: IntArray
    """N, len(COUNTS)."""
    baseline_counts: IntArray
    clusters: IntArray
    """The number of each line's page."""
    left_out: dict[str, int]
    """How many lines only one of them read, or with another truth."""

    def compare(self, places: Sequence[int]) -> dict[str, Any]:
        """Return the lines there and each rate of both models, with the difference's interval and p-value."""
        chosen = np.asarray(places, dtype=np.int64)
        here, there = (
            sum_clusters(counts[chosen], self.clusters[chosen])
            for counts in (self.counts, self.baseline_counts)
        )
        rates = {
            rate: {
                "here": _rate_of(rate_parts(here, rate)),
                "baseline": _rate_of(rate_parts(there, rate)),
                **asdict(rate_difference(rate_parts(here, rate), rate_parts(there, rate))),
            }
            for rate in RATE_PARTS
        }
        return {"lines": len(chosen), **rates}


def compare_reports(
    report: Mapping[str, Any],
    baseline_report: Mapping[str, Any],
    *,
    predictions: Iterable[pa.Table],
    baseline_predictions: Iterable[pa.Table],
    families: Mapping[str, Family] = COLUMN_FAMILIES,
) -> dict[str, Any]:
    """Return what the report keeps under `baseline`: both models by slice, with significance.

    `overall` and each of `families` are counted anew over the lines that both models read, by `_compare`'s
    rates with `here`, `baseline`, `difference`, `low`, `high` and `p_value`, in slices with `q_value` too.
    Families of the reports that are no property of a line, such as thirds, are taken from both reports over
    all their lines, without significance.
    """
    paired = pair_lines(predictions, baseline_predictions)
    slices = {name: compare_family(paired, family) for name, family in families.items()}
    others = [
        name
        for name, entries in report.items()
        if name.startswith("by_") and name not in slices and isinstance(entries, Mapping)
    ]
    return {
        "config": baseline_report.get("config", {}),
        "hashes": baseline_report.get("hashes", {}),
        "lines": {"both": len(paired.rows), **paired.left_out},
        "overall": paired.compare(range(len(paired.rows))),
        **slices,
        **{name: put_beside(report[name], baseline_report.get(name, {})) for name in others},
    }


def pair_lines(predictions: Iterable[pa.Table], baseline_predictions: Iterable[pa.Table]) -> PairedLines:
    """Return the lines of both, by dataset and line_id, whose truth is the same in canonical form."""
    tables = list(predictions)
    columns = [name for name in (tables[0].column_names if tables else _READ) if name != "prediction"]
    mine = _concatenate(tables, [*columns, "prediction"])
    theirs = _concatenate(list(baseline_predictions), _READ)
    places = {key: place for place, key in enumerate(_zip_columns(theirs, _KEYS))}
    truths = theirs["text"].to_pylist()
    found = [(place, places.get(key)) for place, key in enumerate(_zip_columns(mine, _KEYS))]
    common = [(here, there) for here, there in found if there is not None]
    texts = mine["text"].to_pylist()
    same = [(here, there) for here, there in common if canonical(texts[here]) == canonical(truths[there])]
    kept = mine.take(pa.array([here for here, _ in same], type=pa.int64()))
    matched = theirs.take(pa.array([there for _, there in same], type=pa.int64()))
    kept_truths = kept["text"].to_pylist()
    return PairedLines(
        rows=kept.select(columns).to_pylist(),
        counts=count_lines(kept_truths, kept["prediction"].to_pylist()),
        baseline_counts=count_lines(kept_truths, matched["prediction"].to_pylist()),
        clusters=_number_pages(kept),
        left_out={
            "only_here": mine.num_rows - len(common),
            "only_baseline": theirs.num_rows - len({there for _, there in common}),
            "other_truth": len(common) - len(same),
        },
    )


def compare_family(paired: PairedLines, family: Family) -> dict[str, dict[str, Any]]:
    """Return the comparison of each slice of a family, with q-values over the family."""
    places = defaultdict(list)
    for place, row in enumerate(paired.rows):
        if (name := family(row)) is not None:
            places[name].append(place)
    entries = {name: paired.compare(places[name]) for name in sorted(places)}
    for rate in RATE_PARTS:
        known = [entry[rate] for entry in entries.values() if entry[rate]["p_value"] is not None]
        q_values = find_q_values([found["p_value"] for found in known])
        for found, q_value in zip(known, q_values, strict=True):
            found["q_value"] = q_value
    return entries


def find_q_values(p_values: Sequence[float]) -> list[float]:
    """Return the share of chance findings expected if this one and all surer ones are called real.

    Benjamini and Hochberg, J. R. Statist. Soc. B 57 (1995): with twenty slices one p-value below 0.05 is
    what chance gives.
    """
    q_values = [1.0] * len(p_values)
    lowest = 1.0
    descending = sorted(range(len(p_values)), key=lambda place: -p_values[place])
    for rank, place in zip(range(len(p_values), 0, -1), descending, strict=True):
        lowest = min(lowest, p_values[place] * len(p_values) / rank)
        q_values[place] = lowest
    return q_values


def put_beside(entries: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the rates of two reports' entries side by side; None where a report lacks the slice."""
    return {
        name: {rate: _subtract_rates(entry.get(rate), others.get(name, {}).get(rate)) for rate in RATE_PARTS}
        for name, entry in entries.items()
        if isinstance(entry, Mapping)
    }


def _subtract_rates(here: float | None, there: float | None) -> dict[str, float | None]:
    difference = None if here is None or there is None else here - there
    return {"here": here, "baseline": there, "difference": difference, "p_value": None}


def _rate_of(pages: IntArray) -> float | None:
    over, under = pages.sum(axis=0).tolist()
    return over / under if under else None


def _number_pages(table: pa.Table) -> IntArray:
    if "page_id" not in table.column_names:
        return np.arange(table.num_rows)
    return number_clusters(table["dataset"], table["page_id"])


def _concatenate(tables: Sequence[pa.Table], columns: Sequence[str]) -> pa.Table:
    if not tables:
        return pa.table({name: pa.array([], type=pa.string()) for name in columns})
    return pa.concat_tables([table.select(columns) for table in tables])


def _zip_columns(table: pa.Table, names: Sequence[str]) -> Iterable[tuple[Any, ...]]:
    return zip(*(table[name].to_pylist() for name in names), strict=True)

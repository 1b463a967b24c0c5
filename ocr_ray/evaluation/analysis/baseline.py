"""Two models side by side on the lines that both read, and whether the difference is chance."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa

from ocr_ray.evaluation.alignment import Alignment
from ocr_ray.evaluation.analysis.bootstrap import (
    RATE_PARTS,
    group_rows,
    number_clusters,
    rate_difference,
    rate_parts,
    sum_clusters,
)
from ocr_ray.evaluation.analysis.slices import LINE_FAMILIES, Knowledge
from ocr_ray.evaluation.readings import Reading
from ocr_ray.metrics import Counts, count_lines, divide, normalise

_NOTHING_KNOWN = Knowledge()
_Key = tuple[str, str]
"""Dataset and line_id."""
_READ = ("dataset", "line_id", "text", "prediction")
_PAGES = pa.schema([("dataset", pa.string()), ("page_id", pa.string())])
_FACTS = tuple(field.name for field in fields(Reading) if field.name != "alignment")
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
            ends = {
                "here": divide(*mine.sum(axis=0).tolist()),
                "baseline": divide(*theirs.sum(axis=0).tolist()),
            }
            rates[rate] = {**ends, **asdict(rate_difference(mine, theirs))}
        return {"lines": len(chosen), **rates}

    def compare_family(self, family: str, order: Collection[str] = ()) -> dict[str, dict[str, Any]]:
        """Return the comparison of each slice of a family, with q-values over the family.

        Slices stand in this order, others behind them.
        """
        rows = group_rows(self.names[family])
        names = [*(name for name in order if name in rows), *(name for name in rows if name not in order)]
        entries = {name: self.compare(rows[name]) for name in names}
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
    figures = [name for name in baseline_report if not name.startswith("by_") and name not in _NO_FIGURES]
    return {
        "config": baseline_report.get("config", {}),
        "hashes": baseline_report.get("hashes", {}),
        "lines": {"both": len(paired.counts), **paired.left_out},
        "overall": paired.compare(range(len(paired.counts))),
        **{family: paired.compare_family(family, report.get(family, ())) for family in paired.names},
        **{name: put_beside(report[name], baseline_report.get(name, {})) for name in others},
        "figures": {name: baseline_report[name] for name in figures},
    }


def pair_lines(
    predictions: Iterable[pa.Table],
    baseline_predictions: Iterable[pa.Table],
    known: Knowledge = _NOTHING_KNOWN,
) -> PairedLines:
    """Return the lines of both, by dataset and line_id, whose truth is the same in canonical form.

    Holds the baseline's texts until they are paired, and of each line its counts and the names of its slices.
    """
    waiting = {key: texts for table in baseline_predictions for key, *texts in _zip_rows(table)}
    left_out = {"only_here": 0, "other_truth": 0}
    # An empty first part keeps the shapes where there are no lines.
    counts = [count_lines([], [])]
    baseline_counts = [count_lines([], [])]
    pages: list[pa.Table] = [_PAGES.empty_table()]
    names: dict[str, list[str | None]] = {family: [] for family in LINE_FAMILIES}
    for table in predictions:
        rows, readings = _find_pairs(table, waiting, left_out)
        kept = table.take(pa.array(rows, pa.int64()))
        truths = kept["text"].to_pylist()
        counts.append(count_lines(truths, kept["prediction"].to_pylist()))
        baseline_counts.append(count_lines(truths, readings))
        pages.append(kept.select(_PAGES.names))
        for line in _read_facts(kept):
            for family, fact in LINE_FAMILIES.items():
                names[family].append(fact(line, known))
    lines = pa.concat_tables(pages)
    return PairedLines(
        counts=np.concatenate(counts),
        baseline_counts=np.concatenate(baseline_counts),
        clusters=number_clusters(lines["dataset"], lines["page_id"]),
        names=names,
        left_out={**left_out, "only_baseline": len(waiting)},
    )


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
    """Return the rates of two reports' entries side by side; None where the baseline lacks the slice.

    `lines` are those of the first report.
    """
    return {
        name: {
            "lines": entry.get("lines"),
            **{rate: _pair_rates(entry.get(rate), others.get(name, {}).get(rate)) for rate in RATE_PARTS},
        }
        for name, entry in entries.items()
    }


def _pair_rates(here: float | None, there: float | None) -> dict[str, float | None]:
    difference = None if here is None or there is None else here - there
    return {"here": here, "baseline": there, "difference": difference, "p_value": None}


def _find_pairs(
    table: pa.Table, waiting: dict[_Key, list[str]], left_out: dict[str, int]
) -> tuple[list[int], list[str]]:
    """Return the rows whose line is waiting with the same truth, and its readings there; takes it away."""
    rows, readings = [], []
    for row, (key, truth, _) in enumerate(_zip_rows(table)):
        theirs = waiting.pop(key, None)
        if theirs is None:
            left_out["only_here"] += 1
        elif normalise(theirs[0]) != normalise(truth):
            left_out["other_truth"] += 1
        else:
            rows.append(row)
            readings.append(theirs[1])
    return rows, readings


def _zip_rows(table: pa.Table) -> Iterable[tuple[_Key, str, str]]:
    datasets, line_ids, *texts = (table[name].to_pylist() for name in _READ)
    return zip(zip(datasets, line_ids, strict=True), *texts, strict=True)


def _read_facts(table: pa.Table) -> Iterable[Reading]:
    """Yield the lines with their truth, not aligned: no family of whole lines asks for more."""
    facts = [name for name in _FACTS if name in table.column_names]
    truths = map(normalise, table["text"].to_pylist())
    for truth, *values in zip(truths, *(table[name].to_pylist() for name in facts), strict=True):
        yield Reading(alignment=Alignment(truth, "", ()), **dict(zip(facts, values, strict=True)))

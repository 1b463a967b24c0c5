"""Comparison of two models on the lines that both read, with significance of the differences."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ocr_ray.evaluation.analysis.bootstrap import (
    RATES,
    group_rows,
    number_clusters,
    rate_difference,
    rate_terms,
    sum_clusters,
)
from ocr_ray.evaluation.analysis.slices import LINE_FAMILIES, SliceInputs, name_slices
from ocr_ray.evaluation.readings import read_references
from ocr_ray.metrics import Counts, count_lines, divide, normalise

_NO_INPUTS = SliceInputs()
_Key = tuple[str, str]
"""Dataset and line_id."""
_TEXT_COLUMNS = ("dataset", "line_id", "text", "prediction")
_PAGES = pa.schema([("dataset", pa.string()), ("page_id", pa.string())])
_NOT_COPIED = ("overall", "baseline", "config", "hashes", "confusions", "unknown_lines")
"""Keys of the baseline's report that are compared or copied elsewhere, or left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedLines:
    """The lines that two models read with the same reference; row n of every field is the same line."""

    counts: Counts
    """Shape (N, `metrics.COLUMNS`)."""
    baseline_counts: Counts
    clusters: Counts
    """The page number of each line."""
    names: dict[str, list[str | None]]
    """The slice of each line by family, None if unknown."""
    left_out: dict[str, int]
    """Numbers of lines that only one model read, or with another reference."""

    def compare(self, rows: Sequence[int]) -> dict[str, Any]:
        """Return the rates of both models over these rows, with interval and p-value of each difference."""
        selected = np.asarray(rows, dtype=np.int64)
        pages, baseline_pages = (
            sum_clusters(counts[selected], self.clusters[selected])
            for counts in (self.counts, self.baseline_counts)
        )
        rates = {}
        for rate in RATES:
            terms, baseline_terms = rate_terms(pages, rate), rate_terms(baseline_pages, rate)
            rates[rate] = {
                "here": divide(*terms.sum(axis=0).tolist()),
                "baseline": divide(*baseline_terms.sum(axis=0).tolist()),
                **asdict(rate_difference(terms, baseline_terms)),
            }
        return {"lines": len(selected), **rates}

    def compare_family(self, family: str, order: Collection[str] = ()) -> dict[str, dict[str, Any]]:
        """Return the comparison of each slice of a family, with q-values over the family.

        Slices come in the given order, then the others.
        """
        rows = group_rows(self.names[family])
        names = [*(name for name in order if name in rows), *(name for name in rows if name not in order)]
        entries = {name: self.compare(rows[name]) for name in names}
        for rate in RATES:
            tested = [entry[rate] for entry in entries.values() if entry[rate]["p_value"] is not None]
            q_values = find_q_values([comparison["p_value"] for comparison in tested])
            for comparison, q_value in zip(tested, q_values, strict=True):
                comparison["q_value"] = q_value
        return entries


def compare_reports(
    report: Mapping[str, Any],
    baseline_report: Mapping[str, Any],
    *,
    predictions: Iterable[pa.Table],
    baseline_predictions: Iterable[pa.Table],
    inputs: SliceInputs = _NO_INPUTS,
) -> dict[str, Any]:
    """Return the value of `baseline` in the report: both models by slice, with significance.

    `overall` and the families of whole lines are counted again over the lines that both models read; each
    rate has `here`, `baseline`, `difference`, `low`, `high` and `p_value`, and in slices `q_value`. Families
    of characters, such as thirds, are taken from both reports over all their lines, without significance.
    `figures` holds the other metrics of the baseline, such as its context dependence.
    """
    paired = pair_lines(predictions, baseline_predictions, inputs)
    others = [name for name in report if name.startswith("by_") and name not in LINE_FAMILIES]
    copied = [name for name in baseline_report if not name.startswith("by_") and name not in _NOT_COPIED]
    return {
        "config": baseline_report.get("config", {}),
        "hashes": baseline_report.get("hashes", {}),
        "lines": {"both": len(paired.counts), **paired.left_out},
        "overall": paired.compare(range(len(paired.counts))),
        **{family: paired.compare_family(family, report.get(family, ())) for family in paired.names},
        **{name: compare_entries(report[name], baseline_report.get(name, {})) for name in others},
        "figures": {name: baseline_report[name] for name in copied},
    }


def pair_lines(
    predictions: Iterable[pa.Table],
    baseline_predictions: Iterable[pa.Table],
    inputs: SliceInputs = _NO_INPUTS,
) -> PairedLines:
    """Return the lines that both models read with the same canonical reference, by dataset and line_id.

    Holds the texts of the baseline until they are paired, and the counts and slices of each line.
    """
    unpaired = {key: texts for table in baseline_predictions for key, *texts in _zip_rows(table)}
    left_out = {"only_here": 0, "other_truth": 0}
    # An empty first part keeps the shapes if there are no lines.
    counts = [count_lines([], [])]
    baseline_counts = [count_lines([], [])]
    pages: list[pa.Table] = [_PAGES.empty_table()]
    names: dict[str, list[str | None]] = {family: [] for family in LINE_FAMILIES}
    for table in predictions:
        rows, baseline_texts = _take_pairs(table, unpaired, left_out)
        kept = table.take(pa.array(rows, pa.int64()))
        references = kept["text"].to_pylist()
        counts.append(count_lines(references, kept["prediction"].to_pylist()))
        baseline_counts.append(count_lines(references, baseline_texts))
        pages.append(kept.select(_PAGES.names))
        for family, slice_names in name_slices(read_references(kept), inputs).items():
            names[family] += slice_names
    lines = pa.concat_tables(pages)
    return PairedLines(
        counts=np.concatenate(counts),
        baseline_counts=np.concatenate(baseline_counts),
        clusters=number_clusters(lines["dataset"], lines["page_id"]),
        names=names,
        left_out={**left_out, "only_baseline": len(unpaired)},
    )


def find_q_values(p_values: Sequence[float]) -> list[float]:
    """Return the false discovery rate at which each p-value is significant.

    Benjamini and Hochberg, J. R. Statist. Soc. B 57 (1995): of twenty slices without a difference, one has a
    p-value below 0.05 by chance.
    """
    sorted_values, ranks = np.sort(p_values)[::-1], np.arange(len(p_values), 0, -1)
    q_values = np.empty(len(p_values))
    q_values[np.argsort(p_values)[::-1]] = np.minimum.accumulate(sorted_values * len(p_values) / ranks)
    return [float(q_value) for q_value in q_values]


def compare_entries(entries: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the rates of the same slices in two reports; None if the baseline lacks the slice.

    `lines` is that of the first report.
    """
    return {
        name: {
            "lines": entry.get("lines"),
            **{rate: _compare_rates(entry.get(rate), others.get(name, {}).get(rate)) for rate in RATES},
        }
        for name, entry in entries.items()
    }


def _compare_rates(here: float | None, baseline: float | None) -> dict[str, float | None]:
    difference = None if here is None or baseline is None else here - baseline
    return {"here": here, "baseline": baseline, "difference": difference, "p_value": None}


def _take_pairs(
    table: pa.Table, unpaired: dict[_Key, list[str]], left_out: dict[str, int]
) -> tuple[list[int], list[str]]:
    """Return the rows that the baseline read with the same reference, and its predictions for them.

    Removes the lines of the table from `unpaired`, and counts the other rows in `left_out`.
    """
    rows, baseline_texts = [], []
    for row, (key, reference, _) in enumerate(_zip_rows(table)):
        texts = unpaired.pop(key, None)
        if texts is None:
            left_out["only_here"] += 1
        elif normalise(texts[0]) != normalise(reference):
            left_out["other_truth"] += 1
        else:
            rows.append(row)
            baseline_texts.append(texts[1])
    return rows, baseline_texts


def _zip_rows(table: pa.Table) -> Iterable[tuple[_Key, str, str]]:
    datasets, line_ids, *texts = (table[name].to_pylist() for name in _TEXT_COLUMNS)
    return zip(zip(datasets, line_ids, strict=True), *texts, strict=True)

"""What each run reads on each set of lines, and the intervals of an arm over seeds and pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ocr_ray.dataset.lines import WordOrigin
from ocr_ray.evaluation.alignment import third_of
from ocr_ray.evaluation.analysis.bootstrap import (
    INTERVAL_PERCENT,
    number_clusters,
    resample_sums,
    sum_clusters,
)
from ocr_ray.evaluation.analysis.context_dependence import ContextDependence
from ocr_ray.evaluation.readings import Reading, read_table
from ocr_ray.metrics import Counts
from ocr_ray.randomness import keyed_generator


class LineSet(NamedTuple):
    """Lines that all runs are evaluated on."""

    name: str
    label: str
    dataset: str
    source: str | None
    """None: all sources of the dataset."""


SETS = (
    LineSet("problems", "held-out problems", "test", "page"),
    LineSet("spliced", "spliced lines", "test", "spliced"),
    LineSet("boxes", "problems cut into three boxes", "boxes", None),
    LineSet("words", "words without context", "words", None),
)
MEASURES = ("cer", "cer_first", "cer_middle", "cer_last", "overread", "exact_match")
"""Rates: of all characters, of each third of the lines, of lines read beyond their end, of lines without
errors."""
THIRDS = MEASURES[1:4]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMeasures:
    """What one run read."""

    pages: dict[str, Counts]
    """Numerator and denominator of each measure for each page, by set: (pages, 2 x measures)."""
    num_lines: dict[str, int]
    context: dict[str, Any]
    """Context dependence over held-out problems and the lines spliced from their words."""


def measure_run(predictions: pa.Table, word_origins: dict[tuple[str, str], list[WordOrigin]]) -> RunMeasures:
    """Return the measures of a run; `predictions` are those of all sets."""
    context = ContextDependence(word_origins)
    pages, num_lines = {}, {}
    for line_set in SETS:
        table = select_lines(predictions, line_set)
        lines = read_table(table)
        counts = np.array([count_line(line) for line in lines], dtype=np.int64)
        clusters = number_clusters(table["dataset"], table["page_id"])
        pages[line_set.name] = sum_clusters(counts.reshape(len(lines), 2 * len(MEASURES)), clusters)
        num_lines[line_set.name] = len(lines)
        if line_set.dataset == "test":
            context.add(lines)
    return RunMeasures(pages=pages, num_lines=num_lines, context=context.describe())


def select_lines(predictions: pa.Table, line_set: LineSet) -> pa.Table:
    """Return the predictions for the lines of a set."""
    is_chosen = pc.equal(predictions["dataset"], line_set.dataset)
    if line_set.source is not None:
        is_chosen = pc.and_(is_chosen, pc.equal(predictions["source"], line_set.source))
    return predictions.filter(is_chosen)


def count_line(line: Reading) -> list[int]:
    """Return numerator and denominator of each of `MEASURES` for a line."""
    thirds = np.zeros((3, 2), dtype=np.int64)
    length = len(line.reference)
    for step in line.alignment.steps:
        third = third_of(step.anchor, length) if length else 0
        thirds[third] += (step.kind != "equal", step.kind != "insert")
    return [
        *thirds.sum(axis=0).tolist(),
        *thirds.ravel().tolist(),
        *(int(bool(line.alignment.trailing_hallucination)), 1),
        *(int(line.alignment.is_exact), 1),
    ]


class Estimate(NamedTuple):
    """A rate, or the difference of two, with its 95 % interval over seeds and pages."""

    value: float | None
    """None: there are no characters or lines."""
    interval: tuple[float, float] | None
    """None with fewer than two pages."""


def estimate_rate(seeds: Sequence[Counts]) -> Estimate:
    """Return the rate of an arm over all its seeds; each has (pages, 2) with the same pages in one order."""
    return _estimate(seeds, [np.zeros_like(pages) for pages in seeds])


def estimate_difference(seeds: Sequence[Counts], others: Sequence[Counts]) -> Estimate:
    """Return the rate of an arm minus that of another with the same seeds and pages.

    The bootstrap draws seeds and, for all of them, pages with replacement, for both arms together: what is
    hard for both favours neither.
    """
    return _estimate(seeds, others)


def _estimate(seeds: Sequence[Counts], others: Sequence[Counts]) -> Estimate:
    pages = np.concatenate([*seeds, *others], axis=1)
    value = _divide(pages.sum(axis=0)[None].astype(np.float64), np.arange(len(seeds))[None])
    if not value.size:
        return Estimate(None, None)
    sums = resample_sums(pages)
    draws = keyed_generator(0, "bootstrap of seeds", 0).integers(len(seeds), size=(len(sums), len(seeds)))
    rates = _divide(sums, draws)
    if len(pages) < 2 or not rates.size:
        return Estimate(float(value[0]), None)
    low, high = np.percentile(rates, INTERVAL_PERCENT)
    return Estimate(float(value[0]), (float(low), float(high)))


def _divide(sums: Any, draws: Any) -> Any:
    """Return the rates of the drawn seeds minus those of the others; rows without a denominator are left out.

    `sums` has shape (N, 2 arms x seeds x 2), `draws` (N, seeds). An other without any counts has rate 0.
    """
    by_arm = sums.reshape(len(sums), 2, -1, 2)
    drawn = np.take_along_axis(by_arm, draws[:, None, :, None], axis=2).sum(axis=2)
    kept = drawn[drawn[:, 0, 1] > 0]
    return (kept[..., 0] / np.maximum(kept[..., 1], 1)) @ np.array([1.0, -1.0])


def describe_arm(runs: Sequence[RunMeasures], baseline: Sequence[RunMeasures]) -> dict[str, Any]:
    """Return the measures of an arm by set, each with its interval and its difference to `baseline`.

    `runs` are those of its seeds, `baseline` those of pages alone with the same seeds.
    """
    sets: dict[str, Any] = {}
    for line_set in SETS:
        sets[line_set.name] = {}
        for index, measure in enumerate(MEASURES):
            mine, others = (
                [run.pages[line_set.name][:, 2 * index : 2 * index + 2] for run in arm]
                for arm in (runs, baseline)
            )
            difference = estimate_difference(mine, others) if runs is not baseline else None
            sets[line_set.name][measure] = {
                **estimate_rate(mine)._asdict(),
                "by_seed": [estimate_rate([pages]).value for pages in mine],
                "difference": difference._asdict() if difference else None,
            }
        first, last = (
            [run.pages[line_set.name][:, 2 * index : 2 * index + 2] for run in runs] for index in (1, 3)
        )
        sets[line_set.name]["last_minus_first"] = estimate_difference(last, first)._asdict()
    return {"sets": sets, "context": [run.context for run in runs]}

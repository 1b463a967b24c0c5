"""report.html of an experiment: what was found, lines as arms read them, arms by measures, and curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import pyarrow as pa

from ocr_ray.dataset.parts import read_rows
from ocr_ray.dataset.stored_rows import read_footer
from ocr_ray.evaluation.html.examples import Example, MarkedText, Picture, list_ops, make_picture, mark_errors
from ocr_ray.evaluation.inputs import LinesPart
from ocr_ray.evaluation.readings import Reading, read_table
from ocr_ray.experiment.measures import SETS
from ocr_ray.html_page import render_page

NUM_LINES_PER_SET = 2
SHOWN_SETS = ("problems", "spliced", "boxes")
TITLES = {
    "cer": "CER",
    "cer_first": "first third",
    "cer_middle": "middle third",
    "cer_last": "last third",
    "overread": "read beyond the end",
    "exact_match": "exact match",
}
CHART_PX = (220, 110)


class Cell(NamedTuple):
    """A rate in a table."""

    value: str
    interval: str
    kind: str
    """`better` or `worse` than pages alone, or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownLine:
    """A line with the readings of some arms."""

    set_label: str
    picture: Picture | None
    reference: str
    readings: list[tuple[str, list[MarkedText]]]
    """The label of an arm, and what it read in pieces."""


def experiment_html(report: Mapping[str, Any], lines: Sequence[ShownLine]) -> str:
    """Return the page of a report."""
    return render_page(
        "experiment/experiment.html",
        title="What context-free lines change",
        report=report,
        titles=TITLES,
        tables=[_make_table(report, line_set.name) for line_set in SETS],
        context=_list_context(report),
        charts=_make_charts(report),
        lines=lines,
    )


def choose_arms(report: Mapping[str, Any]) -> list[str]:
    """Return the names of pages alone and of the arm with the lowest mean CER on the shown sets."""
    pages, *others = report["arms"]

    def rate(arm: Mapping[str, Any]) -> float:
        return sum(arm["sets"][name]["cer"]["value"] or 0.0 for name in SHOWN_SETS)

    return [pages["name"], *([min(others, key=rate)["name"]] if others else [])]


def choose_lines(
    predictions: Mapping[str, pa.Table], parts: Sequence[LinesPart], labels: Mapping[str, str]
) -> list[ShownLine]:
    """Return random lines of each shown set, always the same ones, with the readings of the arms.

    `predictions` are those of one run of each arm for all parts in their order, `labels` the arms in words.
    """
    shown: list[ShownLine] = []
    tables = list(predictions.values())
    keys = list(zip(*(tables[0][name].to_pylist() for name in ("dataset", "line_id", "source")), strict=True))
    for line_set in (line_set for line_set in SETS if line_set.name in SHOWN_SETS):
        rows = [
            row
            for row, (dataset, _, source) in enumerate(keys)
            if dataset == line_set.dataset and line_set.source in (None, source)
        ]
        rows.sort(key=lambda row: blake2b(keys[row][1].encode(), digest_size=8).digest())
        for row in rows[:NUM_LINES_PER_SET]:
            readings = {
                labels[name]: read_table(table.slice(row, 1))[0] for name, table in predictions.items()
            }
            shown.append(_show_line(line_set.label, readings, _read_image(parts, row, keys[row][1])))
    return shown


def _read_image(parts: Sequence[LinesPart], row: int, line_id: str) -> bytes:
    """Return the image of the line at a row of all parts."""
    for part in parts:
        num_rows = read_footer(part.location).num_rows
        if row < num_rows:
            (line,) = read_rows(part.location, [row])
            assert line.line_id == line_id, "predictions have the order of their lines"
            return line.image_bytes
        row -= num_rows
    raise AssertionError("every prediction has its line")


def _show_line(set_label: str, readings: Mapping[str, Reading], image_bytes: bytes) -> ShownLine:
    examples = {
        label: Example(
            line_id=line.line_id,
            dataset=line.dataset,
            reference=line.reference,
            prediction=line.prediction,
            image_bytes=image_bytes,
            ops=list_ops(line.alignment),
            width_px=line.width_px or 0,
            height_px=line.height_px or 0,
        )
        for label, line in readings.items()
    }
    first = next(iter(examples.values()))
    return ShownLine(
        set_label=set_label,
        picture=make_picture(first),
        reference=first.reference,
        readings=[(label, mark_errors(example)[1]) for label, example in examples.items()],
    )


def _make_table(report: Mapping[str, Any], set_name: str) -> dict[str, Any]:
    rows = []
    for arm in report["arms"]:
        measures = arm["sets"][set_name]
        rows.append((arm["label"], [_make_cell(measures[name], name) for name in TITLES]))
    return {**report["sets"][set_name], "name": set_name, "rows": rows}


def _make_cell(measure: Mapping[str, Any], name: str) -> Cell:
    if measure["value"] is None:
        return Cell("", "", "")
    interval = " to ".join(f"{100 * end:.1f}" for end in measure["interval"] or ())
    return Cell(f"{100 * measure['value']:.1f} %", interval, _judge(measure["difference"], name))


def _judge(difference: Mapping[str, Any] | None, name: str) -> str:
    if not difference or not difference["interval"]:
        return ""
    low, high = difference["interval"]
    if low <= 0 <= high:
        return ""
    return "better" if (high < 0) != (name == "exact_match") else "worse"


def _list_context(report: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return the factors of context dependence of each arm, one value for each seed."""
    names = ("context_dependence", "last_over_first", "spliced_over_own")
    return [
        (arm["label"], [", ".join(_factor(of_seed[name]) for of_seed in arm["context"]) for name in names])
        for arm in report["arms"]
    ]


def _factor(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def _make_charts(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the curves of CER by ratio for each set, with pages alone as 0; none if there is one ratio."""
    pages, *others = report["arms"]
    ratios = sorted({arm["ratio"] for arm in others})
    if len(ratios) < 2:
        return []
    charts = []
    for line_set in SETS:
        curves = {
            kind: [(0.0, pages), *((arm["ratio"], arm) for arm in others if arm["added"] == kind)]
            for kind in dict.fromkeys(arm["added"] for arm in others)
        }
        rates = {
            kind: [(ratio, arm["sets"][line_set.name]["cer"]["value"] or 0.0) for ratio, arm in points]
            for kind, points in curves.items()
        }
        top = max(rate for points in rates.values() for _, rate in points) or 1.0
        width, height = CHART_PX
        charts.append(
            {
                "label": line_set.label,
                "top": f"{100 * top:.1f} %",
                "end": f"{ratios[-1]:g}",
                "curves": [
                    (
                        kind.replace("_", " and "),
                        " ".join(
                            f"{width * ratio / ratios[-1]:.1f},{height * (1 - rate / top):.1f}"
                            for ratio, rate in points
                        ),
                    )
                    for kind, points in rates.items()
                ],
            }
        )
    return charts

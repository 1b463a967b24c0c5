"""The evaluation report, `report.json`: every metric over all predictions, counted part by part.

Metrics count sums over lines, so parts can come in any number and order; rates are computed at the end.

To add a metric, write a class with the methods of `Metric` in `analysis/` and list it in `make_metrics`. To
add a slice of the error rates, such as `by_font`, add a function to `analysis.slices.LINE_FAMILIES`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from ocr_ray.dataset.lines import WordOrigin
from ocr_ray.errors import InputError
from ocr_ray.evaluation.analysis.arithmetic import Arithmetic
from ocr_ray.evaluation.analysis.bootstrap import (
    describe_intervals,
    describe_slice_intervals,
    number_clusters,
)
from ocr_ray.evaluation.analysis.calibration import Calibration
from ocr_ray.evaluation.analysis.collapse import Collapse
from ocr_ray.evaluation.analysis.confusions import Confusions
from ocr_ray.evaluation.analysis.context_dependence import ContextDependence
from ocr_ray.evaluation.analysis.error_kinds import ErrorKinds
from ocr_ray.evaluation.analysis.flagged_readings import FlaggedReadings
from ocr_ray.evaluation.analysis.holdout import Holdout
from ocr_ray.evaluation.analysis.slices import LineSlices, SliceInputs, SliceSums
from ocr_ray.evaluation.analysis.trailing_hallucination import TrailingHallucination
from ocr_ray.evaluation.analysis.whole_problems import JoinedProblems
from ocr_ray.evaluation.predictions import PREDICTIONS_SCHEMA
from ocr_ray.evaluation.readings import Reading, print_table, read_table
from ocr_ray.metrics import COLUMNS, count_lines, describe_counts
from ocr_ray.storage.json_fields import expect
from ocr_ray.storage.location import Location

REPORT, REPORT_PAGE = "report.json", "report.html"
PRINTED_METRICS = frozenset({"arithmetic"})
"""Metrics over printed text, also if the model writes markup."""


class Metric(Protocol):
    """A metric of the report; its value does not depend on how the lines are split into parts."""

    def add(self, lines: Sequence[Reading]) -> None:
        """Count the lines of a part."""

    def describe(self) -> Any:
        """Return the value of its key in report.json."""


def make_metrics(
    inputs: SliceInputs, word_origins: Mapping[tuple[str, str], Sequence[WordOrigin]] | None = None
) -> dict[str, Metric]:
    """Return the metrics by their keys in report.json, all over no lines."""
    return {
        "holdout": Holdout(inputs),
        "overread": TrailingHallucination(),
        "arithmetic": Arithmetic(),
        "collapse": Collapse(),
        "error_kinds": ErrorKinds(),
        "context_dependence": ContextDependence(word_origins),
        "joined_problems": JoinedProblems(inputs.problems),
        "confusions": Confusions(),
        "calibration": Calibration(),
        "flagged": FlaggedReadings(),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportConfig:
    """What was evaluated; written to the report."""

    model_uri: str
    lines_uris: dict[str, str]
    """By the name of the dataset."""
    split: str
    label_column: str
    """The column that holds the reference."""
    decoding: dict[str, Any] = field(default_factory=dict)
    """How predictions were decoded."""


class Evaluation:
    """Counts predictions; holds about 300 bytes a line, and the texts of page lines and of pages."""

    def __init__(
        self,
        config: ReportConfig,
        inputs: SliceInputs | None = None,
        word_origins: Mapping[tuple[str, str], Sequence[WordOrigin]] | None = None,
    ) -> None:
        """`word_origins`: of the words of spliced lines, by dataset and line_id."""
        self._config = config
        self.inputs = inputs or SliceInputs()
        self._slices = SliceSums(self.inputs)
        self._metrics = make_metrics(self.inputs, word_origins)
        self._printed = np.zeros(len(COLUMNS), np.int64)
        self._num_unprintable = 0
        self._in_pieces = np.zeros((2, len(COLUMNS)), np.int64)
        self._lines: list[LineSlices] = []
        self._pages: list[pa.Table] = []

    def add(self, table: pa.Table) -> list[Reading]:
        """Count the lines of a part, a table of `PREDICTIONS_SCHEMA`, and return them aligned."""
        lines = read_table(table)
        line_slices = self._slices.add(lines)
        self._lines.append(line_slices._replace(counts=line_slices.counts.astype(np.int32)))
        self._pages.append(table.select(["dataset", "page_id"]))
        printed = self._add_printed(table) if self._config.label_column == "markup" else lines
        for name, metric in self._metrics.items():
            metric.add(printed if name in PRINTED_METRICS else lines)
        self._compare_pieces(table)
        return lines

    def describe(self) -> dict[str, Any]:
        """Return the report."""
        slices = self._slices.describe()
        intervals = self._find_intervals()
        slices["overall"]["intervals"] = intervals.pop("overall")
        for family, intervals_by_name in intervals.items():
            for name, slice_intervals in intervals_by_name.items():
                slices[family][name]["intervals"] = slice_intervals
        figures = {name: metric.describe() for name, metric in self._metrics.items()}
        # Whoever reads a rate must have read first what it is a rate of.
        report = {"holdout": figures.pop("holdout"), "config": asdict(self._config), **slices}
        if self._config.label_column == "markup":
            report["printed"] = {**describe_counts(self._printed), "unprintable": self._num_unprintable}
        if self._in_pieces.any():
            whole, in_pieces = map(describe_counts, self._in_pieces)
            report["long_lines"] = {
                "max_aspect": self._config.decoding.get("max_aspect"),
                "lines": whole["lines"],
                "whole": whole,
                "in_pieces": in_pieces,
            }
        return {**report, **figures}

    def _add_printed(self, table: pa.Table) -> list[Reading]:
        """Count lines of markup by what they print, and return them in print."""
        printed, num_unprintable = print_table(table)
        texts = (printed["text"].to_pylist(), printed["prediction"].to_pylist())
        self._printed += count_lines(*texts).sum(axis=0)
        self._num_unprintable += num_unprintable
        return read_table(printed)

    def _compare_pieces(self, table: pa.Table) -> None:
        """Count the lines that were read in pieces, whole and in pieces."""
        cut = table.filter(table["whole_prediction"].is_valid())
        if cut.num_rows:
            for index, name in enumerate(("whole_prediction", "prediction")):
                counts = count_lines(cut["text"].to_pylist(), cut[name].to_pylist())
                self._in_pieces[index] += counts.sum(axis=0)

    def _find_intervals(self) -> dict[str, Any]:
        """Return the confidence intervals of the overall rates, and of each slice of each family of lines."""
        if not self._lines:
            return {"overall": describe_intervals(count_lines([], []), np.zeros(0, np.int64))}
        counts = np.concatenate([part.counts for part in self._lines])
        pages = pa.concat_tables(self._pages)
        clusters = number_clusters(pages["dataset"], pages["page_id"])
        families = {
            family: [name for part in self._lines for name in part.names[family]]
            for family in self._lines[0].names
        }
        return {
            "overall": describe_intervals(counts, clusters),
            **describe_slice_intervals(counts, clusters, families),
        }


def build_report(
    predictions: Iterable[pa.Table], config: ReportConfig, inputs: SliceInputs | None = None
) -> dict[str, Any]:
    """Return the report on tables of `PREDICTIONS_SCHEMA`."""
    evaluation = Evaluation(config, inputs)
    for table in predictions:
        evaluation.add(table)
    return evaluation.describe()


def require_report(report: Any, location: Location) -> None:
    """Check that a report read from a file has the shape of a report, so that it can be compared with one.

    Raises:
        InputError: it has not; the message names the first value that differs.
    """
    config = ReportConfig(model_uri="", lines_uris={}, split="", label_column="text")
    lines = pa.Table.from_pylist([_line("1"), _line("2")], schema=PREDICTIONS_SCHEMA)
    expected = build_report([lines], config)
    try:
        _expect_shape(report, expected, "it")
        for family in filter(lambda name: name.startswith("by_"), report):
            for name, entry in expect(report[family], dict, family).items():
                _expect_shape(entry, expected["overall"], f"{family}.{name}")
    except ValueError as error:
        raise InputError(f"{location} must be a {REPORT} of evaluate_trocr: {error}") from error


def _line(text: str) -> dict[str, Any]:
    names = ("dataset", "line_id", "text", "prediction", "source", "page_id")
    return {**dict.fromkeys(names, text), "confidence": 1.0}


def _expect_shape(value: Any, expected: Any, name: str) -> None:
    """Check the kinds of a value of JSON and of all in it that `expected` has too; raises ValueError.

    Where there are no lines, lists, numbers and texts are null.
    """
    if expected is None:
        return
    if isinstance(expected, dict):
        for key in expect(value, dict, name).keys() & expected.keys():
            _expect_shape(value[key], expected[key], f"{name}.{key}".removeprefix("it."))
    elif isinstance(expected, list):
        for index, item in enumerate(expect([] if value is None else value, list, name)):
            _expect_shape(item, next(iter(expected), None), f"{name}.{index}")
    elif isinstance(value, dict | list) or (isinstance(value, str) and not isinstance(expected, str)):
        kind = "a text" if isinstance(expected, str) else "a number"
        raise ValueError(f"{name} must be {kind} or null, got {type(value).__name__}")

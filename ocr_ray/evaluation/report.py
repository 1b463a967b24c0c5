"""The report of an evaluation, `report.json`: all that is counted of predictions, part by part.

Counts are sums over lines, so that parts may come in any number and order; every rate is taken at the end.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from ocr_ray.evaluation.alignment import count_confusions
from ocr_ray.evaluation.analysis.arithmetic import ArithmeticCounts, count_arithmetic
from ocr_ray.evaluation.analysis.bootstrap import describe_intervals, describe_slices, number_clusters
from ocr_ray.evaluation.analysis.calibration import Calibration, calibrate
from ocr_ray.evaluation.analysis.collapse import Collapse
from ocr_ray.evaluation.analysis.context_dependence import ContextDependence
from ocr_ray.evaluation.analysis.trailing_hallucination import Overreads
from ocr_ray.evaluation.analysis.slices import Knowledge, SliceSums
from ocr_ray.evaluation.analysis.whole_problems import JoinedProblems
from ocr_ray.evaluation.html.choose_examples import ChosenLines
from ocr_ray.evaluation.readings import Reading, print_table, read_table
from ocr_ray.metrics import COLUMNS, Counts, count_lines, describe_counts

REPORT, REPORT_PAGE = "report.json", "report.html"
MAX_CONFUSIONS = 1_000
"""Of the commonest that are reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportConfig:
    """What was evaluated; kept in the report."""

    model_uri: str
    lines_uris: dict[str, str]
    """Where the lines are, by the dataset's name."""
    split: str
    label_column: str
    """The column that holds the truth."""
    decoding: dict[str, Any] = field(default_factory=dict)
    """How the model wrote."""


class Evaluation:
    """Counts predictions; holds about 300 bytes a line, and the texts of page lines and of pages."""

    def __init__(
        self,
        config: ReportConfig,
        known: Knowledge | None = None,
        spliced_styles: Mapping[tuple[str, str], str] | None = None,
    ) -> None:
        """`spliced_styles`: the column `style` of spliced lines, by dataset and line_id."""
        self._config = config
        known = known or Knowledge()
        self._slices = SliceSums(known)
        self._overreads = Overreads()
        self._arithmetic = ArithmeticCounts.zero()
        self._collapse = Collapse()
        self._context = ContextDependence(spliced_styles)
        self._problems = JoinedProblems(known.problems)
        self._confusions: Counter[tuple[str, str]] = Counter()
        self._calibration = Calibration()
        self._printed = np.zeros(len(COLUMNS), np.int64)
        self._unprintable = 0
        self._in_pieces = np.zeros((2, len(COLUMNS)), np.int64)
        self._lines: list[tuple[Counts, dict[str, list[str | None]], pa.Table]] = []
        self.chosen = ChosenLines()

    def add(self, table: pa.Table, part: int = 0) -> None:
        """Count the lines of a part, a table of `PREDICTIONS_SCHEMA`."""
        lines = read_table(table)
        facts = self._slices.add(lines)
        for counter in (self._overreads, self._collapse, self._context, self._problems):
            counter.add(lines)
        self._confusions.update(count_confusions(line.alignment for line in lines))
        confidences = table["confidence"].to_pylist()
        self._calibration += calibrate(confidences, [line.alignment.is_exact for line in lines])
        self._arithmetic += count_arithmetic(self._print(table, lines))
        self._compare_pieces(table)
        pages = table.select(["dataset", "page_id"])
        self._lines.append((facts.counts.astype(np.int32), facts.names, pages))
        self.chosen.add(part, lines)

    def describe(self) -> dict[str, Any]:
        """Return the report."""
        slices = self._slices.describe()
        intervals = self._find_intervals()
        slices["overall"]["intervals"] = intervals.pop("overall")
        for family, names in intervals.items():
            for name, found in names.items():
                slices[family][name]["intervals"] = found
        report = {"config": asdict(self._config), **slices}
        if self._config.label_column == "markup":
            report["printed"] = {**describe_counts(self._printed), "unprintable": self._unprintable}
        if self._in_pieces.any():
            whole, in_pieces = map(describe_counts, self._in_pieces)
            report["long_lines"] = {
                "max_aspect": self._config.decoding.get("max_aspect"),
                "lines": whole["lines"],
                "whole": whole,
                "in_pieces": in_pieces,
            }
        return {
            **report,
            "overread": self._overreads.counts().describe(),
            "arithmetic": self._arithmetic.describe(),
            "collapse": self._collapse.describe(),
            "context_dependence": self._context.counts().describe(),
            "joined_problems": self._problems.describe(),
            "confusions": [
                {"truth": truth, "read": read, "count": count}
                for (truth, read), count in sorted(
                    self._confusions.items(), key=lambda item: (-item[1], item[0])
                )[:MAX_CONFUSIONS]
            ],
            "calibration": self._calibration.to_report(),
        }

    def _print(self, table: pa.Table, lines: list[Reading]) -> list[Reading]:
        """Return the lines as they print, which those of markup are counted as, too."""
        if self._config.label_column != "markup":
            return lines
        printed, num_unprintable = print_table(table)
        texts = (printed["text"].to_pylist(), printed["prediction"].to_pylist())
        self._printed += count_lines(*texts).sum(axis=0)
        self._unprintable += num_unprintable
        return read_table(printed)

    def _compare_pieces(self, table: pa.Table) -> None:
        """Count the lines that were read in pieces, whole and in pieces."""
        cut = table.filter(table["whole_prediction"].is_valid())
        if cut.num_rows:
            for index, name in enumerate(("whole_prediction", "prediction")):
                counts = count_lines(cut["text"].to_pylist(), cut[name].to_pylist())
                self._in_pieces[index] += counts.sum(axis=0)

    def _find_intervals(self) -> dict[str, Any]:
        """Return the intervals of the rates of all lines, and of each slice of each family of lines."""
        if not self._lines:
            return {"overall": describe_intervals(count_lines([], []), np.zeros(0, np.int64))}
        counts = np.concatenate([some for some, _, _ in self._lines])
        pages = pa.concat_tables([table for _, _, table in self._lines])
        clusters = number_clusters(pages["dataset"], pages["page_id"])
        families = {
            family: [name for _, names, _ in self._lines for name in names[family]]
            for family in self._lines[0][1]
        }
        return {
            "overall": describe_intervals(counts, clusters),
            **describe_slices(counts, clusters, families),
        }


def build_report(
    predictions: Iterable[pa.Table], config: ReportConfig, known: Knowledge | None = None
) -> dict[str, Any]:
    """Return the report on tables of `PREDICTIONS_SCHEMA`."""
    evaluation = Evaluation(config, known)
    for part, table in enumerate(predictions):
        evaluation.add(table, part)
    return evaluation.describe()

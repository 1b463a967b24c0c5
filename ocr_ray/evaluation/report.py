"""The report of an evaluation, `report.json`: error counts over all predictions and over slices of them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ocr_ray.metrics import ErrorCounts, count_all
from ocr_ray.storage import Location, read_bytes, write_json

REPORT = "report.json"
NO_VALUE = "(none)"
"""The slice of lines that have no such value, as lines of pages have no font."""
SLICE_COLUMNS = {"by_dataset": "dataset", "by_source": "source", "by_font": "font"}
PREDICTIONS_SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),
        ("line_id", pa.string()),
        ("text", pa.string()),  # the truth, in the spelling that the model was trained on
        ("prediction", pa.string()),
        ("confidence", pa.float32()),  # the mean probability of the tokens
        ("source", pa.string()),
        ("font", pa.string()),
        ("page_id", pa.string()),
        ("page_order", pa.int32()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportConfig:
    """What was evaluated; kept in the report."""

    model_uri: str
    lines_uris: dict[str, str]
    """Where the lines are, by the dataset's name."""
    split: str
    label_column: str
    """The column that holds the truth."""


def read_predictions(out: Location, paths: Iterable[str]) -> Iterable[pa.Table]:
    """Yield the predictions of each part; `paths` are relative to `out`."""
    for path in paths:
        yield pq.read_table(pa.BufferReader(read_bytes(out / path)), schema=PREDICTIONS_SCHEMA)


def build_report(predictions: Iterable[pa.Table], config: ReportConfig) -> dict[str, Any]:
    """Return the report on tables of `PREDICTIONS_SCHEMA`.

    Each line is in one slice of every family, so that the counts of a family add up to `overall`.
    """
    overall = ErrorCounts.zero()
    families: dict[str, dict[str, ErrorCounts]] = {family: {} for family in SLICE_COLUMNS}
    for table in predictions:
        for family, column in SLICE_COLUMNS.items():
            add_counts(families[family], count_slices(table, column))
        overall += count_all(table["text"].to_pylist(), table["prediction"].to_pylist())
    slices = {
        family: {name: describe(counts) for name, counts in sorted(values.items())}
        for family, values in families.items()
    }
    return {"config": asdict(config), "overall": describe(overall), **slices}


def count_slices(table: pa.Table, column: str) -> dict[str, ErrorCounts]:
    """Return the counts of a table's lines by their value of `column`; null is counted under "(none)"."""
    groups: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    names = ("text", "prediction", column)
    for truth, prediction, value in zip(*(table[name].to_pylist() for name in names), strict=True):
        truths, readings = groups[NO_VALUE if value is None else value]
        truths.append(truth)
        readings.append(prediction)
    return {value: count_all(truths, readings) for value, (truths, readings) in groups.items()}


def add_counts(sums: dict[str, ErrorCounts], more: Mapping[str, ErrorCounts]) -> None:
    """Add counts to the sums of the same name."""
    for name, counts in more.items():
        sums[name] = sums.get(name, ErrorCounts.zero()) + counts


def describe(counts: ErrorCounts) -> dict[str, Any]:
    """Return an entry of the report; rates over no lines are null, neither good nor bad."""
    rates = ("cer", "wer", "character_accuracy", "exact_match")
    return {
        "lines": counts.lines,
        **{rate: getattr(counts, rate) if counts.lines else None for rate in rates},
        "counts": asdict(counts),
    }


def write_report(out: Location, report: Mapping[str, Any]) -> Location:
    """Write `report.json`, whole or not at all, and return where it is; its existence means complete."""
    write_json(out / REPORT, report)
    return out / REPORT

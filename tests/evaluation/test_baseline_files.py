"""The files of a baseline as a user or another program left them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ocr_ray.errors import InputError
from ocr_ray.evaluation.job import open_baseline
from ocr_ray.evaluation.predictions import PREDICTIONS_SCHEMA, find_finished, write_predictions
from ocr_ray.evaluation.report import ReportConfig, build_report
from ocr_ray.storage.location import locate, write_json

CONFIG = ReportConfig(model_uri="m", lines_uris={"lines": "l"}, split="validation", label_column="text")
ROW = {
    "dataset": "lines",
    "line_id": "000000001",
    "text": "3 × 8",
    "prediction": "3 × 6",
    "confidence": 0.5,
    "source": "words",
    "font": "바탕",
    "width_px": 90,
    "height_px": 20,
    "markup": "$3 \\times 8$",
}


def make_table(**changes: Any) -> pa.Table:
    return pa.Table.from_pylist([ROW, {**ROW, "line_id": "000000002", **changes}], schema=PREDICTIONS_SCHEMA)


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    """A finished evaluation of two lines."""
    write_predictions(locate(str(tmp_path / "out/predictions/part-00000.parquet")), make_table(), "abc")
    write_json(locate(str(tmp_path / "out/report.json")), build_report([make_table()], CONFIG))
    return tmp_path / "out"


@pytest.mark.parametrize("uri", ["report.json", "./report.json", "../out/report.json", "{out}/report.json"])
def test_a_baseline_is_found_from_the_current_folder(uri, baseline, monkeypatch) -> None:
    monkeypatch.chdir(baseline)
    opened = open_baseline(uri.format(out=baseline))
    assert [table["line_id"].to_pylist() for table in opened.predictions()] == [["000000001", "000000002"]]
    assert opened.report["overall"]["lines"] == 2


@pytest.mark.parametrize("uri", ["", ".", "out", "reports.json", "../report.json", "predictions"])
def test_what_is_no_report_is_refused(uri, baseline, monkeypatch) -> None:
    monkeypatch.chdir(baseline)
    with pytest.raises(InputError, match=r"--baseline must be|a URI must be"):
        open_baseline(uri)


def put(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(report: dict[str, Any]) -> None:
        for name in path[:-1]:
            report = report[name]
        report[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (put("overall", value=[]), "overall must be an object"),
        (put("overall", "cer", value="0.5"), "overall.cer must be a number or null, got str"),
        (put("overall", "counts", value=None), "overall.counts must be an object, got nothing"),
        (put("config", value=3), "config must be an object, got 3"),
        (put("by_source", value=["words"]), "by_source must be an object"),
        (put("by_source", "words", value=1), "by_source.words must be an object"),
        (
            put("by_source", "words", "wer", value={}),
            "by_source.words.wer must be a number or null",
        ),
        (put("calibration", "bins", value={"0": 1}), "calibration.bins must be a list"),
        (put("context_dependence", value="none"), "context_dependence must be an object"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_report_of_another_shape_is_refused_before_any_work(change, reason, baseline) -> None:
    report = json.loads((baseline / "report.json").read_text())
    change(report)
    (baseline / "report.json").write_text(json.dumps(report))
    with pytest.raises(InputError, match=rf"report.json must be a report.json of evaluate_trocr: {reason}"):
        open_baseline(str(baseline / "report.json"))


@pytest.mark.parametrize("content", ["[]", "null", "NaN", '{"overall": {"cer": Infinity}}', "{", "[" * 9_999])
def test_a_report_that_is_no_json_object_is_refused(content, baseline) -> None:
    (baseline / "report.json").write_text(content)
    with pytest.raises(InputError, match=r"report.json must (hold JSON|be a report)"):
        open_baseline(str(baseline / "report.json"))


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (make_table(prediction="가나다" * 4_000_000), "prediction must have at most 2000 characters"),
        (make_table(text="8" * 2_001), "text must have at most 2000 characters"),
        (make_table(whole_prediction="8" * 2_001), "whole_prediction must have at most 2000 characters"),
        (make_table(text=None), "text must not be null"),
        (make_table(confidence=float("nan")), "confidence must be from 0 to 1"),
        (make_table().drop_columns("prediction"), "must have the column prediction"),
        (make_table().set_column(4, "confidence", pa.array(["1", "1"])), "confidence of .* must be float"),
    ],
    ids=["long prediction", "long text", "long whole", "null", "nan", "missing", "type"],
)
def test_predictions_that_cannot_be_compared_are_refused_or_read_again(table, reason, baseline) -> None:
    part = baseline / "predictions/part-00000.parquet"
    assert find_finished(locate(str(baseline)), 1, "abc") == [0]
    pq.write_table(table.replace_schema_metadata({"config_sha256": "abc"}), part)
    with pytest.raises(InputError, match=rf"{reason}"):
        open_baseline(str(baseline / "report.json"))
    assert find_finished(locate(str(baseline)), 1, "abc") == []

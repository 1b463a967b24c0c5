import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jiwer
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.evaluation.report import (
    NO_VALUE,
    PREDICTIONS_SCHEMA,
    SLICE_COLUMNS,
    ReportConfig,
    build_report,
    read_predictions,
    write_report,
)
from ocr_ray.storage import locate

CONFIG = ReportConfig(
    model_uri="models/best_ocr",
    lines_uris={"lines": "runs/lines", "crops": "s3://bucket/crops"},
    split="validation",
    label_column="text",
)
TEXT = st.text(alphabet="가나다 7×=", max_size=8)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "dataset": st.sampled_from(["lines", "crops"]),
            "text": TEXT,
            "prediction": TEXT,
            "source": st.sampled_from(["words", "arithmetic", "page"]),
            "font": st.sampled_from(["바탕", "굴림", None]),
        }
    ),
    max_size=12,
)


def make_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    filled = [
        {"line_id": str(number), "confidence": 0.5, "page_id": None, "page_order": None, **row}
        for number, row in enumerate(rows)
    ]
    return pa.Table.from_pylist(filled, schema=PREDICTIONS_SCHEMA)


def make_row(text: str, prediction: str, source: str = "words", font: str | None = "바탕") -> dict[str, Any]:
    return {"dataset": "lines", "text": text, "prediction": prediction, "source": source, "font": font}


@settings(deadline=None)
@given(rows=ROWS, cut=st.integers(0, 12))
def test_the_slices_of_every_family_add_up_to_overall_for_any_parts(
    rows: list[dict[str, Any]], cut: int
) -> None:
    report = build_report([make_table(rows[:cut]), make_table(rows[cut:])], CONFIG)
    for family in SLICE_COLUMNS:
        for name, total in report["overall"]["counts"].items():
            assert sum(entry["counts"][name] for entry in report[family].values()) == total
    assert report["overall"]["lines"] == len(rows)
    assert report == build_report([make_table(rows)], CONFIG)


def test_rates_are_those_of_jiwer_and_not_means_over_lines() -> None:
    rows = [
        make_row("가", "나"),
        make_row("탁자 7개를 옮기다", "탁자 7개를 옮기다"),
        make_row("3 × 8", "3 × 8 = 24"),
    ]
    overall = build_report([make_table(rows)], CONFIG)["overall"]
    truths, predictions = [row["text"] for row in rows], [row["prediction"] for row in rows]
    assert overall["cer"] == pytest.approx(jiwer.cer(truths, predictions))
    assert overall["wer"] == pytest.approx(jiwer.wer(truths, predictions))
    assert overall["character_accuracy"] == pytest.approx(15 / 16)
    assert overall["exact_match"] == pytest.approx(1 / 3)
    assert overall["counts"]["character_insertions"] == 5


def test_lines_of_pages_are_counted_under_no_font() -> None:
    rows = [make_row("가", "가"), make_row("나", "다", source="page", font=None)]
    report = build_report([make_table(rows)], CONFIG)
    assert set(report["by_font"]) == {"바탕", NO_VALUE}
    assert report["by_font"][NO_VALUE] == report["by_source"]["page"]
    assert report["by_font"][NO_VALUE]["cer"] == 1.0


def test_no_predictions_give_null_rates_and_not_a_perfect_score() -> None:
    for tables in ([], [make_table([])]):
        report = build_report(tables, CONFIG)
        assert report["overall"]["lines"] == 0
        assert report["overall"]["cer"] is report["overall"]["exact_match"] is None
        assert report["by_source"] == {}


def test_the_report_says_what_was_evaluated_and_survives_being_written(tmp_path: Path) -> None:
    report = build_report([make_table([make_row("가", "나")])], CONFIG)
    place = write_report(locate(str(tmp_path / "evaluation")), report)
    assert json.loads(Path(place.path).read_text(encoding="utf-8")) == report
    assert report["config"]["lines_uris"]["crops"] == "s3://bucket/crops"
    assert [path.name for path in Path(place.path).parent.iterdir()] == ["report.json"]


def test_predictions_are_read_back_part_by_part(tmp_path: Path) -> None:
    tables = [make_table([make_row("가", "나")]), make_table([])]
    for index, table in enumerate(tables):
        pq.write_table(table, tmp_path / f"part-{index:05d}.parquet")
    read = list(read_predictions(locate(str(tmp_path)), ["part-00000.parquet", "part-00001.parquet"]))
    assert read == tables

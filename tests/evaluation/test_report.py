import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jiwer
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.evaluation.analysis.slices import NO_VALUE
from ocr_ray.evaluation.predictions import PREDICTIONS_SCHEMA
from ocr_ray.evaluation.report import ReportConfig, build_report

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
    filled = [{"line_id": str(number), "confidence": 0.5, **row} for number, row in enumerate(rows)]
    return pa.Table.from_pylist(filled, schema=PREDICTIONS_SCHEMA)


def make_row(text: str, prediction: str, source: str = "words", font: str | None = "바탕") -> dict[str, Any]:
    return {"dataset": "lines", "text": text, "prediction": prediction, "source": source, "font": font}


@settings(deadline=None)
@given(rows=ROWS, cut=st.integers(0, 12))
def test_slices_of_every_family_add_up_to_overall_for_any_parts(rows: list[dict[str, Any]], cut: int) -> None:
    report = build_report([make_table(rows[:cut]), make_table(rows[cut:])], CONFIG)
    for family in ("by_dataset", "by_source", "by_font", "by_length"):
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
    references, predictions = [row["text"] for row in rows], [row["prediction"] for row in rows]
    assert overall["cer"] == pytest.approx(jiwer.cer(references, predictions))
    assert overall["wer"] == pytest.approx(jiwer.wer(references, predictions))
    assert overall["character_accuracy"] == pytest.approx(15 / 16)
    assert overall["exact_match"] == pytest.approx(1 / 3)
    assert overall["counts"]["character_insertions"] == 5


def test_lines_of_pages_are_in_the_slice_without_a_font() -> None:
    rows = [make_row("가", "가"), make_row("나", "다", source="page", font=None)]
    report = build_report([make_table(rows)], CONFIG)
    assert set(report["by_font"]) == {"바탕", NO_VALUE}
    assert report["by_font"][NO_VALUE] == report["by_source"]["page"]
    assert report["by_font"][NO_VALUE]["cer"] == 1.0


def test_no_predictions_give_null_rates_and_no_perfect_score() -> None:
    for tables in ([], [make_table([])]):
        report = build_report(tables, CONFIG)
        assert report["overall"]["lines"] == 0
        assert report["overall"]["cer"] is report["overall"]["exact_match"] is None
        assert report["by_source"] == {}


def test_the_report_holds_its_configuration_and_survives_json() -> None:
    report = build_report([make_table([make_row("가", "나")])], CONFIG)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["config"]["lines_uris"]["crops"] == "s3://bucket/crops"


def test_a_model_of_markup_is_scored_on_markup_and_on_print() -> None:
    config = replace(CONFIG, label_column="markup")
    rows = [
        make_row(r"$3 \times 8 = 24$", r"$3 \times 8$ $= 24$"),
        make_row("탁자 $7$개", "탁자 7개"),
        make_row("$5$", "$5"),
    ]
    report = build_report([make_table(rows)], config)
    assert report["overall"]["exact_match"] == 0
    printed = report["printed"]
    assert printed["counts"]["exact"] == 2  # `3 × 8 = 24` and `탁자 7개`
    assert printed["unprintable"] == 1
    assert report["arithmetic"]["counts"]["equations_exact"] == 1
    assert "printed" not in build_report([make_table(rows)], CONFIG)


def test_lines_read_in_pieces_are_compared_with_the_same_lines_read_as_a_whole() -> None:
    rows = [
        {**make_row("가나다라", "가나다라"), "whole_prediction": "가나"},
        {**make_row("마바사아", "마바사"), "whole_prediction": "마"},
        make_row("자차", "x"),
    ]
    long_lines = build_report([make_table(rows)], CONFIG)["long_lines"]
    assert long_lines["whole"]["lines"] == long_lines["in_pieces"]["lines"] == 2
    assert long_lines["whole"]["cer"] == pytest.approx(5 / 8)
    assert long_lines["in_pieces"]["cer"] == pytest.approx(1 / 8)
    assert "long_lines" not in build_report([make_table(rows[2:])], CONFIG)


def test_incomplete_predictions_are_counted_over_the_lines_whose_flags_are_known() -> None:
    flags = (["reached_limit"], ["reached_limit", "replacement_character"], [], [], None)
    rows = [{**make_row("가나", "가"), "flags": of_line} for of_line in flags]
    assert build_report([make_table(rows)], CONFIG)["flagged"] == {
        "lines": 4,
        "reached_limit": 2,
        "replacement_character": 1,
        "reached_limit_rate": 0.5,
        "replacement_character_rate": 0.25,
    }
    assert build_report([make_table(rows[4:])], CONFIG)["flagged"]["reached_limit_rate"] is None


def test_the_most_common_confusions_come_first() -> None:
    rows = [make_row("갊 6", "갈 8"), make_row("갊", "갈"), make_row("가", "가을")]
    confusions = build_report([make_table(rows)], CONFIG)["confusions"]
    assert confusions == [
        {"truth": "갊", "read": "갈", "count": 2},
        {"truth": "", "read": "을", "count": 1},
        {"truth": "6", "read": "8", "count": 1},
    ]


def test_every_slice_of_lines_has_an_interval_around_its_rate() -> None:
    rows = [make_row("가나다라", "가나다라" if number % 3 else "가나다") for number in range(60)]
    report = build_report([make_table(rows)], CONFIG)
    for entry in (report["overall"], report["by_source"]["words"], report["by_length"]["0-5"]):
        low, high = entry["intervals"]["cer"]
        assert 0 < low < entry["cer"] < high < 2 * entry["cer"]

from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from builders.report import count_rows, make_rows, make_table
from hypothesis import given
from hypothesis import strategies as st

from ocr_ray.evaluation.analysis.baseline import compare_entries, compare_reports, find_q_values, pair_lines
from ocr_ray.evaluation.analysis.bootstrap import RATES
from ocr_ray.evaluation.analysis.slices import SliceInputs
from ocr_ray.metrics import count_lines, describe_counts

Rows = list[dict[str, Any]]


def compare(rows: Rows, others: Rows) -> dict[str, Any]:
    return compare_reports(
        count_rows(rows, "here"),
        count_rows(others, "there"),
        predictions=[make_table(rows)],
        baseline_predictions=[make_table(others)],
    )


def cut(table: pa.Table, *rows: int) -> list[pa.Table]:
    ends = [0, *rows, table.num_rows]
    return [table.slice(start, stop - start) for start, stop in pairwise(ends)]


def test_q_values_worked_by_hand() -> None:
    # By rank: 0.005 * 5 = 0.01 * 5 / 2 = 0.025, 0.03 * 5 / 3 = 0.04 * 5 / 4 = 0.05, and 0.5.
    assert find_q_values([0.04, 0.005, 0.5, 0.03, 0.01]) == pytest.approx([0.05, 0.025, 0.5, 0.05, 0.025])
    # 0.04 * 2 would be more than 0.045 * 2 / 2, and q-values do not decrease with p-values.
    assert find_q_values([0.04, 0.045]) == pytest.approx([0.045, 0.045])
    assert find_q_values([0.3]) == [0.3]
    assert find_q_values([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.01, 0.5))
def test_q_values_reject_the_same_hypotheses_as_the_step_up_procedure(
    p_values: list[float], level: float
) -> None:
    ordered = sorted(p_values)
    count = len(ordered)
    passing = [p for rank, p in enumerate(ordered, 1) if p * count / rank <= level]
    largest = max(passing, default=-1.0)
    q_values = find_q_values(p_values)
    assert [q <= level for q in q_values] == [p <= largest for p in p_values]


def test_lines_that_one_model_read_or_with_another_reference_are_left_out_and_counted() -> None:
    rows = make_rows(40)
    others = [dict(row) for row in rows[5:]][::-1]  # five only here
    others[0]["text"] += "!"
    others[1]["line_id"] = "gone"  # one only here, and one only there
    others[2]["dataset"] = "elsewhere"  # the same
    paired = pair_lines([make_table(rows)], cut(make_table(others), 7, 7, 20))
    assert paired.left_out == {"only_here": 7, "other_truth": 1, "only_baseline": 2}
    assert len(paired.counts) == len(paired.baseline_counts) == 40 - 8
    assert {len(names) for names in paired.names.values()} == {32}


def test_references_in_another_spelling_are_the_same() -> None:
    rows = make_rows(12)
    rows[0] |= {"text": "넓이는 8 cm²", "prediction": "넓이는 3 cm²"}
    others = [dict(row) for row in rows]
    others[0] |= {"text": "넓이는 8 ㎠ ", "prediction": "넓이는 8 ㎠"}
    paired = pair_lines([make_table(rows)], [make_table(others)])
    assert paired.left_out == {"only_here": 0, "other_truth": 0, "only_baseline": 0}
    assert (paired.counts - paired.baseline_counts).any(axis=1).tolist() == [True] + [False] * 11


def test_counts_are_those_of_each_model_on_the_lines_of_the_first_in_order() -> None:
    rows, others = make_rows(60), make_rows(60, error_rate=0.2, seed=3)
    paired = pair_lines(cut(make_table(rows), 13), [make_table(others[::-1])])
    references = [row["text"] for row in rows]
    counts = count_lines(references, [row["prediction"] for row in rows])
    assert paired.counts.tolist() == counts.tolist()
    baseline_counts = count_lines(references, [row["prediction"] for row in others])
    assert paired.baseline_counts.tolist() == baseline_counts.tolist()
    assert paired.names["by_source"] == [row["source"] for row in rows]
    pages: dict[int, set[Any]] = {}
    for number, row in zip(paired.clusters.tolist(), rows, strict=True):
        pages.setdefault(number, set()).add(row["page_id"] or row["line_id"])
    assert {len(page) for page in pages.values()} == {1}
    assert len(pages) == 5 + 30


def test_the_comparison_is_the_same_for_any_parts() -> None:
    rows, others = make_rows(48), make_rows(48, error_rate=0.2, seed=3)
    whole = compare_reports({}, {}, predictions=[make_table(rows)], baseline_predictions=[make_table(others)])
    parts = compare_reports(
        {},
        {},
        predictions=cut(make_table(rows), 1, 30),
        baseline_predictions=cut(make_table(others), 25, 26),
    )
    assert parts == whole
    assert parts["by_source"]["page"]["lines"] == 24


def test_a_model_does_not_differ_from_itself() -> None:
    rows = make_rows(96)
    comparison = compare(rows, rows)
    assert comparison["lines"] == {"both": 96, "only_here": 0, "other_truth": 0, "only_baseline": 0}
    for entry in (comparison["overall"], *comparison["by_source"].values(), *comparison["by_box"].values()):
        for rate in RATES:
            assert entry[rate]["difference"] == 0.0
            assert entry[rate]["p_value"] == 1.0
    assert {entry["cer"]["q_value"] for entry in comparison["by_source"].values()} == {1.0}


def test_a_better_model_is_significantly_better_and_its_rates_are_those_of_its_report() -> None:
    rows, others = make_rows(144), make_rows(144, error_rate=0.15, seed=2)
    comparison = compare(rows, others)
    overall = comparison["overall"]
    here, there = count_rows(rows, "here")["overall"], count_rows(others, "there")["overall"]
    for rate in RATES:
        assert overall[rate]["here"] == pytest.approx(here[rate])
        assert overall[rate]["baseline"] == pytest.approx(there[rate])
        assert overall[rate]["difference"] == pytest.approx(overall[rate]["here"] - overall[rate]["baseline"])
    assert overall["cer"]["high"] < 0 < overall["exact_match"]["low"]
    assert overall["cer"]["p_value"] < 0.01
    spliced = comparison["by_source"]["spliced"]["cer"]
    assert spliced["q_value"] >= spliced["p_value"]


def test_slices_are_in_report_order_and_families_of_characters_come_from_both_reports() -> None:
    rows, others = make_rows(96), make_rows(96, error_rate=0.2, seed=2)
    report, baseline = count_rows(rows, "here"), count_rows(others, "there")
    comparison = compare_reports(
        report, baseline, predictions=[make_table(rows)], baseline_predictions=[make_table(others)]
    )
    assert list(comparison["by_length"]) == list(report["by_length"])
    assert list(comparison["by_length"]) != sorted(report["by_length"])
    third = comparison["by_third"]["last"]
    assert third["cer"]["here"] == report["by_third"]["last"]["cer"]
    assert third["cer"]["baseline"] == baseline["by_third"]["last"]["cer"]
    assert third["cer"]["p_value"] is None
    assert third["lines"] == 96
    assert comparison["figures"]["overread"] == baseline["overread"]
    assert "confusions" not in comparison["figures"]
    assert comparison["config"]["model_uri"] == "there"


def test_training_fonts_put_lines_into_slices() -> None:
    rows = make_rows(24)
    paired = pair_lines([make_table(rows)], [make_table(rows)], SliceInputs(training_fonts={"바탕"}))
    assert set(paired.names["by_font_seen"]) == {"seen", "unseen", None}
    assert set(pair_lines([make_table(rows)], [make_table(rows)]).names["by_font_seen"]) == {None}


def test_without_a_line_in_common_there_are_no_rates() -> None:
    rows = make_rows(12)
    comparison = compare(rows, [row | {"dataset": "other"} for row in rows])
    assert comparison["lines"]["both"] == 0
    assert comparison["overall"]["cer"] == dict.fromkeys(
        ("here", "baseline", "difference", "low", "high", "p_value")
    )
    assert comparison["by_source"] == {}
    nothing = compare_reports({}, {}, predictions=[], baseline_predictions=[])
    assert nothing["overall"]["lines"] == 0


def test_a_slice_that_the_baseline_lacks_has_no_difference() -> None:
    entry = describe_counts(count_lines(["가나"], ["가"]).sum(axis=0))
    comparison = compare_entries({"last": entry}, {})["last"]
    assert comparison["lines"] == 1
    assert comparison["cer"] == {"here": 0.5, "baseline": None, "difference": None, "p_value": None}
    worse = describe_counts(count_lines(["가나"], ["다라"]).sum(axis=0))
    assert compare_entries({"last": entry}, {"last": worse})["last"]["cer"]["difference"] == -0.5

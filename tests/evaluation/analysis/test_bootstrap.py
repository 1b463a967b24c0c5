"""Intervals against a plain loop, the normal approximation and repeated simulations."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from builders.report import make_rows

from ocr_ray.evaluation.analysis.bootstrap import (
    NUM_RESAMPLES,
    RATES,
    describe_intervals,
    describe_slice_intervals,
    find_interval,
    find_wilson_interval,
    number_clusters,
    rate_difference,
    rate_terms,
    resample_sums,
    sum_clusters,
)
from ocr_ray.metrics import Counts, count_lines, describe_counts

Generator = np.random.Generator


def count_rows(num_lines: int = 120) -> Counts:
    rows = make_rows(num_lines)
    return count_lines([row["text"] for row in rows], [row["prediction"] for row in rows])


def draw_pages(rng: Generator, num_pages: int, *, spread: float = 0.0, rate: float = 0.2) -> Counts:
    """Return errors and characters of pages of different lengths; `spread` varies their error rates."""
    lengths = rng.integers(10, 60, num_pages)
    rates = rate if not spread else rng.beta(rate / spread, (1 - rate) / spread, num_pages)
    return np.stack([rng.binomial(lengths, rates), lengths], axis=1)


def loop_over_pages(pages: Counts, num_resamples: int, seed: int = 5) -> npt.NDArray[np.float64]:
    """Return resampled rates, drawn page by page: the textbook bootstrap."""
    rng = np.random.default_rng(seed)
    rates = []
    for _ in range(num_resamples):
        drawn = pages[rng.integers(0, len(pages), len(pages))]
        rates.append(drawn[:, 0].sum() / drawn[:, 1].sum())
    return np.array(rates)


def test_the_ends_are_those_of_a_plain_loop_over_pages() -> None:
    pages = draw_pages(np.random.default_rng(1), 40, spread=0.1)
    low, high = find_interval(pages, num_resamples=8_000) or (np.nan, np.nan)
    expected = np.percentile(loop_over_pages(pages, 8_000), [2.5, 97.5])
    width = expected[1] - expected[0]
    assert [low, high] == pytest.approx(expected, abs=0.05 * width)
    assert width > 0.05


def test_resampled_sums_have_the_mean_and_the_covariance_of_sums_of_pages() -> None:
    pages = draw_pages(np.random.default_rng(2), 30, spread=0.1)
    sums = resample_sums(pages, num_resamples=20_000)
    covariance = len(pages) * np.cov(pages.T, bias=True)
    assert sums.mean(axis=0) == pytest.approx(pages.sum(axis=0), rel=0.01)
    assert np.cov(sums.T) == pytest.approx(covariance, rel=0.05)


def test_the_interval_of_a_proportion_is_the_normal_approximation() -> None:
    pages = np.array([[1, 1]] * 1_600 + [[0, 1]] * 400)
    half = 1.96 * (0.8 * 0.2 / 2_000) ** 0.5
    assert find_interval(pages) == pytest.approx([0.8 - half, 0.8 + half], abs=0.1 * half)


def test_intervals_have_their_nominal_coverage_only_if_pages_are_resampled() -> None:
    rng = np.random.default_rng(3)
    num_runs, covered, covered_by_lines = 300, 0, 0
    for run in range(num_runs):
        # 60 pages of ten lines of ten characters; pages have different error rates, 0.2 on average.
        rates = rng.beta(2, 8, 60).repeat(10)
        lines = np.stack([rng.binomial(10, rates), np.full(600, 10)], axis=1)
        pages = sum_clusters(lines, np.arange(600) // 10)
        for_pages, for_lines = find_interval(pages, seed=run), find_interval(lines, seed=run)
        assert for_pages is not None
        assert for_lines is not None
        covered += for_pages[0] <= 0.2 <= for_pages[1]
        covered_by_lines += for_lines[0] <= 0.2 <= for_lines[1]
    assert 0.90 < covered / num_runs < 0.99
    assert covered_by_lines / num_runs < 0.75


def test_two_models_with_equal_predictions_do_not_differ() -> None:
    pages = draw_pages(np.random.default_rng(4), 50)
    same = rate_difference(pages, pages.copy())
    assert (same.difference, same.low, same.high, same.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_p_values_of_equally_good_models_are_uniform() -> None:
    rng = np.random.default_rng(6)
    p_values = []
    for run in range(300):
        lengths = np.full(60, 30)
        rates = rng.beta(2, 8, 60)
        here, there = (np.stack([rng.binomial(lengths, rates), lengths], axis=1) for _ in range(2))
        p_values.append(rate_difference(here, there, seed=run).p_value or 0.0)
    assert 0.01 < np.mean(np.array(p_values) < 0.05) < 0.10
    assert np.median(p_values) == pytest.approx(0.5, abs=0.1)


def test_a_small_difference_on_the_same_pages_is_significant_although_both_intervals_overlap() -> None:
    rng = np.random.default_rng(7)
    there = draw_pages(rng, 100, spread=0.3)
    here = there - np.stack([there[:, 0] > 0, np.zeros(100, np.int64)], axis=1)
    difference = rate_difference(here, there)
    assert difference.difference == pytest.approx(-int((there[:, 0] > 0).sum()) / there[:, 1].sum())
    assert difference.p_value == pytest.approx(2 / (NUM_RESAMPLES + 1))
    assert (difference.high or 0) < 0
    interval, baseline_interval = find_interval(here), find_interval(there)
    assert interval is not None
    assert baseline_interval is not None
    assert interval[1] > baseline_interval[0]


def test_swapping_the_models_changes_the_sign_and_not_the_p_value() -> None:
    rng = np.random.default_rng(8)
    here, there = draw_pages(rng, 40), draw_pages(rng, 40)
    one, other = rate_difference(here, there), rate_difference(there, here)
    assert one.difference == pytest.approx(-(other.difference or 0))
    assert one.low == pytest.approx(-(other.high or 0), abs=0.01)
    assert one.p_value == pytest.approx(other.p_value, abs=0.1)


def test_different_pages_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"same pages, got 3 and 2"):
        rate_difference(np.ones((3, 2), np.int64), np.ones((2, 2), np.int64))


def test_intervals_do_not_depend_on_the_order_of_lines_or_page_numbers() -> None:
    counts, clusters = count_rows(), np.arange(120) // 4
    order = np.random.default_rng(9).permutation(120)
    shuffled = describe_intervals(counts[order], 1_000 - clusters[order])
    assert shuffled == describe_intervals(counts, clusters)
    assert shuffled != describe_intervals(counts, np.arange(120))


def test_numerator_and_denominator_of_every_rate_give_the_rate_of_the_report() -> None:
    counts = count_rows()
    entry = describe_counts(counts.sum(axis=0))
    for rate in RATES:
        over, under = rate_terms(counts, rate).sum(axis=0)
        assert over / under == pytest.approx(entry[rate])
        low, high = describe_intervals(counts, np.arange(len(counts)))[rate] or (1, 0)
        assert low < entry[rate] < high


def test_there_is_no_interval_over_no_lines_one_page_or_no_words() -> None:
    nothing = dict.fromkeys(RATES)
    assert describe_intervals(count_lines([], []), np.zeros(0, np.int64)) == nothing
    assert describe_intervals(count_rows(), np.zeros(120, np.int64)) == nothing
    empty = describe_intervals(count_lines(["", ""], ["", "가"]), np.arange(2))
    assert (empty["cer"], empty["wer"], empty["exact_match"]) == (None, None, [0.0, 1.0])
    one = rate_difference(np.array([[1, 4]]), np.array([[2, 4]]))
    assert (one.difference, one.low, one.high, one.p_value) == (-0.25, None, None, None)
    none = rate_difference(np.array([[0, 0], [0, 0]]), np.array([[0, 0], [0, 0]]))
    assert (none.difference, none.p_value) == (None, None)


def test_a_rate_of_0_or_1_has_the_interval_of_wilson() -> None:
    # 0 of n: the upper end is z² / (n + z²) with z² = 3.8415; 36 characters, 18 words, 9 lines.
    counts = count_lines(["가나 다"] * 9, ["가나 다"] * 9)
    intervals = describe_intervals(counts, np.arange(9))
    expected = {
        "cer": [0.0, 0.096419],
        "wer": [0.0, 0.175879],
        "character_accuracy": [0.903581, 1.0],
        "exact_match": [0.700855, 1.0],
    }
    assert {rate: pytest.approx(ends, abs=1e-6) for rate, ends in expected.items()} == intervals
    # R. G. Newcombe, Two-sided confidence intervals for the single proportion, 1998, table I, method 3.
    for hits, trials, low, high in (
        *((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)),
        *((0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)),
    ):
        assert find_wilson_interval(hits, trials) == pytest.approx((low, high), abs=5e-5)


def test_a_slice_has_the_intervals_of_only_its_lines() -> None:
    counts, clusters = count_rows(), np.arange(120) // 2
    names = [None if row % 7 == 0 else ("a", "b")[row % 2] for row in range(120)]
    intervals = describe_slice_intervals(counts, clusters, {"by_x": names, "by_none": [None] * 120})
    rows = [row for row, name in enumerate(names) if name == "b"]
    assert list(intervals["by_x"]) == ["a", "b"]
    assert intervals["by_x"]["b"] == describe_intervals(counts[rows], clusters[rows])
    assert intervals["by_none"] == {}


def test_lines_of_a_page_share_a_cluster_and_a_line_without_a_page_is_a_cluster() -> None:
    datasets = pa.chunked_array([["a", "a/b", "a"], ["a", "b", "b", "a"]])
    page_ids = pa.chunked_array([["b/c", "c", "b/c"], [None, "b/c", None, ""]], pa.string())
    numbers = number_clusters(datasets, page_ids).tolist()
    assert numbers[0] == numbers[2]
    assert len(set(numbers)) == 6
    assert number_clusters(datasets.slice(3, 1), page_ids.slice(3, 1)).tolist() == [0]
    assert number_clusters(datasets.slice(0, 0), page_ids.slice(0, 0)).tolist() == []


def test_page_sums_are_those_of_a_loop() -> None:
    counts, clusters = count_rows(30), np.random.default_rng(10).integers(0, 5, 30)
    sums = {int(name): np.zeros(counts.shape[1], np.int64) for name in clusters}
    for name, row in zip(clusters, counts, strict=True):
        sums[int(name)] += row
    assert sum_clusters(counts, clusters).tolist() == [sums[name].tolist() for name in sorted(sums)]

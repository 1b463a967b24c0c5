import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocr_ray.evaluation.analysis.calibration import NUM_BINS, Calibration, calibrate

CONFIDENCE = st.one_of(st.none(), st.just(math.nan), st.floats(0, 1))
LINES = st.lists(st.tuples(CONFIDENCE, st.booleans()), max_size=30)


def calibrate_lines(lines: list[tuple[float | None, bool]]) -> Calibration:
    return calibrate([confidence for confidence, _ in lines], [exact for _, exact in lines])


def test_the_error_worked_by_hand() -> None:
    # 0.9 to 1: four lines, mean confidence 0.95, three exact: 0.2 apart.
    # 0.5 to 0.6: two lines, mean confidence 0.55, both exact: 0.45 apart.
    report = calibrate(
        [0.92, 0.94, 0.96, 0.98, 0.5, 0.6 - 1e-9], [True, True, True, False, True, True]
    ).to_report()
    assert report["expected_calibration_error"] == pytest.approx((4 * 0.2 + 2 * 0.45) / 6)
    assert [found["lines"] for found in report["bins"]] == [0, 0, 0, 0, 0, 2, 0, 0, 0, 4]
    last = report["bins"][-1]
    assert (last["low"], last["high"], last["exact_share"]) == (0.9, 1.0, 0.75)
    assert last["mean_confidence"] == pytest.approx(0.95)
    assert (report["bins"][0]["exact_share"], report["bins"][0]["mean_confidence"]) == (None, None)


def test_a_reader_that_knows_how_sure_it_is_has_no_error_and_a_boaster_has() -> None:
    exact = [place < 8 for place in range(10)]
    assert calibrate([0.8] * 10, exact).expected_calibration_error == pytest.approx(0.0, abs=1e-12)
    assert calibrate([1.0] * 10, exact).expected_calibration_error == pytest.approx(0.2)


@pytest.mark.parametrize("place", range(NUM_BINS))
def test_a_bin_begins_with_its_lower_end(place: int) -> None:
    bins = calibrate([place / 10], [True]).bins
    assert [found.lines for found in bins].index(1) == place


def test_certainty_beyond_rounding_is_in_the_last_bin_and_more_is_refused() -> None:
    found = calibrate([1.0, 1.0000001, -1e-9], [True] * 3)
    assert (found.bins[-1].lines, found.bins[0].lines) == (2, 1)
    for confidence in (1.1, -0.1, math.inf):
        with pytest.raises(ValueError, match=r"from 0 to 1, got"):
            calibrate([confidence], [True])


def test_lines_without_confidence_are_counted_apart_and_over_nothing_there_is_no_error() -> None:
    report = calibrate([None, math.nan], [True, False]).to_report()
    assert (report["without_confidence"], report["expected_calibration_error"]) == (2, None)
    assert calibrate([], []) == Calibration()


def test_each_confidence_needs_its_line() -> None:
    with pytest.raises(ValueError, match=r"zip\(\)"):
        calibrate([0.5], [True, False])


@given(lines=LINES, cut=st.integers(0, 30))
def test_any_partition_of_the_lines_tells_the_very_same(
    lines: list[tuple[float | None, bool]], cut: int
) -> None:
    parts = calibrate_lines(lines[cut:][::-1]) + calibrate_lines(lines[:cut])
    assert parts == calibrate_lines(lines)

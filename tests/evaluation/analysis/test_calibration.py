import math
from typing import Any

import pytest
from builders.readings import make_reading
from hypothesis import given
from hypothesis import strategies as st

from ocr_ray.evaluation.analysis.calibration import NUM_BINS, Calibration

CONFIDENCE = st.one_of(st.none(), st.just(math.nan), st.floats(0, 1))
LINES = st.lists(st.tuples(CONFIDENCE, st.booleans()), max_size=30)
Line = tuple[float | None, bool]
"""Confidence, and whether the line was read without an error."""


def calibrate(*parts: list[Line]) -> dict[str, Any]:
    calibration = Calibration()
    for part in parts:
        calibration.add(
            [make_reading("가", "가" if exact else "나", confidence=confidence) for confidence, exact in part]
        )
    return calibration.describe()


def test_the_error_calculated_by_hand() -> None:
    # 0.9 to 1: four lines, mean confidence 0.95, three exact: distance 0.2.
    # 0.5 to 0.6: two lines, mean confidence 0.55, both exact: distance 0.45.
    confidences = [0.92, 0.94, 0.96, 0.98, 0.5, 0.6 - 1e-9]
    report = calibrate(list(zip(confidences, [True, True, True, False, True, True], strict=True)))
    assert report["expected_calibration_error"] == pytest.approx((4 * 0.2 + 2 * 0.45) / 6)
    assert [entry["lines"] for entry in report["bins"]] == [0, 0, 0, 0, 0, 2, 0, 0, 0, 4]
    last = report["bins"][-1]
    assert (last["low"], last["high"], last["exact_share"]) == (0.9, 1.0, 0.75)
    assert last["mean_confidence"] == pytest.approx(0.95)
    assert (report["bins"][0]["exact_share"], report["bins"][0]["mean_confidence"]) == (None, None)


@pytest.mark.parametrize(("confidence", "error"), [(0.8, 0.0), (1.0, 0.2)])
def test_a_calibrated_model_has_no_error_and_an_overconfident_one_has(
    confidence: float, error: float
) -> None:
    report = calibrate([(confidence, number < 8) for number in range(10)])
    assert report["expected_calibration_error"] == pytest.approx(error, abs=1e-12)


@pytest.mark.parametrize("index", range(NUM_BINS))
def test_a_bin_starts_with_its_lower_end(index: int) -> None:
    bins = calibrate([(index / 10, True)])["bins"]
    assert [entry["lines"] for entry in bins].index(1) == index


def test_rounding_errors_at_the_ends_are_accepted_and_other_confidences_refused() -> None:
    bins = calibrate([(1.0, True), (1.0000001, True), (-1e-9, True)])["bins"]
    assert (bins[-1]["lines"], bins[0]["lines"]) == (2, 1)
    for confidence in (1.1, -0.1, math.inf):
        with pytest.raises(ValueError, match=r"from 0 to 1, got"):
            calibrate([(confidence, True)])


def test_lines_without_confidence_are_counted_separately() -> None:
    report = calibrate([(None, True), (math.nan, False)])
    assert (report["without_confidence"], report["expected_calibration_error"]) == (2, None)
    assert calibrate()["expected_calibration_error"] is None


@given(lines=LINES, cut=st.integers(0, 30))
def test_the_report_is_the_same_for_any_parts(lines: list[Line], cut: int) -> None:
    assert calibrate(lines[cut:][::-1], lines[:cut]) == calibrate(lines)

"""How a line is wrong, and how the report counts it."""

import pytest
from builders.readings import make_reading

from ocr_ray.evaluation.alignment import align
from ocr_ray.evaluation.analysis.error_kinds import ErrorKinds, name_error_kind


@pytest.mark.parametrize(
    ("reference", "prediction", "kind"),
    [
        ("탁자 7개", "탁자7개", "spacing"),
        ("탁자 7개", "탁 자 7 개", "spacing"),
        ("탁자 7개", "탁자 7개에 앉아", "run_on"),
        ("탁자 7개", "탁지 7개에 앉아", "run_on"),
        ("탁자 7개", "탁자 7개.", "other"),
        ("탁자 7개에 앉으려고", "탁자 7개에", "missing_tail"),
        ("탁자 7개", "", "missing_tail"),
        ("탁자 7개", "탁자 7", "other"),
        ("탁자 7개", "탁지 7개", "substitution"),
        ("탁자 7개", "탁지7개", "substitution"),
        ("학생들이", "학들이", "other"),
        ("", "다음은", "run_on"),
    ],
)
def test_a_line_has_the_kind_of_its_gravest_error(reference: str, prediction: str, kind: str) -> None:
    assert name_error_kind(align(reference, prediction)) == kind


def test_wrong_lines_are_counted_once_and_right_ones_never() -> None:
    kinds = ErrorKinds()
    kinds.add([make_reading("가나", "가나"), make_reading("가 나", "가나")])
    kinds.add([make_reading("가나다", "가마다")])
    counts = kinds.describe()
    assert counts == dict.fromkeys(counts, 0) | {"wrong_lines": 2, "spacing": 1, "substitution": 1}
    assert sum(counts.values()) == 2 * counts["wrong_lines"]

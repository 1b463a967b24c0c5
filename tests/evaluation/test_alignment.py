from collections import Counter

import jiwer
import numpy as np
import pytest
from builders.readings import EXAMPLE_PAIRS
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.evaluation.alignment import align, align_all, third_of
from ocr_ray.evaluation.analysis.confusions import count_confusions
from ocr_ray.metrics import count_errors

LINE = st.text(alphabet="가나다라 12=", max_size=14)


def errors_by_third(reference: str, prediction: str) -> list[int]:
    alignment = align(reference, prediction)
    thirds = Counter(
        third_of(step.anchor, len(reference))
        for step in alignment.steps
        if step.kind != "equal" and reference
    )
    return [thirds[third] for third in range(3)]


def distance(reference: str, prediction: str) -> int:
    """Return the Levenshtein distance by dynamic programming."""
    row = list(range(len(prediction) + 1))
    for i, a in enumerate(reference, 1):
        above = row
        row = [i]
        for j, b in enumerate(prediction, 1):
            row.append(min(above[j - 1] + (a != b), above[j] + 1, row[j - 1] + 1))
    return row[-1]


@settings(deadline=None)
@given(reference=LINE, prediction=LINE)
def test_steps_spell_both_sides_and_have_as_many_errors_as_the_edit_distance(
    reference: str, prediction: str
) -> None:
    alignment = align(reference, prediction)
    assert "".join(step.reference for step in alignment.steps) == reference.strip() == alignment.reference
    assert "".join(step.prediction for step in alignment.steps) == prediction.strip() == alignment.prediction
    for step in alignment.steps:
        assert step.kind == "insert" or alignment.reference[step.reference_index] == step.reference
        assert step.kind == "delete" or alignment.prediction[step.prediction_index] == step.prediction
        assert (step.kind == "equal") == (step.reference == step.prediction)
        assert (step.kind == "insert") == (step.reference == "")
        assert (step.kind == "delete") == (step.prediction == "")
    errors = sum(step.kind != "equal" for step in alignment.steps)
    assert errors == distance(alignment.reference, alignment.prediction)


@settings(deadline=None)
@given(reference=LINE, prediction=LINE)
def test_shifting_gaps_keeps_the_counts_of_jiwer(reference: str, prediction: str) -> None:
    kinds = Counter(step.kind for step in align(reference, prediction).steps)
    counts = jiwer.process_characters(reference.strip(), prediction.strip())
    assert (kinds["equal"], kinds["substitute"], kinds["delete"], kinds["insert"]) == (
        counts.hits,
        counts.substitutions,
        counts.deletions,
        counts.insertions,
    )


@settings(deadline=None)
@given(reference=LINE, prediction=LINE)
def test_operations_cover_both_sides_without_gaps(reference: str, prediction: str) -> None:
    alignment = align(reference, prediction)
    position = (0, 0)
    for operation in alignment.operations:
        assert (operation.reference_start, operation.prediction_start) == position
        position = (operation.reference_stop, operation.prediction_stop)
    assert position == (len(alignment.reference), len(alignment.prediction))


@settings(deadline=None)
@given(reference=LINE, prediction=LINE)
def test_the_errors_of_the_thirds_sum_to_those_of_the_line(reference: str, prediction: str) -> None:
    reference = reference.strip() or "가"
    counts = count_errors(reference, prediction)
    errors = counts.character_substitutions + counts.character_deletions + counts.character_insertions
    assert sum(errors_by_third(reference, prediction)) == errors


@pytest.mark.parametrize(
    ("length", "sizes"),
    [(1, [1, 0, 0]), (2, [1, 1, 0]), (3, [1, 1, 1]), (4, [2, 1, 1]), (5, [2, 2, 1]), (30, [10, 10, 10])],
)
def test_thirds_are_as_even_as_possible(length: int, sizes: list[int]) -> None:
    thirds = [third_of(index, length) for index in range(length)]
    assert thirds == sorted(thirds)
    assert np.bincount(thirds, minlength=3).tolist() == sizes


def test_thirds_of_every_length_differ_by_one_character_at_most() -> None:
    for length in range(1, 200):
        sizes = np.bincount([third_of(index, length) for index in range(length)], minlength=3)
        assert sizes.sum() == length
        assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize(
    ("reference", "prediction", "thirds"),
    [
        ("가나다라마바", "가나다라마바", [0, 0, 0]),
        ("가나다라마바", "가나다라XYZW", [0, 0, 4]),  # jiwer has the surplus in the middle
        ("가나다라마바", "가나다라X", [0, 0, 2]),
        ("가나다라마바", "X가나다라마바", [1, 0, 0]),
        ("가나다라마바", "가나X다라마바", [1, 0, 0]),  # after 나
        ("가나다라마바", "가나다라마바X", [0, 0, 1]),
        ("가나다라마바", "", [2, 2, 2]),
        ("가", "나다", [2, 0, 0]),
    ],
)
def test_errors_are_in_the_third_where_the_model_made_them(
    reference: str, prediction: str, thirds: list[int]
) -> None:
    assert errors_by_third(reference, prediction) == thirds


@pytest.mark.parametrize(
    ("reference", "prediction", "tail"),
    [
        ("탁자 한", "탁자 한 개에", " 개에"),
        ("탁자 한", "탁자 한", ""),
        ("탁자 한", "탁자 두 개에", " 개에"),  # the last character is a substitution, not a deletion
        ("가나다", "가라다 마바다", " 마바다"),  # not only the last of these
        ("탁자 한", "책상 탁자 한", ""),
        ("12", "1212", "12"),
        ("", "가", "가"),
        ("가나", "가", ""),
    ],
)
def test_trailing_hallucination_is_the_text_after_the_last_character(
    reference: str, prediction: str, tail: str
) -> None:
    assert align(reference, prediction).trailing_hallucination == tail


def longest_tail(reference: str, prediction: str) -> int:
    """Return how many final characters of a prediction can be insertions at the minimum edit distance."""
    whole = distance(reference, prediction)
    fits = [
        n
        for n in range(len(prediction) + 1)
        if distance(reference, prediction[: len(prediction) - n]) + n == whole
    ]
    return max(fits)


@settings(deadline=None)
@given(reference=LINE, tail=st.text(alphabet="마바사34+", min_size=1, max_size=6))
def test_text_appended_to_a_line_is_trailing_hallucination_in_full(reference: str, tail: str) -> None:
    reference = reference.strip()
    assert align(reference, reference + tail).trailing_hallucination == tail


@settings(deadline=None)
@given(reference=LINE, prediction=LINE)
def test_trailing_hallucination_is_never_longer_than_the_edit_distance_allows(
    reference: str, prediction: str
) -> None:
    alignment = align(reference, prediction)
    assert len(alignment.trailing_hallucination) <= longest_tail(alignment.reference, alignment.prediction)


@settings(deadline=None)
@given(head=LINE, rest=st.text(alphabet="거너더", max_size=6), tail=st.text(alphabet="마바사34+", max_size=9))
def test_the_surplus_of_an_invented_tail_is_trailing_hallucination(head: str, rest: str, tail: str) -> None:
    head = head.strip()
    surplus = max(0, len(tail) - len(rest))
    assert align(head + rest, head + tail).trailing_hallucination == tail[len(tail) - surplus :]


def test_the_prediction_for_a_range_includes_insertions_after_its_characters() -> None:
    alignment = align("3×8=24, 5", "3×8=245, 6")
    assert alignment.prediction_for(0, 6) == "3×8=245"
    assert alignment.prediction_for(6, 9) == ", 6"
    assert align("가나", "X가Y나").prediction_for(0, 1) == "X가Y"


def test_confusions_are_counted_as_pairs_with_gaps_as_empty() -> None:
    alignments = align_all(["12월", "1월", "가", "같다"], ["17월", "11월", "", "같다"])
    assert count_confusions(alignments) == {("2", "7"): 1, ("", "1"): 1, ("가", ""): 1}


def test_errors_of_the_example_counted_by_hand() -> None:
    # One space inserted after `$7$`, the 11th character of 36; three trailing characters.
    assert errors_by_third(*EXAMPLE_PAIRS[0]) == [1, 0, 3]
    assert align(*EXAMPLE_PAIRS[0]).trailing_hallucination == " 개에"
    # `, $4$` for ` 전체 학생 수`: 5 characters for 8, of which only the second space is correct.
    assert errors_by_third(*EXAMPLE_PAIRS[2]) == [0, 7, 0]
    assert (
        align(*EXAMPLE_PAIRS[1]).trailing_hallucination
        == align(*EXAMPLE_PAIRS[2]).trailing_hallucination
        == ""
    )
    assert sum(errors_by_third(*EXAMPLE_PAIRS[1])) == distance(*EXAMPLE_PAIRS[1])


def test_a_reference_without_a_prediction_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        align_all(["가"], [])

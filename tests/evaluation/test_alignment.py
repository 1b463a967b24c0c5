from collections import Counter

import jiwer
import numpy as np
import pytest
from builders.readings import BRIEF_PAIRS
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.evaluation.alignment import align, align_all, count_confusions, third_of
from ocr_ray.metrics import count_errors

LINE = st.text(alphabet="가나다라 12=", max_size=14)


def errors_by_third(truth: str, prediction: str) -> list[int]:
    alignment = align(truth, prediction)
    thirds = Counter(
        third_of(step.owner, len(truth)) for step in alignment.steps if step.kind != "equal" and truth
    )
    return [thirds[third] for third in range(3)]


def distance(truth: str, prediction: str) -> int:
    """Levenshtein's distance by its definition."""
    row = list(range(len(prediction) + 1))
    for i, a in enumerate(truth, 1):
        above = row
        row = [i]
        for j, b in enumerate(prediction, 1):
            row.append(min(above[j - 1] + (a != b), above[j] + 1, row[j - 1] + 1))
    return row[-1]


@settings(deadline=None)
@given(truth=LINE, prediction=LINE)
def test_the_steps_say_both_sides_and_have_as_many_errors_as_the_distance(
    truth: str, prediction: str
) -> None:
    alignment = align(truth, prediction)
    assert "".join(step.truth for step in alignment.steps) == truth.strip() == alignment.truth
    assert "".join(step.read for step in alignment.steps) == prediction.strip() == alignment.prediction
    for step in alignment.steps:
        assert step.kind == "insert" or alignment.truth[step.truth_place] == step.truth
        assert step.kind == "delete" or alignment.prediction[step.read_place] == step.read
        assert (step.kind == "equal") == (step.truth == step.read)
        assert (step.kind == "insert") == (step.truth == "")
        assert (step.kind == "delete") == (step.read == "")
    errors = sum(step.kind != "equal" for step in alignment.steps)
    assert errors == distance(alignment.truth, alignment.prediction)


@settings(deadline=None)
@given(truth=LINE, prediction=LINE)
def test_moving_the_gaps_changes_none_of_the_counts_that_jiwer_gives(truth: str, prediction: str) -> None:
    kinds = Counter(step.kind for step in align(truth, prediction).steps)
    counts = jiwer.process_characters(truth.strip(), prediction.strip())
    assert (kinds["equal"], kinds["substitute"], kinds["delete"], kinds["insert"]) == (
        counts.hits,
        counts.substitutions,
        counts.deletions,
        counts.insertions,
    )


@settings(deadline=None)
@given(truth=LINE, prediction=LINE)
def test_operations_follow_each_other_without_a_gap_and_end_at_both_ends(truth: str, prediction: str) -> None:
    alignment = align(truth, prediction)
    places = (0, 0)
    for operation in alignment.operations:
        assert (operation.truth_start, operation.read_start) == places
        places = (operation.truth_stop, operation.read_stop)
    assert places == (len(alignment.truth), len(alignment.prediction))


@settings(deadline=None)
@given(truth=LINE, prediction=LINE)
def test_the_errors_of_the_thirds_sum_to_those_of_the_line(truth: str, prediction: str) -> None:
    truth = truth.strip() or "가"
    counts = count_errors(truth, prediction)
    errors = counts.character_substitutions + counts.character_deletions + counts.character_insertions
    assert sum(errors_by_third(truth, prediction)) == errors


@pytest.mark.parametrize(
    ("length", "sizes"),
    [(1, [1, 0, 0]), (2, [1, 1, 0]), (3, [1, 1, 1]), (4, [2, 1, 1]), (5, [2, 2, 1]), (30, [10, 10, 10])],
)
def test_thirds_are_as_even_as_can_be(length: int, sizes: list[int]) -> None:
    thirds = [third_of(place, length) for place in range(length)]
    assert thirds == sorted(thirds)
    assert np.bincount(thirds, minlength=3).tolist() == sizes


def test_thirds_of_every_length_differ_by_one_character_at_most() -> None:
    for length in range(1, 200):
        sizes = np.bincount([third_of(place, length) for place in range(length)], minlength=3)
        assert sizes.sum() == length
        assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize(
    ("truth", "prediction", "thirds"),
    [
        ("가나다라마바", "가나다라마바", [0, 0, 0]),
        ("가나다라마바", "가나다라XYZW", [0, 0, 4]),  # the surplus is not the middle's, where jiwer has it
        ("가나다라마바", "가나다라X", [0, 0, 2]),
        ("가나다라마바", "X가나다라마바", [1, 0, 0]),
        ("가나다라마바", "가나X다라마바", [1, 0, 0]),  # behind 나
        ("가나다라마바", "가나다라마바X", [0, 0, 1]),
        ("가나다라마바", "", [2, 2, 2]),
        ("가", "나다", [2, 0, 0]),
    ],
)
def test_errors_lie_in_the_third_where_a_reader_made_them(
    truth: str, prediction: str, thirds: list[int]
) -> None:
    assert errors_by_third(truth, prediction) == thirds


@pytest.mark.parametrize(
    ("truth", "prediction", "overread"),
    [
        ("탁자 한", "탁자 한 개에", " 개에"),
        ("탁자 한", "탁자 한", ""),
        ("탁자 한", "탁자 두 개에", " 개에"),  # the last character was misread, not left out
        ("가나다", "가라다 마바다", " 마바다"),  # and not the last of these
        ("탁자 한", "책상 탁자 한", ""),
        ("12", "1212", "12"),
        ("", "가", "가"),
        ("가나", "가", ""),
    ],
)
def test_overread_is_what_stands_behind_the_last_character(
    truth: str, prediction: str, overread: str
) -> None:
    assert align(truth, prediction).overread == overread


def longest_tail(truth: str, prediction: str) -> int:
    """How many of the last characters of a prediction can be left off with as many fewer errors."""
    whole = distance(truth, prediction)
    fits = [
        n
        for n in range(len(prediction) + 1)
        if distance(truth, prediction[: len(prediction) - n]) + n == whole
    ]
    return max(fits)


@settings(deadline=None)
@given(truth=LINE, tail=st.text(alphabet="마바사34+", min_size=1, max_size=6))
def test_what_is_added_behind_a_line_is_overread_in_full(truth: str, tail: str) -> None:
    truth = truth.strip()
    assert align(truth, truth + tail).overread == tail


@settings(deadline=None)
@given(truth=LINE, prediction=LINE)
def test_overread_is_never_more_than_fewest_errors_allow(truth: str, prediction: str) -> None:
    alignment = align(truth, prediction)
    assert len(alignment.overread) <= longest_tail(alignment.truth, alignment.prediction)


@settings(deadline=None)
@given(head=LINE, rest=st.text(alphabet="거너더", max_size=6), tail=st.text(alphabet="마바사34+", max_size=9))
def test_a_tail_that_was_made_up_is_overread_as_far_as_it_is_longer(head: str, rest: str, tail: str) -> None:
    head = head.strip()
    surplus = max(0, len(tail) - len(rest))
    assert align(head + rest, head + tail).overread == tail[len(tail) - surplus :]


def test_what_was_read_for_a_part_has_what_was_put_in_behind_its_characters() -> None:
    alignment = align("3×8=24, 5", "3×8=245, 6")
    assert alignment.read_of(0, 6) == "3×8=245"
    assert alignment.read_of(6, 9) == ", 6"
    assert align("가나", "X가Y나").read_of(0, 1) == "X가Y"


def test_confusions_are_counted_as_pairs_with_gaps_as_empty() -> None:
    alignments = align_all(["12월", "1월", "가", "같다"], ["17월", "11월", "", "같다"])
    assert count_confusions(alignments) == {("2", "7"): 1, ("", "1"): 1, ("가", ""): 1}


def test_the_brief_was_misread_as_counted_by_hand() -> None:
    # One space put in behind `$7$`, the first box's 11th character of 36; three characters read on.
    assert errors_by_third(*BRIEF_PAIRS[0]) == [1, 0, 3]
    assert align(*BRIEF_PAIRS[0]).overread == " 개에"
    # `, $4$` for ` 전체 학생 수`: 9 characters for 5, of which the second space alone is right.
    assert errors_by_third(*BRIEF_PAIRS[2]) == [0, 7, 0]
    assert align(*BRIEF_PAIRS[1]).overread == align(*BRIEF_PAIRS[2]).overread == ""
    assert sum(errors_by_third(*BRIEF_PAIRS[1])) == distance(*BRIEF_PAIRS[1])


def test_a_truth_without_a_prediction_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        align_all(["가"], [])

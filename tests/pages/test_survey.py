import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.pages.survey import split_of_problem


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 2**63 - 1))
def test_problems_that_differ_only_in_numbers_share_a_split(first: int, second: int, seed: int) -> None:
    splits = {
        split_of_problem(f"사과 ${number}$개와 $3.{number} \\times 2$를 더해요.", seed, 0.5)
        for number in (first, second)
    }
    assert len(splits) == 1


def test_the_split_ignores_spaces_and_unicode_normalisation() -> None:
    problem = "사과가 $7$개"
    for seed in range(20):
        assert split_of_problem(problem, seed, 0.5) == split_of_problem("사과가$12$ 개", seed, 0.5)
        decomposed = unicodedata.normalize("NFD", problem)
        assert split_of_problem(problem, seed, 0.5) == split_of_problem(decomposed, seed, 0.5)


def syllables(number: int) -> str:
    return "".join(chr(0xAC00 + int(digit)) for digit in str(number))


def test_validation_has_its_share_and_only_grows_with_it() -> None:
    problems = [f"문제 {syllables(number)}" for number in range(4000)]
    small, large = (
        {problem for problem in problems if split_of_problem(problem, 7, share) == "validation"}
        for share in (0.2, 0.3)
    )
    assert len(small) == pytest.approx(800, abs=100)  # four standard deviations
    assert small < large
    assert small != {problem for problem in problems if split_of_problem(problem, 8, 0.2) == "validation"}


def test_the_split_of_a_problem_never_changes_between_versions() -> None:
    assert [split_of_problem(f"문제 {syllables(n)}", 7, 0.5)[0] for n in range(12)] == list("tttvtvvvvtvv")


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_0_or_1_is_exact(share: float) -> None:
    expected = "validation" if share else "train"
    assert {split_of_problem(syllables(n), 7, share) for n in range(200)} == {expected}


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="validation_share must be from 0 to 1"):
        split_of_problem("문제", 7, share)

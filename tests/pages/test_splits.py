import itertools
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.pages.splits import NEAR_SHARE, choose_validation, problem_key


def choose(problems: list[str], share: float, seed: int = 7) -> set[str]:
    """Return the problems in validation."""
    keys, sizes = np.unique(
        np.array([problem_key(problem, seed) for problem in problems], np.uint64), return_counts=True
    )
    chosen = set(choose_validation(keys, sizes, share).tolist())
    return {problem for problem in problems if problem_key(problem, seed) in chosen}


def choose_sizes(sizes: list[int], share: float, seed: int = 0) -> list[int]:
    """Return the numbers of pages of the groups in validation; the groups have random keys."""
    keys = np.sort(np.random.default_rng(seed).integers(0, 2**64, len(sizes), dtype=np.uint64))
    chosen = choose_validation(keys, np.array(sizes, np.int64), share)
    return [size for key, size in zip(keys, sizes, strict=True) if key in chosen]


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 2**63 - 1))
def test_problems_that_differ_only_in_numbers_have_one_key(first: int, second: int, seed: int) -> None:
    keys = {
        problem_key(f"사과 ${number}$개와 $3.{number} \\times 2$를 더해요.", seed)
        for number in (first, second)
    }
    assert len(keys) == 1


def test_the_key_ignores_spaces_and_unicode_normalisation() -> None:
    problem = "사과가 $7$개"
    assert problem_key(problem, 3) == problem_key("사과가$12$ 개", 3)
    assert problem_key(problem, 3) == problem_key(unicodedata.normalize("NFD", problem), 3)
    assert problem_key(problem, 3) != problem_key("배가 $7$개", 3)
    assert problem_key(problem, 3) != problem_key(problem, 4)


def syllables(number: int) -> str:
    return "".join(chr(0xAC00 + int(digit)) for digit in str(number))


def test_of_many_problems_validation_has_its_share_and_only_grows_with_it() -> None:
    problems = [f"문제 {syllables(number)}" for number in range(4000)]
    small, large = (choose(problems, share) for share in (0.2, 0.3))
    assert len(small) == pytest.approx(800, abs=100)  # four standard deviations
    assert small < large
    assert small != choose(problems, 0.2, seed=8)


def test_pages_added_to_many_leave_the_others_where_they_are() -> None:
    problems = [f"문제 {syllables(number)}" for number in range(4000)]
    assert choose(problems[:3000], 0.2) == choose(problems, 0.2) & set(problems[:3000])


def test_the_split_of_a_problem_never_changes_between_versions() -> None:
    problems = [f"문제 {syllables(n)}" for n in range(12)]
    validation = choose(problems, 0.5)
    assert "".join("v" if problem in validation else "t" for problem in problems) == "tttvtvvvvtvv"


def distance(sizes: tuple[int, ...], share: float, total: int) -> float:
    return abs(sum(sizes) - share * total)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=9), st.floats(0.01, 0.99), st.integers(0, 99))
def test_no_choice_of_few_groups_is_nearer_to_the_share_and_none_is_empty(
    sizes: list[int], share: float, seed: int
) -> None:
    total = sum(sizes)
    choices = [choice for number in range(1, len(sizes)) for choice in itertools.combinations(sizes, number)]
    best = min(distance(choice, share, total) for choice in choices)
    chosen = tuple(choose_sizes(sizes, share, seed))
    assert 0 < len(chosen) < len(sizes)
    near = NEAR_SHARE * min(share, 1 - share) * total  # the choice of the hashes is kept
    assert distance(chosen, share, total) <= max(best, near) + 1e-9


def test_one_group_with_most_pages_does_not_spoil_the_shares() -> None:
    for seed in range(20):
        chosen = choose_sizes([3000, *[1] * 7000], 0.2, seed)
        assert sum(chosen) == pytest.approx(2000, rel=NEAR_SHARE)
        assert sum(choose_sizes([9000, *[1] * 1000], 0.2, seed)) == 1000


def test_groups_without_pages_do_not_count() -> None:
    for seed in range(20):
        assert sum(choose_sizes([0, 0, 4, 1, 0], 0.2, seed)) == 1
    assert choose_sizes([], 0.2) == choose_sizes([0], 0.0) == []
    assert {sum(choose_sizes([5], 0.2, seed)) for seed in range(20)} <= {0, 5}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_0_or_1_is_exact(share: float) -> None:
    problems = [syllables(n) for n in range(200)]
    assert choose(problems, share) == (set(problems) if share else set())


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="validation_share must be from 0 to 1"):
        choose(["문제"], share)

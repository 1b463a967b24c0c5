"""Frequencies of digits in each position of the numbers in expressions."""

import re
from collections import Counter, defaultdict
from itertools import cycle
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocr_ray.textgen.arithmetic.expressions import OPERATIONS, ArithmeticConfig, draw_expression
from ocr_ray.textgen.random_numbers import draw_number, draw_whole

LEFT_SIDE = re.compile("[^=<>○]*")
INTEGER = re.compile(r"(?<![0-9.])[0-9]+(?![0-9.])")


def count_digits(numbers: list[str]) -> dict[tuple[int, int], Counter[str]]:
    """Return how often each digit occurs, by the number's length and the position; 0 is the units."""
    counts: dict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    for number in numbers:
        for position, digit in enumerate(reversed(number)):
            counts[len(number), position][digit] += 1
    return counts


def unevenness(counts: Counter[str], *, leading: bool) -> float:
    shares = [counts[digit] for digit in ("123456789" if leading else "0123456789")]
    return max(shares) / max(min(shares), 1)


@pytest.fixture(scope="module")
def operands() -> list[str]:
    """Whole numbers left of the sign, which are random except for those that are divided evenly."""
    random, config = Random(7).random, ArithmeticConfig()
    texts = [draw_expression(random, config).text.replace(",", "") for _ in range(120_000)]
    return [number for text in texts for number in INTEGER.findall(LEFT_SIDE.match(text)[0])]


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_all_digits_are_equally_frequent_in_every_position(operands: list[str], length: int) -> None:
    counts = count_digits([number for number in operands if len(number) == length])
    for position in range(length - 1):
        assert unevenness(counts[length, position], leading=False) < (1.3 if length < 4 else 1.5), position
    assert unevenness(counts[length, length - 1], leading=True) < 1.5


def test_repeated_and_round_numbers_are_more_frequent_than_by_chance(operands: list[str]) -> None:
    for length, least in ((2, 0.14), (3, 0.06), (4, 0.05)):
        numbers = [number for number in operands if len(number) == length]
        assert sum(len(set(number)) == 1 for number in numbers) / len(numbers) > least
    thousands = [number for number in operands if len(number) == 4]
    assert sum(number.endswith("000") for number in thousands) / len(thousands) > 0.02


@pytest.mark.parametrize("length", range(1, 9))
def test_single_numbers_have_equally_frequent_digits_in_every_position(length: int) -> None:
    random = Random(length).random
    numbers = [draw_number(random, length) for _ in range(20_000)]
    assert {len(number) for number in numbers} == {length}
    for (_, position), counts in count_digits(numbers).items():
        assert unevenness(counts, leading=position == length - 1 and length > 1) < 1.3
    if length > 2:
        assert sum(len(set(number)) == 1 for number in numbers) > 1000
        assert sum(set(number[1:]) == {"0"} for number in numbers) > 300


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=8), st.integers(1, 15))
def test_a_number_has_the_requested_digits_for_any_random_numbers(stream: list[float], length: int) -> None:
    assert len(str(draw_whole(cycle(stream).__next__, length))) == length


@pytest.mark.parametrize("largest", [1 - 2**-53, 0.7 - 2**-53])
def test_the_largest_draw_does_not_make_a_number_longer(largest: float) -> None:
    assert [len(str(draw_whole(lambda: largest, length))) for length in range(1, 16)] == list(range(1, 16))


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=8), st.integers(1, 6))
def test_an_operation_returns_the_true_sign_and_for_a_comparison_the_false_ones(
    stream: list[float], grade: int
) -> None:
    for operation in OPERATIONS[grade]:
        left, signs, right = operation(cycle(stream).__next__)
        assert left
        assert right
        assert signs == "=" or sorted(signs) == sorted("<=>")

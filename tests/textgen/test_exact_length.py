from collections import Counter
from collections.abc import Iterator
from functools import partial
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.textgen.exact_length import LengthSampler, Option, WeightedChoice, choose
from ocr_ray.textgen.random_numbers import Random as RandomFunction


def draw_word(word: str, random: RandomFunction) -> str:
    return word


def make_choice(shares: dict[str, float]) -> WeightedChoice:
    return WeightedChoice(
        Option(len(word), share, partial(draw_word, word)) for word, share in shares.items()
    )


SHARES = st.dictionaries(st.text("abc", min_size=1, max_size=6), st.floats(0.01, 5), min_size=1, max_size=5)


def reach(widths: set[int], max_length: int) -> set[int]:
    """Return the lengths of lines of one or more tokens of these widths."""
    reached = {width for width in widths if width <= max_length}
    while more := {a + 1 + b for a in reached for b in widths if a + 1 + b <= max_length} - reached:
        reached |= more
    return reached


def list_lines(shares: dict[str, float], length: int) -> Iterator[tuple[tuple[str, ...], float]]:
    """Yield every line of exactly that length and its probability when tokens are drawn freely."""
    for word, share in shares.items():
        if len(word) == length:
            yield (word,), share
        elif len(word) + 1 < length:
            for rest, chance in list_lines(shares, length - len(word) - 1):
                yield (word, *rest), share * chance


@given(SHARES, st.integers(0, 40), st.integers())
@settings(deadline=None)
def test_a_sampler_fills_every_length_that_its_tokens_can_make_and_no_others(
    shares: dict[str, float], max_length: int, seed: int
) -> None:
    sampler = LengthSampler([(make_choice(shares), 1)], max_length)
    assert sampler.lengths == reach(set(map(len, shares)), max_length)
    for length in sampler.lengths:
        tokens = sampler.draw(length, Random(seed).random)
        assert set(tokens) <= shares.keys()
        assert len(" ".join(tokens)) == length


@given(SHARES, SHARES, SHARES, st.integers(0, 25), st.integers())
@settings(deadline=None)
def test_a_nested_sampler_has_a_token_of_each_before_the_rest(
    first: dict[str, float], second: dict[str, float], others: dict[str, float], max_length: int, seed: int
) -> None:
    second = {word.upper(): share for word, share in second.items()}
    rest = LengthSampler(
        [(make_choice(second), 1)], max_length, LengthSampler([(make_choice(others), 1)], max_length)
    )
    sampler = LengthSampler([(make_choice(first), 1)], max_length, rest)
    more = {-1} | reach(set(map(len, others)), max_length)
    assert sampler.lengths == {
        total
        for a in first
        for b in second
        for c in more
        if (total := len(a) + 1 + len(b) + 1 + c) <= max_length
    }
    for length in sampler.lengths:
        tokens = sampler.draw(length, Random(seed).random)
        assert len(" ".join(tokens)) == length
        assert tokens[0] in first
        assert tokens[1] in second
        assert set(tokens[2:]) <= others.keys()


def test_lines_are_as_frequent_as_with_rejection_sampling() -> None:
    shares = {"a": 0.5, "b": 0.1, "cc": 0.3, "dddd": 0.1}
    sampler = LengthSampler([(make_choice(shares), 1)], 30)
    random = Random(1).random
    drawn = Counter(tuple(sampler.draw(6, random)) for _ in range(20_000))
    expected = dict(list_lines(shares, 6))
    total = sum(expected.values())
    assert drawn.keys() <= expected.keys()
    for line, chance in expected.items():
        expected_count = 20_000 * chance / total
        assert abs(drawn[line] - expected_count) < 5 * expected_count**0.5 + 1, line
    assert sampler.probability[6] == pytest.approx(total)


def test_choices_of_a_sampler_have_their_shares() -> None:
    small, large = make_choice({"a": 3, "b": 1}), make_choice({"A": 0.1, "B": 0.1})
    random = Random(2).random
    tokens = Counter(LengthSampler([(small, 0.8), (large, 0.2)], 20_001).draw(20_001, random))
    assert tokens.total() == 10_001
    assert [tokens[name] / 10_001 for name in "abAB"] == pytest.approx([0.6, 0.2, 0.1, 0.1], abs=0.02)


def test_an_option_without_weight_is_never_drawn() -> None:
    choice = make_choice({"a": 0, "bb": 1})
    assert choice.share_by_width == {2: 1}
    assert WeightedChoice([]).share_by_width == {}
    assert LengthSampler([(choice, 1), (make_choice({"c": 1}), 0)], 5).lengths == {2, 5}


@given(st.lists(st.floats(0.1, 1), min_size=1), st.floats(0, 1, exclude_max=True))
def test_an_index_is_chosen_by_the_weight_at_a_random_position(weights: list[float], position: float) -> None:
    cumulative = [sum(weights[: index + 1]) for index in range(len(weights))]
    index = choose(cumulative, lambda: position)
    assert cumulative[index] - weights[index] - 1e-9 <= position * cumulative[-1] <= cumulative[index] + 1e-9

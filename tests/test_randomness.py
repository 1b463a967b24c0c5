from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ocr_ray.randomness import MAX_SEED, keyed_generator

numbers = st.integers(0, MAX_SEED)


@given(numbers, st.text(min_size=1, max_size=8), numbers)
def test_a_number_always_draws_the_same(seed: int, stream: str, number: int) -> None:
    first = keyed_generator(seed, stream, number).integers(0, 2**62, 4)
    assert (first == keyed_generator(seed, stream, number).integers(0, 2**62, 4)).all()


def test_seeds_streams_and_numbers_do_not_share_draws() -> None:
    keys = [(s, t, n) for s in (0, 1, MAX_SEED) for t in ("text", "style") for n in range(200)]
    draws = {tuple(keyed_generator(*key).integers(0, 2**62, 2)) for key in keys}
    assert len(draws) == len(keys)


def test_neighbouring_numbers_are_not_correlated() -> None:
    draws = [keyed_generator(0, "text", number).random() for number in range(4_000)]
    mean = sum(draws) / len(draws)
    lag = sum((a - mean) * (b - mean) for a, b in pairwise(draws)) / len(draws)
    assert abs(mean - 0.5) < 0.02
    assert abs(lag) < 0.005

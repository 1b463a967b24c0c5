from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.training.feed.lanes import NUM_LANES, Lanes, Repeated, iter_passes

SIZES = st.lists(st.integers(1, 20), min_size=1, max_size=90)


def make_lanes(sizes: list[int], num_passes: int = 1) -> Lanes:
    passes = np.random.default_rng(0).permuted(np.tile(np.arange(len(sizes)), (num_passes, 1)), axis=1)
    return Lanes(np.array(sizes), 3, "lines", list(passes))


@given(SIZES)
@settings(max_examples=40, deadline=None)
def test_lanes_share_out_every_line_once_and_differ_by_a_row_group_at_most(sizes: list[int]) -> None:
    lanes = make_lanes(sizes)
    assert lanes.deal()
    assert not lanes.deal()
    lengths = lanes.lengths
    assert lengths.max() - lengths.min() <= max(sizes)
    taken = [
        tuple(line)
        for lane, length in enumerate(lengths.tolist())
        if length
        for line in lanes.take(lane, 0, length).tolist()
    ]
    assert sorted(taken) == [(group, row) for group, size in enumerate(sizes) for row in range(size)]


@given(st.integers(0, NUM_LANES - 1), st.lists(st.integers(1, 700), min_size=1, max_size=6))
@settings(max_examples=30, deadline=None)
def test_a_lane_gives_the_same_lines_in_any_pieces(lane: int, pieces: list[int]) -> None:
    cuts = [0, *np.cumsum(pieces).tolist()]
    lanes = Lanes(np.full(60, 9), 3, "lines", iter_passes(60, 3, "lines"))
    whole = lanes.take(lane, 0, cuts[-1])
    other = Lanes(np.full(60, 9), 3, "lines", iter_passes(60, 3, "lines"))
    for start, stop in reversed(list(pairwise(cuts))):
        assert np.array_equal(other.take(lane, start, stop), whole[start:stop])


def test_in_a_lane_every_line_of_a_pass_comes_before_any_of_the_next() -> None:
    """Each pass has row groups of its own here, 100 of them, so that a line tells its pass."""
    passes = [100 * number + np.random.default_rng(number).permutation(100) for number in range(5)]
    lanes = Lanes(np.random.default_rng(9).integers(1, 9, 500), 3, "lines", passes)
    while lanes.deal():
        pass
    for lane, length in enumerate(lanes.lengths.tolist()):
        numbers = lanes.take(lane, 0, length)[:, 0] // 100
        assert (np.diff(numbers) >= 0).all()
        assert set(numbers.tolist()) == set(range(5))


def test_lanes_do_not_all_come_to_new_row_groups_at_once() -> None:
    lanes = make_lanes([10] * 240)
    lanes.deal()
    begins = [lanes.starts[lane][1] for lane in range(NUM_LANES)]
    assert sorted(begins) == [10] * 12 + [20] * 12


@pytest.mark.parametrize(("start", "stop"), [(0, 5), (3, 11), (17, 18), (40, 40), (4, 200)])
def test_a_repeated_dataset_gives_whole_permutations_from_any_place(start: int, stop: int) -> None:
    repeated = Repeated(np.array([3, 2]), 3, "lines")
    whole = Repeated(np.array([3, 2]), 3, "lines").take(0, 200)
    assert np.array_equal(repeated.take(start, stop), whole[start:stop])
    for first in range(0, 200, 5):
        lines = sorted(map(tuple, whole[first : first + 5].tolist()))
        assert lines == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]

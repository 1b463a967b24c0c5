from collections import Counter, defaultdict
from itertools import pairwise
from math import gcd

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.training.data.order import (
    MIX_LINES,
    NUM_STREAMS,
    LineOrder,
    RepeatedLines,
    ShuffleStreams,
    iter_permutations,
)

Line = tuple[int, int, int]

SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=70)
DATASETS = st.lists(SIZES, min_size=1, max_size=3).map(lambda sizes: dict(zip("abc", sizes, strict=False)))
SEEDS = st.integers(0, 2**63 - 1)


def order_of(order: LineOrder, epoch: int | None, start: int = 0) -> list[Line]:
    return [(d, g, r) for lines in order.lines(epoch, start) for d, g, r in lines.tolist()]


def all_lines(row_counts: dict[str, list[int]]) -> list[Line]:
    return [
        (dataset, group, row)
        for dataset, sizes in enumerate(row_counts.values())
        for group, size in enumerate(sizes)
        for row in range(size)
    ]


def draw_lengths(row_counts: dict[str, list[int]], seed: int = 0) -> dict[str, npt.NDArray[np.uint16]]:
    rng = np.random.default_rng(seed)
    return {name: rng.integers(3, 60, sum(sizes)).astype(np.uint16) for name, sizes in row_counts.items()}


@given(DATASETS, SEEDS, st.integers(0, 50), st.integers(1, 200), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_line_is_in_the_order_of_an_epoch_exactly_once(
    row_counts: dict[str, list[int]], seed: int, epoch: int, global_batch: int, by_length: bool
) -> None:
    order = LineOrder(
        row_counts=row_counts,
        global_batch_size=global_batch,
        seed=seed,
        lengths=draw_lengths(row_counts) if by_length else None,
    )
    assert sorted(order_of(order, epoch)) == all_lines(row_counts)


@given(
    DATASETS, st.integers(0, 4), st.integers(1, 200), st.booleans(), st.booleans(), st.floats(0, 1), st.data()
)
@settings(max_examples=60, deadline=None)
def test_the_order_can_be_entered_anywhere(
    row_counts: dict[str, list[int]],
    epoch: int,
    global_batch: int,
    mixes: bool,
    by_length: bool,
    where: float,
    data: st.DataObject,
) -> None:
    shares = {name: data.draw(st.floats(0.01, 10)) for name in row_counts} if mixes else None
    lengths = draw_lengths(row_counts) if by_length else None
    order = LineOrder(
        row_counts=row_counts, global_batch_size=global_batch, mixture_weights=shares, lengths=lengths
    )
    whole = order_of(order, epoch)
    start = round(where * order.num_lines)
    assert len(whole) == order.num_lines
    assert order_of(order, epoch, start) == whole[start:]


def test_without_an_epoch_the_lines_keep_their_order() -> None:
    row_counts = {"one": [2, 3], "two": [1]}
    order = LineOrder(
        row_counts=row_counts,
        global_batch_size=2,
        mixture_weights={"one": 1, "two": 9},
        lengths=draw_lengths(row_counts),
    )
    assert order_of(order, None) == [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (0, 1, 2), (1, 0, 0)]
    assert order_of(order, None, 4) == [(0, 1, 2), (1, 0, 0)]


def test_the_order_differs_by_epoch_and_by_seed_and_not_by_call() -> None:
    for shares in (None, {"lines": 1.0}):
        orders = [
            LineOrder(row_counts={"lines": [5] * 60}, global_batch_size=16, seed=seed, mixture_weights=shares)
            for seed in (0, 1)
        ]
        drawn = [tuple(order_of(order, epoch)) for order in orders for epoch in (0, 1)]
        assert len(set(drawn)) == 4
        assert tuple(order_of(orders[1], 1)) == drawn[3]


def test_the_order_is_the_one_that_checkpoints_of_earlier_versions_count_in() -> None:
    """An interrupted run resumes in the order it started with."""
    order = LineOrder(row_counts={"lines": [2, 3, 1]}, global_batch_size=2, seed=7)
    mixed = LineOrder(
        row_counts={"a": [2], "b": [1] * 48}, global_batch_size=2, seed=7, mixture_weights={"a": 1, "b": 2}
    )
    assert order_of(order, 0) == [(0, 2, 0), (0, 1, 2), (0, 0, 1), (0, 1, 1), (0, 0, 0), (0, 1, 0)]
    assert order_of(mixed, 1)[:5] == [(0, 0, 0), (0, 0, 1), (1, 24, 0), (1, 34, 0), (0, 0, 0)]


def test_neighbours_come_from_many_row_groups() -> None:
    lines = order_of(LineOrder(row_counts={"lines": [256] * 500}, global_batch_size=16), 0)
    for start in range(0, len(lines) - 1000, 1000):
        assert len({group for _, group, _ in lines[start : start + 1000]}) >= 30


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 5, 6, 8, 9, 12, 16, 24, 32])
@pytest.mark.parametrize("by_length", [False, True])
def test_a_rank_needs_only_the_row_groups_of_its_streams(world_size: int, by_length: bool) -> None:
    """All ranks together read world_size / gcd(world_size, 24) times the dataset."""
    row_counts = {"lines": [8] * 240}
    order = LineOrder(
        row_counts=row_counts,
        global_batch_size=world_size * 24 // gcd(world_size, 24),
        lengths=draw_lengths(row_counts) if by_length else None,
    )
    lines = order_of(order, 2)
    for rank in range(world_size):
        needed = {group for _, group, _ in lines[rank::world_size]}
        assert len(needed) <= 240 // gcd(world_size, 24)
        assert 24 % world_size or len(needed) == 240 // world_size


@pytest.mark.parametrize("world_size", [2, 3, 8, 24])
def test_uneven_row_groups_cost_a_rank_at_most_24_more(world_size: int) -> None:
    sizes = np.random.default_rng(0).integers(1, 40, 480).tolist()
    lines = order_of(LineOrder(row_counts={"lines": sizes}, global_batch_size=24), 0)
    for rank in range(world_size):
        needed = {group for _, group, _ in lines[rank::world_size]}
        assert len(needed) <= 480 / world_size * 1.2 + 24


SHARES = {"large": 0.55, "small": 0.35, "tiny": 0.1}
MIXTURE = {"large": [16] * 120, "small": [16] * 60, "tiny": [16, 16, 1]}


def mixed_epochs(num_epochs: int) -> list[Line]:
    order = LineOrder(row_counts=MIXTURE, global_batch_size=16, mixture_weights=SHARES)
    return [line for epoch in range(num_epochs) for line in order_of(order, epoch)]


def test_every_window_holds_each_share_and_rounding_does_not_add_up() -> None:
    lines = mixed_epochs(6)
    for count in range(MIX_LINES, len(lines), MIX_LINES):
        so_far = Counter(dataset for dataset, _, _ in lines[:count])
        window = Counter(dataset for dataset, _, _ in lines[count - MIX_LINES : count])
        for dataset, share in enumerate(SHARES.values()):
            assert abs(so_far[dataset] - share * count) <= 1
            assert abs(window[dataset] - share * MIX_LINES) <= 2


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=5), st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_any_shares_are_kept_in_any_window(weights: list[float], epoch: int) -> None:
    shares = {str(index): weight for index, weight in enumerate(weights)}
    order = LineOrder(
        row_counts={name: [300] * 2 for name in shares}, global_batch_size=7, mixture_weights=shares
    )
    lines = order_of(order, epoch)
    first = -epoch * order.num_lines % MIX_LINES
    if len(lines) >= first + MIX_LINES:
        window = Counter(dataset for dataset, _, _ in lines[first : first + MIX_LINES])
        for dataset, weight in enumerate(weights):
            assert abs(window[dataset] - weight / sum(weights) * MIX_LINES) <= 2


def test_epochs_of_any_length_cut_the_same_endless_sequence() -> None:
    order = LineOrder(
        row_counts=MIXTURE, global_batch_size=16, mixture_weights=SHARES, lines_per_epoch=MIX_LINES
    )
    lines = [line for epoch in range(3) for line in order_of(order, epoch)]
    assert lines == mixed_epochs(2)[: 3 * MIX_LINES]
    assert order_of(order, 1, 16) == lines[MIX_LINES + 16 : 2 * MIX_LINES]


def test_shares_are_normalised_and_named_in_any_order() -> None:
    orders = [
        LineOrder(row_counts=MIXTURE, global_batch_size=16, mixture_weights=shares)
        for shares in (SHARES, {name: 200 * SHARES[name] for name in reversed(SHARES)})
    ]
    assert order_of(orders[0], 3) == order_of(orders[1], 3)


def test_a_small_dataset_repeats_only_when_all_its_lines_were_there() -> None:
    of_tiny = [line for line in mixed_epochs(3) if line[0] == 2]
    passes = [of_tiny[start : start + 33] for start in range(0, len(of_tiny) - 33, 33)]
    assert len(passes) > 20
    assert all(len(set(lines)) == 33 for lines in passes)
    assert len({tuple(lines) for lines in passes}) == len(passes)


@pytest.mark.parametrize(("dataset", "num_lines"), [(0, 120 * 16), (1, 60 * 16)])
def test_no_line_of_a_large_dataset_is_ever_far_ahead_of_another(dataset: int, num_lines: int) -> None:
    """ShuffleStreams come to the next pass at different times; the next dealing makes up for it."""
    lines = [line for line in mixed_epochs(8) if line[0] == dataset]
    assert len(lines) > 5 * num_lines
    for stop in range(2 * num_lines, len(lines), 500):
        counts = Counter(lines[:stop])
        assert len(counts) == num_lines
        assert max(counts.values()) - min(counts.values()) <= 2


def test_a_large_dataset_continues_in_the_next_epoch_where_it_stopped() -> None:
    order = LineOrder(
        row_counts={"large": [16] * 480, "small": [16] * 10},
        global_batch_size=16,
        mixture_weights={"large": 1, "small": 3},
    )
    by_epoch = [{line for line in order_of(order, epoch) if line[0] == 0} for epoch in range(3)]
    assert sum(map(len, by_epoch)) == pytest.approx(0.75 * order.num_lines, abs=1)
    assert len(set.union(*by_epoch)) == sum(map(len, by_epoch))


@pytest.mark.parametrize("world_size", [2, 3, 8])
def test_in_a_mixture_too_a_rank_needs_only_the_row_groups_of_its_streams(world_size: int) -> None:
    order = LineOrder(
        row_counts={"one": [8] * 480, "two": [8] * 480},
        global_batch_size=24,
        mixture_weights={"one": 3, "two": 1},
    )
    lines = order_of(order, 0)
    for rank in range(world_size):
        for dataset, expected in ((0, 720), (1, 240)):
            groups = [line[1] for line in lines[rank::world_size] if line[0] == dataset]
            passes = len(groups) * world_size / 8 / 480
            assert passes == pytest.approx(expected / 480, abs=0.02)
            needed = len(set(groups))
            assert needed <= min(1.0, passes) * 480 / world_size * (2 if passes > 1 else 1) + 24


@pytest.mark.parametrize("shares", [None, {"one": 0.3, "two": 0.7}])
def test_sorted_steps_have_the_same_lines_in_each_bucket_and_on_each_rank(
    shares: dict[str, float] | None,
) -> None:
    row_counts = {"one": [16] * 100, "two": [7] * 301}
    lengths = draw_lengths(row_counts)
    plain = LineOrder(row_counts=row_counts, global_batch_size=48, mixture_weights=shares)
    by_length = LineOrder(
        row_counts=row_counts, global_batch_size=48, mixture_weights=shares, lengths=lengths
    )
    one, other = order_of(plain, 1), order_of(by_length, 1)
    bucket = by_length.bucket_lines
    assert bucket % 48 == 0
    for start in range(0, len(one), bucket):
        for rank in range(24):
            assert sorted(one[start : start + bucket][rank::24]) == sorted(
                other[start : start + bucket][rank::24]
            )


def test_sorting_by_length_takes_most_of_the_padding_away_and_keeps_steps_shuffled() -> None:
    row_counts = {"lines": [256] * 100}
    lengths = draw_lengths(row_counts)
    padding, longest = {}, defaultdict(list)
    for name, given_lengths in (("plain", None), ("sorted", lengths)):
        order = LineOrder(row_counts=row_counts, global_batch_size=64, lengths=given_lengths)
        tokens = np.array([lengths["lines"][256 * group + row] for _, group, row in order_of(order, 0)])
        longest[name] = tokens.reshape(-1, 64).max(axis=1).tolist()
        padding[name] = sum(longest[name]) * 64 / tokens.sum() - 1
    assert padding["plain"] > 0.7
    assert padding["sorted"] < 0.12
    assert np.corrcoef(longest["sorted"][:-1], longest["sorted"][1:])[0, 1] < 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"global_batch_size": 0}, r"global_batch_size must be at least 1, got 0"),
        ({"seed": -1}, r"seed must be from 0"),
        ({"mixture_weights": {"a": 1.0}}, r"mixture_weights must name every dataset, a, b, got a"),
        (
            {"mixture_weights": {"a": 1.0, "b": 0.0}},
            r"the mixture weight of b must be a number above 0, got 0.0",
        ),
        (
            {"mixture_weights": {"a": float("nan"), "b": 1}},
            r"weight of a must be a number above 0",
        ),
        ({"lines_per_epoch": 6}, r"lines_per_epoch must be at least 1 and with mixture_weights, got 6"),
        ({"lengths": {"a": np.ones(5)}}, r"each of the 2 lines of b, got 0"),
        (
            {"row_counts": {"a": [1], "b": []}, "mixture_weights": {"a": 1, "b": 1}},
            r"a dataset with a mixture weight must have lines, b has none",
        ),
    ],
)
def test_invalid_fields_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LineOrder(**{"row_counts": {"a": [2, 3], "b": [2]}, "global_batch_size": 4, **options})


def test_no_lines_have_an_empty_order() -> None:
    for row_counts in ({}, {"lines": []}):
        order = LineOrder(row_counts=row_counts, global_batch_size=4)
        assert order.num_lines == 0
        assert order_of(order, 0) == order_of(order, None) == []


STREAM_SIZES = st.lists(st.integers(1, 20), min_size=1, max_size=90)


def make_streams(sizes: list[int], num_permutations: int = 1) -> ShuffleStreams:
    permutations = np.random.default_rng(0).permuted(
        np.tile(np.arange(len(sizes)), (num_permutations, 1)), axis=1
    )
    return ShuffleStreams(np.array(sizes), 3, "lines", list(permutations))


@given(STREAM_SIZES)
@settings(max_examples=40, deadline=None)
def test_streams_hold_every_line_once_and_differ_by_a_row_group_at_most(sizes: list[int]) -> None:
    streams = make_streams(sizes)
    assert streams.deal()
    assert not streams.deal()
    lengths = streams.lengths
    assert lengths.max() - lengths.min() <= max(sizes)
    taken = [
        tuple(line)
        for stream, length in enumerate(lengths.tolist())
        if length
        for line in streams.take(stream, 0, length).tolist()
    ]
    assert sorted(taken) == [(group, row) for group, size in enumerate(sizes) for row in range(size)]


@given(st.integers(0, NUM_STREAMS - 1), st.lists(st.integers(1, 700), min_size=1, max_size=6))
@settings(max_examples=30, deadline=None)
def test_a_stream_gives_the_same_lines_in_any_pieces(stream: int, pieces: list[int]) -> None:
    cuts = [0, *np.cumsum(pieces).tolist()]
    streams = ShuffleStreams(np.full(60, 9), 3, "lines", iter_permutations(60, 3, "lines"))
    whole = streams.take(stream, 0, cuts[-1])
    other = ShuffleStreams(np.full(60, 9), 3, "lines", iter_permutations(60, 3, "lines"))
    for start, stop in reversed(list(pairwise(cuts))):
        assert np.array_equal(other.take(stream, start, stop), whole[start:stop])


def test_in_a_stream_every_line_of_a_permutation_comes_before_any_of_the_next() -> None:
    """Each permutation has other row groups, 100 of them, so that a line shows its permutation."""
    permutations = [100 * number + np.random.default_rng(number).permutation(100) for number in range(5)]
    streams = ShuffleStreams(np.random.default_rng(9).integers(1, 9, 500), 3, "lines", permutations)
    while streams.deal():
        pass
    for stream, length in enumerate(streams.lengths.tolist()):
        numbers = streams.take(stream, 0, length)[:, 0] // 100
        assert (np.diff(numbers) >= 0).all()
        assert set(numbers.tolist()) == set(range(5))


def test_streams_reach_new_row_groups_at_different_times() -> None:
    streams = make_streams([10] * 240)
    streams.deal()
    starts = [streams.starts[stream][1] for stream in range(NUM_STREAMS)]
    assert sorted(starts) == [10] * 12 + [20] * 12


@pytest.mark.parametrize(("start", "stop"), [(0, 5), (3, 11), (17, 18), (40, 40), (4, 200)])
def test_a_repeated_dataset_gives_whole_permutations_from_any_position(start: int, stop: int) -> None:
    repeated = RepeatedLines(np.array([3, 2]), 3, "lines")
    whole = RepeatedLines(np.array([3, 2]), 3, "lines").take(0, 200)
    assert np.array_equal(repeated.take(start, stop), whole[start:stop])
    for first in range(0, 200, 5):
        lines = sorted(map(tuple, whole[first : first + 5].tolist()))
        assert lines == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]

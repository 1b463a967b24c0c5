"""The order of the lines of an epoch, the same for any number of ranks, found without reading a line.

Position p of the order goes to rank p % world_size. Row groups are permuted and dealt to 24 lanes, each to
the lane that is shortest so far; a lane shuffles its lines within two row groups at a time; position p takes
the next line of lane p % 24. So the lines of 36 to 48 row groups are mixed, and a rank needs only those of
its own lanes: all ranks together read every row group once where the world size divides 24 (1, 2, 3, 4, 6, 8,
12, 24), else world_size / gcd(world_size, 24) times. At the end of an epoch, where lanes run out, each rank
may read up to 24 row groups more.

With shares the epochs are stretches of one endless stream. A dataset of 48 row groups or more has lanes of
its own in it; a smaller one is one permutation of its lines after the other, of which every rank needs all.

Labels of like length come into one step where lengths are given: within a bucket of some steps each lane's
lines are sorted into that lane's positions, then the steps are permuted. A line stays on its rank for every
world size that divides 24 and the global batch.

3 million lines in 12,000 row groups: any place of an epoch is found in 20 ms and 30 MB; with shares, which
deal the row groups of all epochs before it again, in 30 ms more and 2 MB more for each of these.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from ocr_ray.randomness import check_seed, keyed_generator
from ocr_ray.training.feed.lanes import (
    LANE_WINDOW_ROW_GROUPS,
    NUM_LANES,
    IntArray,
    Lanes,
    Repeated,
    find_starts,
    iter_passes,
)

SMALL_ROW_GROUPS = NUM_LANES * LANE_WINDOW_ROW_GROUPS
"""Below it a dataset with a share has no lanes."""
MIX_ROUNDS = 50
MIX_LINES = MIX_ROUNDS * NUM_LANES
"""Each stretch of so many positions holds every dataset's share."""
MIX_TURN = 5
"""By how many lanes each window's datasets move on, so that none is ahead in some lanes; coprime to 24."""
BUCKET_STEPS = 16
MIN_BUCKET_LINES = 256 * NUM_LANES
"""A lane needs many lines in a bucket for its quantiles to be near those of the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineOrder:
    """The order of every epoch over some datasets: a function of its fields and the epoch alone."""

    row_counts: Mapping[str, Sequence[int]]
    """The lines of each row group of each dataset, by name."""
    global_batch_size: int
    """Lines of one optimizer step over all ranks."""
    seed: int = 0
    shares: Mapping[str, float] | None = None
    """Each dataset's part of the lines, normalised to a sum of 1; None: every line once an epoch."""
    lengths: Mapping[str, npt.NDArray[Any]] | None = None
    """The tokens of each line of each dataset in its own order; None: steps are not sorted by length."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.global_batch_size < 1:
            raise ValueError(f"global_batch_size must be at least 1, got {self.global_batch_size}")
        if self.shares is not None:
            self._check_shares(self.shares)
        for name, counts in self.row_counts.items():
            if self.lengths is not None and len(self.lengths.get(name, ())) != sum(counts):
                raise ValueError(
                    f"lengths must hold one number for each of the {sum(counts)} lines of {name}, "
                    f"got {len(self.lengths.get(name, ()))}"
                )

    def _check_shares(self, shares: Mapping[str, float]) -> None:
        if shares.keys() != self.row_counts.keys():
            raise ValueError(
                f"shares must name every dataset, {', '.join(self.row_counts)}, got {', '.join(shares)}"
            )
        for name, share in shares.items():
            if not (share > 0 and np.isfinite(share)):
                raise ValueError(f"the share of {name} must be a number above 0, got {share}")
            if not sum(self.row_counts[name]):
                raise ValueError(f"a dataset with a share must have lines, {name} has none")

    @property
    def num_lines(self) -> int:
        """Of an epoch, whatever the shares: as many as the datasets have together."""
        return sum(sum(counts) for counts in self.row_counts.values())

    @property
    def bucket_lines(self) -> int:
        """Positions within which lines are sorted by length: whole steps, at least 16."""
        steps = max(BUCKET_STEPS, -(-MIN_BUCKET_LINES // self.global_batch_size))
        return steps * self.global_batch_size

    def lines(self, epoch: int | None, start: int = 0) -> Iterator[IntArray]:
        """Give the lines at positions start, start + 1, … as (dataset, row group, row), shape (N, 3).

        N is `bucket_lines` but for the first and the last. Without an epoch the lines keep their own order:
        dataset after dataset, neither shuffled, mixed nor sorted.
        """
        if start >= self.num_lines:
            return
        counts = [np.asarray(sizes, dtype=np.int64) for sizes in self.row_counts.values()]
        first = start // self.bucket_lines * self.bucket_lines
        if epoch is None:
            stream = _iter_own(counts, first)
        elif self.shares is None:
            stream = _iter_shuffled(counts, self.seed, epoch, first)
        else:
            stream = self._iter_mixed(counts, epoch * self.num_lines + first)
        for bucket in _cut(stream, self.bucket_lines, self.num_lines - first):
            lines = bucket
            if epoch is not None and self.lengths is not None:
                generator = keyed_generator(self.seed, f"steps of epoch {epoch}", first)
                lines = self._sort_by_length(bucket, first, generator)
            yield lines[max(0, start - first) :]
            first += len(bucket)

    def _iter_mixed(self, counts: Sequence[IntArray], first: int) -> Iterator[IntArray]:
        assert self.shares is not None
        shares = np.array([self.shares[name] for name in self.row_counts], dtype=np.float64)
        streams = [
            Repeated(sizes, self.seed, name)
            if len(sizes) < SMALL_ROW_GROUPS
            else Lanes(sizes, self.seed, f"lines of {name}", iter_passes(len(sizes), self.seed, name))
            for name, sizes in zip(self.row_counts, counts, strict=True)
        ]
        return _iter_mixed(streams, shares, self.seed, first)

    def _sort_by_length(self, lines: IntArray, first: int, generator: np.random.Generator) -> IntArray:
        """Return the bucket that begins at position `first` with lines of like length in one step.

        The lines of an unfinished last step stay where they are.
        """
        num_steps = len(lines) // self.global_batch_size
        whole = lines[: num_steps * self.global_batch_size]
        lanes = (first + np.arange(len(whole))) % NUM_LANES
        by_length = np.empty_like(whole)
        # lexsort is stable: lines of one length keep their order.
        by_length[np.argsort(lanes, kind="stable")] = whole[np.lexsort((self._lengths_of(whole), lanes))]
        steps = by_length.reshape(num_steps, self.global_batch_size, 3)[generator.permutation(num_steps)]
        return np.concatenate([steps.reshape(-1, 3), lines[len(whole) :]])

    def _lengths_of(self, lines: IntArray) -> IntArray:
        assert self.lengths is not None
        found = np.empty(len(lines), dtype=np.int64)
        for index, (name, sizes) in enumerate(self.row_counts.items()):
            mine = lines[:, 0] == index
            starts = find_starts(np.asarray(sizes, dtype=np.int64))
            found[mine] = self.lengths[name][starts[lines[mine, 1]] + lines[mine, 2]]
        return found


def _iter_own(counts: Sequence[IntArray], first: int) -> Iterator[IntArray]:
    """Give the lines from position `first` on as they lie, row group by row group."""
    for dataset, sizes in enumerate(counts):
        for group, size in enumerate(sizes.tolist()):
            if first < size:
                rows = np.arange(first, size)
                yield np.stack([np.full_like(rows, dataset), np.full_like(rows, group), rows], axis=1)
            first = max(0, first - size)


def _iter_shuffled(counts: Sequence[IntArray], seed: int, epoch: int, first: int) -> Iterator[IntArray]:
    """Give every line of an epoch once, from position `first` on; lanes that are at their end are skipped."""
    datasets = np.repeat(np.arange(len(counts)), [len(sizes) for sizes in counts])
    groups = np.concatenate([np.arange(len(sizes)) for sizes in counts])
    order = keyed_generator(seed, "row groups", epoch).permutation(len(groups))
    lanes = Lanes(np.concatenate(counts), seed, f"lines of epoch {epoch}", [order])
    lanes.deal()
    lengths = lanes.lengths
    last_round = int(lengths.max())

    def lines_before(number: int) -> int:
        return int(np.minimum(lengths, number).sum())

    number = bisect_right(range(last_round + 1), first, key=lines_before) - 1
    skipped = first - lines_before(number)
    while number < last_round:
        stop = min(number + MIX_ROUNDS, last_round)
        window = np.empty((stop - number, NUM_LANES, 2), dtype=np.int64)
        for lane, length in enumerate(lengths.tolist()):
            if length > number:
                taken = lanes.take(lane, number, min(stop, length))
                window[: len(taken), lane] = taken
        lasting = np.arange(number, stop)[:, None] < lengths
        lines = window[lasting][skipped:]
        yield np.stack([datasets[lines[:, 0]], groups[lines[:, 0]], lines[:, 1]], axis=1)
        number, skipped = stop, 0


def _iter_mixed(
    streams: Sequence[Lanes | Repeated], shares: npt.NDArray[np.float64], seed: int, first: int
) -> Iterator[IntArray]:
    """Give the endless stream of datasets with shares from position `first` on.

    Every window of 1,200 positions holds a dataset's share up to rounding, which does not add up; so do, up
    to one line, the window's 50 positions of each lane.
    """
    window, skipped = divmod(first, MIX_LINES)
    bounds = _share_bounds(shares, np.arange(window + 1))
    taken = _count_by_lane(bounds)
    for number in count(window):
        bounds = _share_bounds(shares, np.array([number, number + 1]))
        sizes = np.diff(np.diff(bounds, axis=1), axis=0)[0]
        kinds = np.roll(np.repeat(np.arange(len(shares)), sizes), MIX_TURN * number).reshape(-1, NUM_LANES)
        kinds = keyed_generator(seed, "mixture", number).permuted(kinds, axis=0)
        lines = np.empty((*kinds.shape, 3), dtype=np.int64)
        for dataset, stream in enumerate(streams):
            mine = kinds == dataset
            lines[mine] = _take_window(stream, dataset, mine, taken[dataset])
            taken[dataset] += mine.sum(axis=0)
        yield lines.reshape(-1, 3)[skipped:]
        skipped = 0


def _take_window(
    stream: Lanes | Repeated, dataset: int, mine: npt.NDArray[np.bool_], taken: IntArray
) -> IntArray:
    """Return a dataset's next lines for the places of a window, round by round, as (dataset, row group, row).

    `taken` counts what each lane took before.
    """
    needed = mine.sum(axis=0)
    lines = np.empty((int(needed.sum()), 2), dtype=np.int64)
    if isinstance(stream, Repeated):
        start = int(taken.sum())
        lines[:] = stream.take(start, start + len(lines))
    else:
        lane_of_place = np.nonzero(mine)[1]
        for lane in np.nonzero(needed)[0].tolist():
            start = int(taken[lane])
            lines[lane_of_place == lane] = stream.take(lane, start, start + int(needed[lane]))
    return np.concatenate([np.full((len(lines), 1), dataset), lines], axis=1)


def _share_bounds(shares: npt.NDArray[np.float64], windows: IntArray) -> IntArray:
    """Return between which lines each dataset's lie, were those of windows [0, w) sorted by dataset.

    Shape (windows, datasets + 1). Rounding these, not the lines of a window, keeps the error below one line.
    """
    summed = np.concatenate([[0.0], np.cumsum(shares) / shares.sum()])
    summed[-1] = 1.0
    bounds: IntArray = np.rint(summed * (windows[:, None] * MIX_LINES)).astype(np.int64)
    return bounds


def _count_by_lane(bounds: IntArray) -> IntArray:
    """Return how many lines of each dataset every lane took in all windows but the last bound's.

    Shape (datasets, lanes).
    """
    sizes = np.diff(np.diff(bounds, axis=1), axis=0)
    ends = np.concatenate([np.zeros((len(sizes), 1), dtype=np.int64), np.cumsum(sizes, axis=1)], axis=1)
    ends += MIX_TURN * np.arange(len(sizes))[:, None]
    counts = np.empty((sizes.shape[1], NUM_LANES), dtype=np.int64)
    for lane in range(NUM_LANES):
        below = (ends + NUM_LANES - 1 - lane) // NUM_LANES  # places of this lane before each end
        counts[:, lane] = np.diff(below, axis=1).sum(axis=0)
    return counts


def _cut(arrays: Iterator[IntArray], size: int, total: int) -> Iterator[IntArray]:
    """Give the first `total` rows of some arrays again in arrays of `size` rows, the last perhaps shorter."""
    waiting: list[IntArray] = []
    num_waiting = 0
    while total > 0:
        wanted = min(size, total)
        while num_waiting < wanted:
            waiting.append(next(arrays))
            num_waiting += len(waiting[-1])
        joined = np.concatenate(waiting)
        yield joined[:wanted]
        waiting, num_waiting = [joined[wanted:]], num_waiting - wanted
        total -= wanted

"""Streams of the lines of some row groups: dealt to lanes, or a few of them over and over."""

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import count

import numpy as np
import numpy.typing as npt

from ocr_ray.randomness import keyed_generator

IntArray = npt.NDArray[np.int64]

NUM_LANES = 24
LANE_WINDOW_ROW_GROUPS = 2
"""Row groups within which a lane shuffles its lines."""


class Lanes:
    """Row groups dealt to lanes, pass after pass, and the lines of each lane."""

    def __init__(self, counts: IntArray, seed: int, stream: str, passes: Iterable[IntArray]) -> None:
        self.counts = counts
        self.seed = seed
        self.stream = stream
        self.passes = iter(passes)
        self.heap = [(0, lane) for lane in range(NUM_LANES)]
        self.starts: list[list[int]] = [[] for _ in range(NUM_LANES)]
        """Of each lane's windows, in its lines."""
        self.windows: list[list[tuple[int, list[int]]]] = [[] for _ in range(NUM_LANES)]
        """The number of each lane's windows, which keys its permutation, and their row groups."""
        self.num_dealt = 0
        self.drawn: dict[int, tuple[int, IntArray]] = {}

    @property
    def lengths(self) -> IntArray:
        """The lines dealt to each lane so far."""
        lengths = np.empty(NUM_LANES, dtype=np.int64)
        for length, lane in self.heap:
            lengths[lane] = length
        return lengths

    def deal(self) -> bool:
        """Deal the row groups of the next pass; return whether there was one.

        Windows hold row groups of one pass. Half of the lanes begin it with a window of one row group: lanes
        that all came to new row groups at once would be read in bursts.
        """
        groups = next(self.passes, None)
        if groups is None:
            return False
        room = [0] * NUM_LANES
        begun = [False] * NUM_LANES
        for group, size in zip(groups.tolist(), self.counts[groups].tolist(), strict=True):
            length, lane = self.heap[0]
            if room[lane] == 0:
                is_short = not begun[lane] and lane < NUM_LANES // 2
                room[lane] = 1 if is_short else LANE_WINDOW_ROW_GROUPS
                begun[lane] = True
                self.starts[lane].append(length)
                self.windows[lane].append((self.num_dealt, []))
            room[lane] -= 1
            self.windows[lane][-1][1].append(group)
            self.num_dealt += 1
            heapq.heapreplace(self.heap, (length + size, lane))
        return True

    def take(self, lane: int, start: int, stop: int) -> IntArray:
        """Return lines [start, stop) of a lane as (row group, row), dealing as many passes as it takes."""
        while self.heap[0][0] < stop and self.deal():
            pass
        taken = []
        index = bisect_right(self.starts[lane], start) - 1
        while start < stop:
            window = self._draw(lane, index)
            skipped = start - self.starts[lane][index]
            taken.append(window[skipped : skipped + stop - start])
            start += len(taken[-1])
            index += 1
        return taken[0] if len(taken) == 1 else np.concatenate(taken)

    def _draw(self, lane: int, index: int) -> IntArray:
        drawn_index, lines = self.drawn.get(lane, (-1, None))
        if drawn_index != index or lines is None:
            number, groups = self.windows[lane][index]
            lines = _lines_of(np.array(groups), self.counts[groups])
            lines = lines[keyed_generator(self.seed, self.stream, number).permutation(len(lines))]
            self.drawn[lane] = index, lines
        return lines


class Repeated:
    """The lines of a small dataset, one permutation of all of them after the other."""

    def __init__(self, counts: IntArray, seed: int, name: str) -> None:
        self.all_lines = _lines_of(np.arange(len(counts)), counts)
        self.seed = seed
        self.stream = f"lines of {name}"
        self.drawn: tuple[int, IntArray] = (-1, self.all_lines)

    def take(self, start: int, stop: int) -> IntArray:
        """Return lines [start, stop) of the endless stream as (row group, row)."""
        size = len(self.all_lines)
        taken = [
            self._draw(number)[max(0, start - number * size) : stop - number * size]
            for number in range(start // size, -(-stop // size))
        ]
        return np.concatenate([self.all_lines[:0], *taken])

    def _draw(self, number: int) -> IntArray:
        if self.drawn[0] != number:
            order = keyed_generator(self.seed, self.stream, number).permutation(len(self.all_lines))
            self.drawn = number, self.all_lines[order]
        return self.drawn[1]


def iter_passes(num_groups: int, seed: int, name: str) -> Iterator[IntArray]:
    """Give endless permutations of a dataset's row groups."""
    for number in count():
        yield keyed_generator(seed, f"row groups of {name}", number).permutation(num_groups)


def _lines_of(groups: IntArray, counts: IntArray) -> IntArray:
    """Return the lines of row groups as (row group, row), shape (lines, 2)."""
    rows = np.arange(counts.sum()) - np.repeat(find_starts(counts), counts)
    return np.stack([np.repeat(groups, counts), rows], axis=1)


def find_starts(counts: IntArray) -> IntArray:
    """Return the first line of each row group."""
    return np.cumsum(counts) - counts

"""Which lines a rank takes in each step, planned ahead so that they are read ahead."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ocr_ray.training.feed.lanes import IntArray
from ocr_ray.training.feed.row_groups import Reader, StoredLineRef


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line stands, and the line itself as soon as it is read."""

    position: int
    """In the global order of the epoch."""
    dataset: str
    line: StoredLineRef


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """A rank's part of a step before its batches are made."""

    batches: list[list[Place]]
    num_lines: int
    """Of all ranks together."""
    first_position: int

    @property
    def num_own_lines(self) -> int:
        return sum(map(len, self.batches))


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """Shares out the lines of an order to steps, ranks and batches."""

    names: Sequence[str]
    """Of the datasets."""
    reader: Reader
    lines_per_step: int
    batch_size: int
    rank: int
    world_size: int

    def plan(self, orders: Iterator[IntArray], first_position: int) -> Iterator[StepPlan]:
        """Give this rank's part of each step and ask the reader for its lines.

        `orders` are (dataset, row group, row) from `first_position` on; all but the last are whole steps.
        """
        for lines in orders:
            for begin in range(0, len(lines), self.lines_per_step):
                step = lines[begin : begin + self.lines_per_step]
                places = self._ask(step, first_position)
                yield StepPlan(
                    batches=[
                        places[start : start + self.batch_size]
                        for start in range(0, len(places), self.batch_size)
                    ],
                    num_lines=len(step),
                    first_position=first_position,
                )
                first_position += len(step)

    def _ask(self, step: IntArray, first_position: int) -> list[Place]:
        own = np.arange((self.rank - first_position) % self.world_size, len(step), self.world_size)
        return [
            Place(position, self.names[dataset], self.reader.ask(dataset, group, row))
            for position, (dataset, group, row) in zip(
                (own + first_position).tolist(), step[own].tolist(), strict=True
            )
        ]


def plan_ahead(plans: Iterator[StepPlan], num_lines: int) -> Iterator[StepPlan]:
    """Give each plan as soon as `num_lines` of the rank's lines behind it are planned, or all are."""
    waiting: deque[tuple[StepPlan, int]] = deque()
    num_behind = 0
    for plan in plans:
        own = plan.num_own_lines
        num_behind += own if waiting else 0
        waiting.append((plan, own))
        while num_behind >= num_lines:
            yield waiting.popleft()[0]
            num_behind -= waiting[0][1]
    for plan, _ in waiting:
        yield plan

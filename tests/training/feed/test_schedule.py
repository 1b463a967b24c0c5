from collections.abc import Iterator

import pytest

from ocr_ray.training.feed.schedule import Place, StepPlan, plan_ahead


def make_plans(sizes: list[int], planned: list[int]) -> Iterator[StepPlan]:
    for index, size in enumerate(sizes):
        planned.append(index)
        yield StepPlan(batches=[[Place(0, "", None)] * size], num_lines=size, first_position=index)  # type: ignore[arg-type]


@pytest.mark.parametrize("sizes", [[], [0], [4], [4] * 9, [0, 4, 0, 4, 0, 0, 9, 1], [50, 1, 1]])
def test_every_plan_comes_in_order_with_as_many_lines_planned_behind_it(sizes: list[int]) -> None:
    planned: list[int] = []
    given = []
    for plan in plan_ahead(make_plans(sizes, planned), 10):
        given.append(plan.first_position)
        behind = sizes[plan.first_position + 1 : planned[-1] + 1]
        assert sum(behind) >= 10 or planned[-1] == len(sizes) - 1
        assert sum(behind[:-1]) < 10
    assert given == list(range(len(sizes)))

"""`map_tasks` over one Ray session of two CPUs."""

import os
import signal
import sys
import time
from functools import partial
from itertools import combinations
from pathlib import Path

import pytest
from ray import cloudpickle

from ocr_ray.cluster.map_tasks import map_tasks
from ocr_ray.errors import CropError, InputError, ProductionError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import modules of tests


def square_slowly(number: int) -> int:
    """Return the square of a number; the first numbers take longest."""
    time.sleep(max(0.0, 0.2 - 0.05 * number))
    return number * number


def record_times(number: int) -> tuple[float, float]:
    started_s = time.monotonic()
    time.sleep(0.1)
    return started_s, time.monotonic()


def refuse(number: int, *, error: Exception) -> int:
    if number == 3:
        raise error
    return number


def die_at_six(numbers: list[int], sent: signal.Signals) -> int:
    if 6 in numbers:
        os.kill(os.getpid(), sent)
        time.sleep(60)
    return sum(numbers)


class CountsLoads:
    """A function that leaves a file each time that a process loads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        (self.folder / f"{os.getpid()}-{time.monotonic_ns()}").touch()

    def __call__(self, number: int) -> int:
        time.sleep(0.02)
        return os.getpid()


@pytest.mark.parametrize("num_items", [1, 7, 300])
def test_results_come_in_the_order_of_the_items(num_items: int) -> None:
    results = list(map_tasks(square_slowly, range(num_items), num_cpus=None))
    assert results == [number * number for number in range(num_items)]


def test_no_items_give_no_results() -> None:
    assert list(map_tasks(square_slowly, [], num_cpus=2)) == []


def test_at_most_num_cpus_calls_run_together() -> None:
    list(map_tasks(record_times, range(2), num_cpus=None))  # starts the workers

    def count_parallel(num_cpus: int | None) -> int:
        times = list(map_tasks(record_times, range(6), num_cpus=num_cpus))
        return sum(one[0] < other[1] and other[0] < one[1] for one, other in combinations(times, 2))

    assert count_parallel(1) == 0
    assert count_parallel(None) > 0


def test_items_are_taken_only_as_they_are_needed() -> None:
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    results = map_tasks(square_slowly, items(), num_cpus=2)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    assert len(taken) == 5


@pytest.mark.parametrize(
    "error", [ValueError("not a number"), InputError("--pages-uri must be readable"), CropError("empty", "3")]
)
def test_an_error_of_a_task_is_raised_unchanged(error: Exception) -> None:
    results = map_tasks(partial(refuse, error=error), range(9), num_cpus=1)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(type(error), match=str(error)) as caught:
        next(results)
    assert type(caught.value) is type(error)
    assert "refuse" in str(caught.value.__cause__)  # the traceback of the worker


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_an_input_that_ends_every_worker_is_named(sent: signal.Signals) -> None:
    """Watchdogs for memory send SIGTERM first, which Ray turns into a SystemExit."""
    with pytest.raises(ProductionError, match=r"an input has ended its worker 3 times, .*: \[6\]$"):
        list(map_tasks(partial(die_at_six, sent=sent), [[1, 2], [5, 6, 7]], num_cpus=None))


def test_each_worker_loads_the_function_once(tmp_path) -> None:
    workers = set(map_tasks(CountsLoads(tmp_path), range(40), num_cpus=2))
    loaded = [path.name.split("-")[0] for path in tmp_path.iterdir()]
    assert {str(worker) for worker in workers} == set(loaded)
    assert len(loaded) == len(workers)

"""Inputs that end their worker: Ray would try them again without end.

A worker that is out of memory or crashes in a library leaves no exception. So attempts are counted: one that
neither returned nor raised an error has ended its worker, unless its node is lost too.
"""

import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import ray
from ray.exceptions import OutOfMemoryError, RayTaskError, WorkerCrashedError

from ocr_ray.cluster.capacity import list_dead_nodes, on_driver_node

MAX_DEATHS = 3
DEADLY = f"has ended its worker {MAX_DEATHS} times, out of memory or in a crash"

Item = TypeVar("Item")


class Attempts:
    """Counts the attempts at each piece of work; can be sent to workers. Ray must be running."""

    def __init__(self) -> None:
        self._counter, self._work = _find_counter(), uuid.uuid4().hex

    @contextmanager
    def attempt(self, name: str) -> Iterator[bool]:
        """Count the body as an attempt; yield whether earlier ones have ended `MAX_DEATHS` workers."""
        node_id, key = ray.get_runtime_context().get_node_id(), f"{self._work} {name}"
        try:
            yield ray.get(self._counter.begin.remote(key, node_id)) >= MAX_DEATHS
        finally:
            # Ray ends a worker that gets SIGTERM, as of a watchdog for memory, by a SystemExit.
            if not isinstance(sys.exception(), SystemExit):
                ray.get(self._counter.end.remote(key))


def find_deadly(call: Callable[[Item], object], items: Iterable[Item]) -> Item | None:
    """Return the first item whose call ends its process; None if there is none."""
    task: Any = ray.remote(_call).options(num_cpus=0, max_retries=0)
    for item in items:
        try:
            ray.get(task.remote(call, item))
        except (WorkerCrashedError, OutOfMemoryError):
            return item
        except RayTaskError:
            continue  # it fails in another way, for example for want of a GPU
    return None


def _call(call: Callable[[Item], object], item: Item) -> None:
    call(item)


_counters: dict[tuple[str, str], Any] = {}
"""The counter of the Ray that this process uses, by node and job: an actor takes a second to start."""


def _find_counter() -> Any:
    context = ray.get_runtime_context()
    session = context.get_node_id(), context.get_job_id()
    if session not in _counters:
        _counters.clear()
        _counters[session] = ray.remote(_Counter).options(**on_driver_node()).remote()
    return _counters[session]


class _Counter:
    """An actor that holds the attempts that have not ended, as the ids of their nodes by name."""

    def __init__(self) -> None:
        self._open: dict[str, list[str]] = {}

    def begin(self, name: str, node_id: str) -> int:
        """Add an attempt, and return how many earlier ones have ended their worker."""
        earlier = self._open.setdefault(name, [])
        if earlier:
            dead = list_dead_nodes()
            earlier[:] = [node for node in earlier if node not in dead]
        earlier.append(node_id)
        return len(earlier) - 1

    def end(self, name: str) -> None:
        self._open.pop(name, None)

"""A function applied to many items over the cluster, one Ray task per item.

A worker that is out of memory or crashes in a library leaves no exception, and Ray would try its task again
without end. So the driver submits such a task again itself, and counts.
"""

import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeAlias, TypeVar

import ray
from ray.exceptions import (
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RaySystemError,
    RayTaskError,
    WorkerCrashedError,
)

from ocr_ray.cluster.attempts import DEADLY, MAX_DEATHS, find_deadly
from ocr_ray.cluster.capacity import find_worker_limit, list_dead_nodes
from ocr_ray.errors import ProductionError

MAX_SUBMITTED_TASKS = 256
"""Maximum number of submitted tasks if the number of CPUs is not limited."""

Item = TypeVar("Item")
Result = TypeVar("Result")
Shared = list["ray.ObjectRef[Any]"]
"""The reference of an object that every task needs; in a list, because Ray would load a plain reference for
every task."""
Submitted: TypeAlias = "ray.ObjectRef[Any]"


class CpuTasks:
    """Runs each call as a task with one CPU, at most `num_cpus` together.

    As many tasks are submitted as can ever run in parallel, because the autoscaler counts the tasks that wait
    for a CPU: it grows an empty cluster to its limit in one step, and no demand remains if the driver dies.
    """

    def __init__(self, num_cpus: int | None) -> None:
        limits = (num_cpus, find_worker_limit(use_gpu=False), MAX_SUBMITTED_TASKS)
        self.limit = min(limit for limit in limits if limit)
        self._task: Any = ray.remote(_call)

    def submit(self, name: str, shared: Shared, item: Any) -> Submitted:
        """Submit a call; Ray's dashboard counts the tasks of a name."""
        submitted: Submitted = self._task.options(num_cpus=1, max_retries=0, name=name).remote(shared, item)
        return submitted

    def release(self, submitted: Submitted, *, has_died: bool) -> None:
        """Do nothing: Ray itself shares out the CPUs."""


class GpuActors:
    """Runs the calls in actors that keep a GPU, and what they have loaded, from call to call.

    Ray ends the process of a task that had a GPU, so that a task per call would load the model each time.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._actor: Any = ray.remote(_Actor).options(num_cpus=1, num_gpus=1)
        self._idle: list[Any] = []
        self._busy: dict[Submitted, Any] = {}

    def submit(self, name: str, shared: Shared, item: Any) -> Submitted:
        """Submit a call to an idle actor, or to a new one."""
        actor = self._idle.pop() if self._idle else self._actor.remote()
        submitted: Submitted = actor.call.options(name=name).remote(shared, item)
        self._busy[submitted] = actor
        return submitted

    def release(self, submitted: Submitted, *, has_died: bool) -> None:
        """Take back the actor of a finished call."""
        actor = self._busy.pop(submitted)
        self._idle += [] if has_died else [actor]


class _Actor:
    def call(self, shared: Shared, item: Any) -> Any:
        return _call(shared, item)


def map_tasks(
    function: Callable[[Item], Result], items: Iterable[Item], *, num_cpus: int | None
) -> Iterator[Result]:
    """Yield `function(item)` for every item, in order; each call uses one CPU, at most `num_cpus` together.

    Raises:
        ProductionError: see `run_tasks`.
    """
    return run_tasks(function, items, CpuTasks(num_cpus), in_order=True)


def run_tasks(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: CpuTasks | GpuActors,
    *,
    in_order: bool = False,
    explain: Callable[[Shared, Item], str] | None = None,
) -> Iterator[Result]:
    """Yield `function(item)` for every item, as they are finished or in the order of the items.

    Each worker process loads `function` once. Ray must be running; the calls of a lost node are repeated. An
    exception of `function` is raised here unchanged. `explain` returns a message about an item that has ended
    its worker too often, from the reference of `function` and the item.

    Raises:
        ProductionError: a worker cannot load `function`, or an item has ended its worker too often.
    """
    name, shared, deaths = f"{_find_name(function)}()", [ray.put(function)], _Deaths()
    remaining = enumerate(items)
    running = {
        number: (workers.submit(name, shared, item), item)
        for number, item in islice(remaining, workers.limit)
    }
    while running:
        number = next(iter(running)) if in_order else _wait(running)
        submitted, item = running[number]
        try:
            result = ray.get(submitted)
        except RayTaskError as error:
            raise error.cause from error
        except (WorkerCrashedError, OutOfMemoryError, NodeDiedError, RayActorError) as error:
            workers.release(submitted, has_died=True)
            if deaths.are_too_many(number, error):
                raise ProductionError((explain or _explain)(shared, item)) from error
            running[number] = workers.submit(name, shared, item), item
            continue
        workers.release(submitted, has_died=False)
        del running[number]
        running |= {n: (workers.submit(name, shared, value), value) for n, value in islice(remaining, 1)}
        yield result


def _find_name(function: Callable[..., Any]) -> str:
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__)).strip("_")


def _wait(running: dict[int, tuple[Submitted, Any]]) -> int:
    """Return the number of a call that has ended."""
    numbers = {submitted: number for number, (submitted, _) in running.items()}
    ended, _ = ray.wait(list(numbers))
    return numbers[ended[0]]


class _Deaths:
    """Counts how often each item has ended its worker.

    The processes of a node that is lost can die before the node is. So an item may end that many more.
    """

    def __init__(self) -> None:
        self._count: Counter[int] = Counter()
        self._num_lost = len(list_dead_nodes())

    def are_too_many(self, number: int, error: Exception) -> bool:
        """Count a death, unless the node is lost."""
        self._count[number] += not isinstance(error, NodeDiedError)
        return self._count[number] >= MAX_DEATHS + len(list_dead_nodes()) - self._num_lost


def _explain(shared: Shared, item: Any) -> str:
    parts = ([part] for part in item) if isinstance(item, Sequence) else ()
    cause = find_deadly(partial(_call, shared), parts) or item
    return f"an input {DEADLY}; remove or repair it, and run the job again: {cause}"


def _call(shared: Shared, item: Any) -> Any:
    return fetch_shared(shared[0])(item)


_cache: dict[str, Any] = {}
"""The object that this worker process fetched last, by its id."""


def fetch_shared(ref: "ray.ObjectRef[Any]") -> Any:
    """Return an object that the driver put in Ray's object store, loaded once per worker process.

    Raises:
        ProductionError: this worker cannot load it. Ray Data would repeat a task forever on Ray's own error,
            which it takes for a fault of the machine.
    """
    if ref.hex() not in _cache:
        _cache.clear()
        try:
            _cache[ref.hex()] = ray.get(ref)
        except RaySystemError as error:
            if not isinstance(error.client_exc, Exception):
                raise
            raise ProductionError(
                "workers must have the code and the packages of the driver, "
                f"{socket.gethostname()} cannot load the inputs of its task: {error.client_exc!r}"
            ) from error
    return _cache[ref.hex()]

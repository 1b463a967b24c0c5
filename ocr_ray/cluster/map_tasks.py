"""A function applied to many items over the cluster, one Ray task per item.

A worker that is out of memory or crashes in a library leaves no exception, and Ray would try its task again
without end. So the driver submits such a task again itself, and counts.
"""

import socket
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import ray
from ray.exceptions import (
    NodeDiedError,
    OutOfMemoryError,
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


def map_tasks(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    num_cpus: int | None,
    explain: Callable[[Shared, Item], str] | None = None,
) -> Iterator[Result]:
    """Yield `function(item)` for every item, in order; each call uses one CPU, at most `num_cpus` together.

    Each worker process loads `function` once. Ray must be running; the calls of a lost node are repeated. An
    exception of `function` is raised here unchanged. `explain` returns a message about an item that has ended
    its worker too often, from the reference of `function` and the item.

    Raises:
        ProductionError: a worker cannot load `function`, or an item has ended its worker too often.
    """
    task: Any = ray.remote(_call).options(num_cpus=1, max_retries=0, name=f"{_find_name(function)}()")
    shared, deaths = [ray.put(function)], _Deaths()
    limit = min(num_cpus or MAX_SUBMITTED_TASKS, find_worker_limit(use_gpu=False) or MAX_SUBMITTED_TASKS)
    remaining = enumerate(items)
    submitted = deque((*each, task.remote(shared, each[1])) for each in islice(remaining, limit))
    while submitted:
        number, item, result = submitted[0]
        try:
            value = ray.get(result)
        except RayTaskError as error:
            raise error.cause from error
        except (WorkerCrashedError, OutOfMemoryError, NodeDiedError) as error:
            if deaths.are_too_many(number, error):
                raise ProductionError((explain or _explain)(shared, item)) from error
            submitted[0] = number, item, task.remote(shared, item)
            continue
        submitted.popleft()
        submitted.extend((*each, task.remote(shared, each[1])) for each in islice(remaining, 1))
        yield value


def _find_name(function: Callable[..., Any]) -> str:
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__)).strip("_")


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

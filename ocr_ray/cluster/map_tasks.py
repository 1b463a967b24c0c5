"""A function applied to many items over the cluster, one Ray task per item."""

import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import ray
from ray.exceptions import RaySystemError, RayTaskError

from ocr_ray.cluster.attempts import DEADLY, Attempts, find_deadly
from ocr_ray.cluster.capacity import find_worker_limit
from ocr_ray.errors import ProductionError

MAX_SUBMITTED_TASKS = 256
"""Maximum number of submitted tasks if the number of CPUs is not limited."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_tasks(
    function: Callable[[Item], Result], items: Iterable[Item], *, num_cpus: int | None
) -> Iterator[Result]:
    """Yield `function(item)` for every item, in order; each call uses one CPU, at most `num_cpus` together.

    Each worker process loads `function` once. Ray must be running; it repeats the tasks of a lost node. An
    exception of `function` is raised here unchanged.

    Raises:
        ProductionError: a worker cannot load `function`, or an item has ended its worker too often.
    """
    task: Any = ray.remote(_call).options(num_cpus=1, max_retries=-1)
    shared = [ray.put(function)]  # in a list, because Ray would load a plain reference for every task
    limit = min(num_cpus or MAX_SUBMITTED_TASKS, find_worker_limit(use_gpu=False) or MAX_SUBMITTED_TASKS)
    remaining = enumerate(items)
    attempts = Attempts()
    submitted = deque(task.remote(shared, attempts, item) for item in islice(remaining, limit))
    while submitted:
        try:
            result = ray.get(submitted.popleft())
        except RayTaskError as error:
            raise error.cause from error
        submitted.extend(task.remote(shared, attempts, item) for item in islice(remaining, 1))
        yield result


def _call(
    shared: "list[ray.ObjectRef[Callable[[Item], Result]]]", attempts: Attempts, item: tuple[int, Item]
) -> Result:
    function: Callable[[Item], Result] = fetch_shared(shared[0])
    number, value = item
    with attempts.attempt(str(number)) as is_deadly:
        if is_deadly:
            parts = ([part] for part in value) if isinstance(value, Sequence) else ()
            cause = find_deadly(partial(_call_shared, shared), parts) or value
            raise ProductionError(f"an input {DEADLY}; remove or repair it, and run the job again: {cause}")
        return function(value)


def _call_shared(shared: "list[ray.ObjectRef[Callable[[Item], Result]]]", item: Item) -> None:
    fetch_shared(shared[0])(item)


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

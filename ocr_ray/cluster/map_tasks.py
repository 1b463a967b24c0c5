"""A function called on many items over the cluster, one Ray task each."""

import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import ray
from ray.exceptions import RaySystemError

from ocr_ray.cluster.capacity import find_worker_limit
from ocr_ray.errors import ProductionError

MAX_TASKS_AHEAD = 256
"""Tasks handed to Ray at once where no limit of CPUs is known."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_tasks(
    function: Callable[[Item], Result], items: Iterable[Item], *, num_cpus: int | None
) -> Iterator[Result]:
    """Yield `function(item)` for every item, in order; each takes a CPU, at most `num_cpus` run at once.

    `function` reaches each worker process once, with all that it holds. Ray must be running; it runs a task
    that a lost node took along again.

    Raises:
        ProductionError: a worker cannot load `function`.
    """
    task: Any = ray.remote(_call).options(num_cpus=1)
    shared = [ray.put(function)]  # in a list: Ray would load it anew for every task otherwise
    num_ahead = min(num_cpus or MAX_TASKS_AHEAD, find_worker_limit(use_gpu=False) or MAX_TASKS_AHEAD)
    rest = iter(items)
    ahead = deque(task.remote(shared, item) for item in islice(rest, num_ahead))
    while ahead:
        yield ray.get(ahead.popleft())
        ahead.extend(task.remote(shared, item) for item in islice(rest, 1))


def _call(shared: "list[ray.ObjectRef[Callable[[Item], Result]]]", item: Item) -> Result:
    function: Callable[[Item], Result] = fetch_shared(shared[0])
    return function(item)


_fetched: dict[str, Any] = {}


def fetch_shared(ref: "ray.ObjectRef[Any]") -> Any:
    """Return what the driver put in Ray's object store; a worker process loads it once.

    Raises:
        ProductionError: this worker cannot load it. Ray's own error would be tried again for ever, since Ray
            Data takes it for one of the machine.
    """
    if ref.hex() not in _fetched:
        _fetched.clear()
        try:
            _fetched[ref.hex()] = ray.get(ref)
        except RaySystemError as error:
            if not isinstance(error.client_exc, Exception):
                raise
            raise ProductionError(
                "workers must have the code and the packages of the driver, "
                f"{socket.gethostname()} cannot load what parts are made from: {error.client_exc!r}"
            ) from error
    return _fetched[ref.hex()]

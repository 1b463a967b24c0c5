"""Starting Ray in the background, while a job still reads and checks its inputs. Imports Ray only then."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ocr_ray.errors import ProductionError


class _Start(threading.Thread):
    """Starts Ray on this machine, or joins a cluster, and lets its workers import modules."""

    def __init__(self, num_cpus: int | None, modules: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self._num_cpus, self._modules = num_cpus, modules
        self.error: ProductionError | None = None

    def run(self) -> None:
        from ocr_ray.cluster.session import start_ray, warm_up

        try:
            start_ray(self._num_cpus)
            warm_up(self._modules)
        except ProductionError as error:
            self.error = error


_started: list[_Start] = []
"""The start of this process that is under way or has ended, if its session still runs."""


@contextmanager
def early_ray(*, num_cpus: int | None, modules: Sequence[str] = (), unless: bool = False) -> Iterator[None]:
    """Start Ray in the background; `ray_session` in the body waits for it. It ends with the body.

    Workers import `modules` as soon as they are there. With `unless`, which is for work that is probably done,
    nothing is started: `ray_session` starts Ray if it is needed after all.
    """
    if unless or _started or is_running():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    _started.append(_Start(num_cpus, modules))
    _started[0].start()
    try:
        yield
    finally:
        start = _started.pop()
        start.join()
        if is_running():
            from ocr_ray.cluster.session import leave_ray

            leave_ray(handler)


def joins_cluster() -> bool:
    """Return whether jobs join a cluster, which can still grow, instead of starting Ray on this machine."""
    return bool(os.environ.get("RAY_ADDRESS"))


def is_running() -> bool:
    """Return whether this process uses a Ray."""
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def wait_for_start() -> None:
    """Wait for the Ray that is starting in the background, if there is one.

    Raises:
        ProductionError: it does not start.
    """
    for start in _started:
        start.join()
        if start.error:
            raise start.error

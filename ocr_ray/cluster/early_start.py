"""Starting Ray in the background, while a job still reads and checks its inputs."""

import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ocr_ray.cluster.ray_state import is_running, settings, started
from ocr_ray.errors import ProductionError


class _Start(threading.Thread):
    """Imports Ray, starts it or joins a cluster, and lets its workers import modules.

    It lives as long as its Ray: Linux ends Ray's processes with the thread that has started them.
    """

    def __init__(self, num_cpus: int | None, modules: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self._num_cpus, self._modules = num_cpus, modules
        self._is_up, self._is_left = threading.Event(), threading.Event()
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._start_ray()
        except ProductionError as error:
            self.error = error
        finally:
            self._is_up.set()
        self._is_left.wait()

    def _start_ray(self) -> None:
        from ocr_ray.cluster.session import start_ray, warm_up

        logger = logging.getLogger("ray._private.worker")
        logger.addFilter(_is_not_of_handler)
        try:
            start_ray(self._num_cpus)
        finally:
            logger.removeFilter(_is_not_of_handler)
        warm_up(self._modules)

    def wait(self) -> None:
        """Wait until Ray runs, or does not start."""
        self._is_up.wait()

    def leave(self) -> None:
        """End the thread."""
        self._is_left.set()
        self.join()


def _is_not_of_handler(record: logging.LogRecord) -> bool:
    """Return False for the warning that a thread cannot set a handler of SIGTERM: the job has one."""
    return "SIGTERM handler is not set" not in record.getMessage()


@contextmanager
def early_ray(
    *, num_cpus: int | None, dashboard: bool, modules: Sequence[str] = (), unless: bool = False
) -> Iterator[None]:
    """Start Ray in the background; `ray_session` in the body waits for it. It ends with the body.

    Workers import `modules` as soon as they are there. With `unless`, which is for work that is probably
    done, nothing is started: `ray_session` starts Ray if it is needed after all.
    """
    if started or is_running():
        yield
        return
    settings["dashboard"] = dashboard
    if unless:
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    start = _Start(num_cpus, modules)
    started.append(start)
    start.start()
    try:
        yield
    finally:
        start.wait()
        started.remove(start)
        if is_running():
            from ocr_ray.cluster.session import leave_ray

            leave_ray(handler)
        start.leave()

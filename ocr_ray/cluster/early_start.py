"""Starting Ray in the background, while a job still reads and checks its inputs."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ocr_ray.cluster.ray_state import is_running, settings, started
from ocr_ray.errors import ProductionError


class _Start(threading.Thread):
    """Imports Ray, starts it or joins a cluster, and lets its workers import modules."""

    def __init__(self, num_cpus: int | None, modules: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self._num_cpus, self._modules = num_cpus, modules
        self.error: Exception | None = None

    def run(self) -> None:
        from ocr_ray.cluster.session import start_ray, warm_up

        try:
            start_ray(self._num_cpus)
            warm_up(self._modules)
        except ProductionError as error:
            self.error = error


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
        start.join()
        started.remove(start)
        if is_running():
            from ocr_ray.cluster.session import leave_ray

            leave_ray(handler)

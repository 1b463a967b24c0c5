"""A job that is asked to end: SIGTERM, as `ray job stop` sends it, becomes a flag that workers ask for."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import ray

from ocr_ray.cluster.capacity import on_driver_node

UNHEARD_S = 90
"""After it a signal that no worker has asked for ends the driver: there may be no worker yet."""


class StopSignal:
    """Whether the job was asked to end; sent to workers it still tells."""

    def __init__(self, flag: Any) -> None:
        self._flag = flag

    def is_set(self) -> bool:
        """Ask the flag, which takes about a millisecond."""
        return bool(ray.get(self._flag.is_set.remote()))


@contextmanager
def stop_signal() -> Iterator[StopSignal]:
    """Catch SIGTERM meanwhile; to be called in the main thread, with Ray running.

    A second one, which also comes if no worker asks for the flag within `UNHEARD_S`, is answered as before.
    """
    flag: Any = ray.remote(_Flag).options(**on_driver_node()).remote()
    caught, ended = threading.Event(), threading.Event()
    # Not in the handler: it may run within a call to Ray.
    thread = threading.Thread(target=_relay, args=(caught, ended, flag), daemon=True)
    thread.start()

    def answer(number: int, frame: FrameType | None) -> None:
        if caught.is_set() and callable(before):
            before(number, frame)
        caught.set()

    before = signal.signal(signal.SIGTERM, answer)
    try:
        yield StopSignal(flag)
    finally:
        signal.signal(signal.SIGTERM, before)
        ended.set()
        caught.set()
        thread.join()
        ray.kill(flag)


def _relay(caught: threading.Event, ended: threading.Event, flag: Any) -> None:
    caught.wait()
    if ended.is_set():
        return
    ray.get(flag.set.remote())
    if not ended.wait(UNHEARD_S) and not ray.get(flag.was_heard.remote()):
        os.kill(os.getpid(), signal.SIGTERM)


class _Flag:
    """An actor that remembers."""

    def __init__(self) -> None:
        self._is_set = self._was_heard = False

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        self._was_heard = self._is_set
        return self._is_set

    def was_heard(self) -> bool:
        return self._was_heard

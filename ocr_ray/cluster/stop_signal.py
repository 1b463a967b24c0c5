"""Stopping a job: SIGTERM, which `ray job stop` sends, becomes a flag that workers can read."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import ray

from ocr_ray.cluster.capacity import on_driver_node

UNREAD_TIMEOUT_S = 90
"""Time after which a flag that no worker has read ends the driver: there may be no workers yet."""


class StopSignal:
    """Whether the job should stop; can be sent to workers."""

    def __init__(self, flag: Any) -> None:
        self._flag = flag

    def is_set(self) -> bool:
        """Return the value of the flag, in about a millisecond."""
        return bool(ray.get(self._flag.is_set.remote()))


@contextmanager
def stop_signal() -> Iterator[StopSignal]:
    """Catch SIGTERM; must be entered in the main thread, with Ray running.

    A second SIGTERM goes to the previous handler. It is sent automatically if no worker reads the flag within
    `UNREAD_TIMEOUT_S`.
    """
    flag: Any = ray.remote(_Flag).options(**on_driver_node()).remote()
    caught, ended = threading.Event(), threading.Event()
    # In a thread, because the handler can interrupt a call to Ray.
    thread = threading.Thread(target=_relay, args=(caught, ended, flag), daemon=True)
    thread.start()

    def handle(number: int, frame: FrameType | None) -> None:
        if caught.is_set() and callable(previous):
            previous(number, frame)
        caught.set()

    previous = signal.signal(signal.SIGTERM, handle)
    try:
        yield StopSignal(flag)
    finally:
        signal.signal(signal.SIGTERM, previous)
        ended.set()
        caught.set()
        thread.join()
        ray.kill(flag)


def _relay(caught: threading.Event, ended: threading.Event, flag: Any) -> None:
    caught.wait()
    if ended.is_set():
        return
    ray.get(flag.set.remote())
    if not ended.wait(UNREAD_TIMEOUT_S) and not ray.get(flag.was_read.remote()):
        os.kill(os.getpid(), signal.SIGTERM)


class _Flag:
    """An actor that holds the flag."""

    def __init__(self) -> None:
        self._is_set = self._was_read = False

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        self._was_read = self._is_set
        return self._is_set

    def was_read(self) -> bool:
        return self._was_read

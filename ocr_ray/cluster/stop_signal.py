"""Stopping a job: SIGTERM, which `ray job stop` sends, and Ctrl-C become a flag that workers can read."""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import ray
from ray.exceptions import RayError

from ocr_ray.cli.process import process
from ocr_ray.cluster.capacity import on_driver_node
from ocr_ray.cluster.process_group import exit_now

log = logging.getLogger(__name__)

UNREAD_TIMEOUT_S = 90
"""Time after which a flag that no worker has read ends the driver: there may be no workers yet."""
ANSWER_TIMEOUT_S = 8
"""Time after which a stopped job counts a Ray that does not answer as ended."""


class StopSignal:
    """Whether the job should stop; can be sent to workers."""

    def __init__(self, flag: Any) -> None:
        self.flag = flag
        self.number = 0
        """The signal that the driver has caught; always 0 in workers."""

    @property
    def exit_code(self) -> int:
        """The exit code of a job that this signal stopped: 130 after Ctrl-C, else 1."""
        return 128 + self.number if self.number == signal.SIGINT else 1

    def is_set(self) -> bool:
        """Return the value of the flag, in about a millisecond."""
        return bool(ray.get(self.flag.is_set.remote()))


@contextmanager
def stop_signal() -> Iterator[StopSignal]:
    """Catch SIGTERM and SIGINT; must be entered in the main thread, with Ray running.

    A second signal goes to the previous handler. It is sent automatically if no worker reads the flag within
    `UNREAD_TIMEOUT_S`.
    """
    flag: Any = ray.remote(_Flag).options(**on_driver_node()).remote()
    stop = StopSignal(flag)
    caught, ended = threading.Event(), threading.Event()
    # In a thread, because the handler can interrupt a call to Ray.
    thread = threading.Thread(target=_relay, args=(caught, ended, stop), daemon=True)
    thread.start()

    def handle(number: int, frame: FrameType | None) -> None:
        if caught.is_set():
            signal.signal(number, handlers[signal.Signals(number)])
            signal.raise_signal(number)
        stop.number = number
        caught.set()

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number, handler in handlers.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        ended.set()
        caught.set()
        thread.join()
        ray.kill(flag)


def _relay(caught: threading.Event, ended: threading.Event, stop: StopSignal) -> None:
    """Set the flag after a signal; end the process if no worker reads it, or if Ray ends too."""
    caught.wait()
    deadline_s = time.monotonic() + UNREAD_TIMEOUT_S
    try:
        if not ended.is_set():
            ray.get(stop.flag.set.remote(), timeout=ANSWER_TIMEOUT_S)
            log.info("stopping: workers save a checkpoint; another Ctrl-C or SIGTERM stops at once")
        while not ended.wait(1):
            was_read = ray.get(stop.flag.was_read.remote(), timeout=ANSWER_TIMEOUT_S)
            if not was_read and time.monotonic() > deadline_s:
                os.kill(os.getpid(), stop.number)
                return
    except RayError:
        if not ended.is_set():
            log.error(
                "stopped without a new checkpoint, because Ray has been ended too; earlier ones are kept: "
                "run the same command to resume"
            )
            if process["is_job"]:
                exit_now(stop.exit_code)
            os.kill(os.getpid(), stop.number)


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

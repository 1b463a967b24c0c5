"""Ends a job soon after the Ray that it has started has ended, as when all processes get SIGTERM.

Otherwise a call to Ray would wait for a minute, and Ray would then end the process with a message of its own.
"""

import logging
import socket
import threading

import ray

from ocr_ray.cli.process import process
from ocr_ray.cluster.process_group import exit_now

log = logging.getLogger(__name__)

INTERVAL_S = 0.5

_stops: list[threading.Event] = []
"""Ends the watch over the Ray that this process has started, if there is one."""


def watch_ray() -> None:
    """Watch the Ray that this job has started: exit with 1 when its GCS or its raylet is gone."""
    if not process["is_job"]:
        return
    (node,) = ray.nodes()  # type: ignore[no-untyped-call]
    raylet = node["NodeManagerAddress"], node["NodeManagerPort"]
    host, port = ray.get_runtime_context().gcs_address.rsplit(":", 1)
    watch([(host, int(port)), raylet])


def watch(addresses: list[tuple[str, int]]) -> None:
    """Exit with 1 as soon as no process listens at one of the addresses; until `stop_watching`."""
    stop = threading.Event()
    _stops.append(stop)
    threading.Thread(target=_watch, args=(addresses, stop), daemon=True).start()


def stop_watching() -> None:
    """End the watch; must be called before Ray is ended."""
    while _stops:
        _stops.pop().set()


def _watch(addresses: list[tuple[str, int]], stop: threading.Event) -> None:
    while not stop.wait(INTERVAL_S):
        if any(map(_is_gone, addresses)) and not stop.is_set():
            log.error("Ray has ended; finished work is kept: run the same command to resume")
            exit_now(1)


def _is_gone(address: tuple[str, int]) -> bool:
    """Return whether no process listens at an address; one that is only busy does."""
    try:
        socket.create_connection(address, timeout=INTERVAL_S).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False

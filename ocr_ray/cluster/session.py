"""Ray started on this machine, or joined where a cluster is."""

import logging
import os
import signal
import socket
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ocr_ray.cluster.capacity import list_nodes
from ocr_ray.errors import InputError, ProductionError
from ocr_ray.storage.location import Location, write_bytes

log = logging.getLogger(__name__)


ANSWER_SECONDS = 20


@contextmanager
def ray_session(
    *, num_cpus: int | None = None, reads: Iterable[Location] = (), writes: Iterable[Location] = ()
) -> Iterator[None]:
    """Run Ray for a job: join the cluster that RAY_ADDRESS names (`ray job submit` sets it), else start one.

    `num_cpus` are the logical CPUs of a Ray on this machine; None: all it has. `reads` and `writes` are the
    folders that every node must see.

    Raises:
        InputError: a local folder that another node does not see.
        ProductionError: Ray does not start, or is not there to be joined; what workers raised.
    """
    if ray.is_initialized():
        with unwrap_worker_errors():
            yield
        return
    _init(num_cpus)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        with unwrap_worker_errors():
            check_shared_folders(reads=reads, writes=writes)
            yield
    finally:
        ray.shutdown()
        # Ray leaves the system's own answer to SIGTERM, which ends the process without a word.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))


@contextmanager
def unwrap_worker_errors() -> Iterator[None]:
    """Raise errors of this package as workers raised them, so that the job's exit code is theirs.

    Ray Data does not log their tracebacks meanwhile.
    """
    ray.data.DataContext.get_current().raise_original_map_exception = True
    names = "ray.data._internal.execution.streaming_executor_state", "ray.data.exceptions"
    loggers = [logging.getLogger(name) for name in names]
    for logger in loggers:
        logger.addFilter(_is_of_others)
    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, InputError | ProductionError):
            raise error.cause from error
        raise
    finally:
        for logger in loggers:
            logger.removeFilter(_is_of_others)


def _is_of_others(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(getattr(error, "cause", None), InputError | ProductionError)


def _init(num_cpus: int | None) -> None:
    address = os.environ.get("RAY_ADDRESS")
    try:
        if address:
            _check_answers(address)
            ray.init(log_to_driver=False)
        else:
            ray.init(address="local", num_cpus=num_cpus, log_to_driver=False)
    except Exception as error:  # Ray raises a bare one where its processes do not start in time
        wanted = (
            f"RAY_ADDRESS={address} must name a Ray that is up, of this version and with this RAY_AUTH_MODE"
            if address
            else "Ray must start on this machine, which may be too busy: run the job again"
        )
        raise ProductionError(f"{wanted}; {error}") from error


def _check_answers(address: str) -> None:
    """Connect once: Ray itself tries an address where nothing answers for five minutes, and then aborts."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()


def check_shared_folders(*, reads: Iterable[Location], writes: Iterable[Location]) -> None:
    """Check that every node sees the same local folders; S3 is seen by all.

    Raises:
        InputError: a node does not; the message names both.
    """
    nodes = list_nodes()
    if len(nodes) < 2:
        return
    for place in reads:
        if place.is_local:
            _check_seen(place, place.path, nodes)
    for place in writes:
        if place.is_local:
            probe = place / f".seen-{uuid.uuid4().hex}"
            write_bytes(probe, b"")
            try:
                _check_seen(place, probe.path, nodes)
            finally:
                Path(probe.path).unlink()


def _check_seen(place: Location, path: str, nodes: list[dict[str, Any]]) -> None:
    for node in nodes:
        strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        seen = ray.remote(_is_there).options(num_cpus=0, scheduling_strategy=strategy)
        if not ray.get(seen.remote(path)):
            raise InputError(
                f"a local folder must be seen by every node of the cluster, {place} is not by "
                f"{node['NodeManagerAddress']}; use s3:// or a shared disk"
            )


def _is_there(path: str) -> bool:
    return Path(path).exists()

"""Ray started on this machine, or joined where a cluster is."""

import logging
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from typing import Any

import ray
from ray._private.state import state
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ocr_ray.errors import InputError
from ocr_ray.storage import Location, write_bytes

log = logging.getLogger(__name__)


@contextmanager
def ray_session(
    *, num_cpus: int | None = None, reads: Iterable[Location] = (), writes: Iterable[Location] = ()
) -> Iterator[None]:
    """Run Ray for a job: join the cluster that RAY_ADDRESS names (`ray job submit` sets it), else start one.

    `num_cpus` are the logical CPUs of a Ray on this machine; None: all it has. `reads` and `writes` are the
    folders that every node must see.

    Raises:
        InputError: a local folder that another node does not see.
    """
    if ray.is_initialized():
        yield
        return
    if is_joined():
        ray.init(log_to_driver=False)
    else:
        ray.init(address="local", num_cpus=num_cpus, log_to_driver=False)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        check_places(reads=reads, writes=writes)
        yield
    finally:
        ray.shutdown()


def is_joined() -> bool:
    """Return whether jobs join a cluster, to which nodes may still come, instead of starting a Ray."""
    return bool(os.environ.get("RAY_ADDRESS"))


def check_places(*, reads: Iterable[Location], writes: Iterable[Location]) -> None:
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


def list_nodes() -> list[dict[str, Any]]:
    """Return what Ray says of each node that is alive."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"]]


def count_workers(wanted: int | None, *, use_gpu: bool) -> int:
    """Return how many workers of one CPU, or one GPU, there may be; None: as many as the cluster has now.

    Raises:
        InputError: there can never be as many, so that they would be waited for in vain.
    """
    kind = "GPU" if use_gpu else "CPU"
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    there = int(resources.get(kind, 0))
    wanted = wanted or max(1, there)
    # What the autoscaler may start; None without one. Ray Train asks the same.
    limits = state.get_max_resources_from_cluster_config() or {}
    most = max(there, limits.get(kind, 0))
    if most < wanted:
        raise InputError(
            f"{wanted} workers need a {kind} each, there are {there} and can be no more than {most}; "
            f"give fewer --num-workers{', leave --use-gpu out' * use_gpu}, "
            "or raise max_workers of the cluster"
        )
    return wanted


@contextmanager
def relayed_logs() -> Iterator[Queue]:
    """Log here what workers log after `relay_logs` with the queue given; Ray would print all they print."""
    queue = Queue(actor_options={"num_cpus": 0})
    listener = QueueListener(queue, _Relay())
    listener.start()
    try:
        yield queue
    finally:
        listener.stop()
        queue.shutdown(force=True)


def relay_logs(queue: Queue) -> None:
    """Send what this process logs in the package, from INFO on, to where `relayed_logs` was entered."""
    logger = logging.getLogger("ocr_ray")
    logger.setLevel(logging.INFO)
    logger.addHandler(QueueHandler(queue))


class _Relay(logging.Handler):
    """Hands records on to the logger of their name in this process."""

    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger(record.name).handle(record)


def _is_there(path: str) -> bool:
    return Path(path).exists()

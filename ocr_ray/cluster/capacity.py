"""Nodes, CPUs and GPUs of the cluster: those present, and the limits of the autoscaler."""

import logging
import time
from collections.abc import Container, Mapping
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ocr_ray.cluster.ray_state import joins_cluster
from ocr_ray.errors import InputError
from ocr_ray.storage.location import exists, locate, read_json

log = logging.getLogger(__name__)

BOOTSTRAP = "~/ray_bootstrap_config.yaml"
"""JSON with the limits of the autoscaler, which `ray up` leaves on the head, where submitted jobs run.

Ray itself reports only the nodes that are present.
"""


NODE_TIMEOUT_S = 40.0
"""Ray counts a node as dead after five checks without an answer, which are three seconds apart or more."""


def list_nodes() -> list[dict[str, Any]]:
    """Return Ray's description of each node that is alive."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"]]


def list_dead_nodes() -> dict[str, str]:
    """Return the address of each node that has left the cluster by its id."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return {node["NodeID"]: node["NodeManagerAddress"] for node in nodes if not node["Alive"]}


def find_lost_node(dead: Container[str]) -> str | None:
    """Return the address of a node that has died and is not in `dead`; None if there is none.

    On several nodes this waits up to `NODE_TIMEOUT_S`, as workers of a lost node fail before Ray counts it as
    dead.
    """
    deadline_s = time.monotonic() + NODE_TIMEOUT_S
    while True:
        for node_id, address in list_dead_nodes().items():
            if node_id not in dead:
                return address
        if len(list_nodes()) < 2 or time.monotonic() > deadline_s:
            return None
        time.sleep(1)


def count_workers(wanted: int | None, *, use_gpu: bool) -> int:
    """Return the number of workers to start, with one CPU each and, with `use_gpu`, one GPU.

    None: as many as possible, including nodes that the autoscaler has not started yet.

    Raises:
        InputError: the cluster can never have that many.
    """
    kind = "GPU" if use_gpu else "CPU"
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    present = int(resources.get(kind, 0))
    limit = max(present, find_worker_limit(use_gpu=use_gpu) or 0)
    wanted = wanted or max(1, limit)
    if limit < wanted:
        raise InputError(
            f"{wanted} workers need a {kind} each, the cluster has {present} and can have {limit}; "
            f"use fewer --num-workers{', leave out --use-gpu' * use_gpu}, "
            "or raise max_workers of the cluster"
        )
    if present < wanted:
        log.info("%d workers need a %s each, the cluster has %d and starts more", wanted, kind, present)
    return wanted


def count_cores_per_gpu() -> int | None:
    """Return the CPUs of a node for each of its GPUs, the fewest of any node; None: no node has GPUs yet."""
    resources = [node["Resources"] for node in list_nodes()]
    cores = [int(each["CPU"] // each["GPU"]) for each in resources if each.get("GPU") and each.get("CPU")]
    return max(1, min(cores)) if cores else None


def find_worker_limit(*, use_gpu: bool) -> int | None:
    """Return `count_worker_limit` of the cluster that jobs join; None if it has no known autoscaler."""
    bootstrap = locate(BOOTSTRAP)
    if not (joins_cluster() and exists(bootstrap)):
        return None
    return count_worker_limit(read_json(bootstrap), use_gpu=use_gpu)


def count_worker_limit(cluster: Mapping[str, Any], *, use_gpu: bool) -> int:
    """Return how many workers with one CPU, or one CPU and one GPU, the nodes of an autoscaler can hold.

    Nodes with a GPU count only for workers that need one: Ray would start them for other work too, if it
    exceeded the other nodes.
    """
    workers_by_node: list[int] = []
    for node_type in cluster["available_node_types"].values():
        cpus, gpus = (int(node_type["resources"].get(kind, 0)) for kind in ("CPU", "GPU"))
        workers_by_node += [min(cpus, gpus) if use_gpu else 0 if gpus else cpus] * node_type["max_workers"]
    return sum(sorted(workers_by_node, reverse=True)[: cluster["max_workers"]])


def on_driver_node() -> dict[str, Any]:
    """Return the options of an actor without CPUs that runs on the driver's node.

    By default Ray places such an actor on any node, including spot nodes.
    """
    node_id = ray.get_runtime_context().get_node_id()
    return {"num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(node_id, soft=False)}

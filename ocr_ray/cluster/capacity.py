"""Nodes, CPUs and GPUs of the cluster: how many there are, and how many there may be."""

import logging
import os
from collections.abc import Mapping
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ocr_ray.errors import InputError
from ocr_ray.storage.location import exists, locate, read_json

log = logging.getLogger(__name__)

BOOTSTRAP = "~/ray_bootstrap_config.yaml"
"""JSON that `ray up` leaves on the head, where the drivers of `ray job submit` run: the nodes there may be.

Ray itself tells a driver only of the nodes there are.
"""


def joins_cluster() -> bool:
    """Return whether jobs join a cluster, to which nodes may still come, instead of starting a Ray."""
    return bool(os.environ.get("RAY_ADDRESS"))


def list_nodes() -> list[dict[str, Any]]:
    """Return what Ray says of each node that is alive."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"]]


def count_workers(wanted: int | None, *, use_gpu: bool) -> int:
    """Return how many workers of one CPU each, and with `use_gpu` one GPU, are to be started.

    None: as many as there can be, nodes included that the autoscaler has not started yet.

    Raises:
        InputError: there can never be as many, so that they would be waited for in vain.
    """
    kind = "GPU" if use_gpu else "CPU"
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    there = int(resources.get(kind, 0))
    most = max(there, find_worker_limit(use_gpu=use_gpu) or 0)
    wanted = wanted or max(1, most)
    if most < wanted:
        raise InputError(
            f"{wanted} workers need a {kind} each, there are {there} and can be no more than {most}; "
            f"give fewer --num-workers{', leave --use-gpu out' * use_gpu}, "
            "or raise max_workers of the cluster"
        )
    if there < wanted:
        log.info("%d workers need a %s each, the cluster has %d and starts more", wanted, kind, there)
    return wanted


def find_worker_limit(*, use_gpu: bool) -> int | None:
    """Return `count_worker_limit` of the cluster that jobs join; None where no autoscaler is known of."""
    bootstrap = locate(BOOTSTRAP)
    if not (joins_cluster() and exists(bootstrap)):
        return None
    return count_worker_limit(read_json(bootstrap), use_gpu=use_gpu)


def count_worker_limit(cluster: Mapping[str, Any], *, use_gpu: bool) -> int:
    """Return how many workers of one CPU, or one CPU and one GPU, an autoscaler has nodes for.

    Nodes with a GPU count for those alone that need it: Ray would start them for other work once there is
    more of that than the other nodes hold.
    """
    places: list[int] = []
    for node_type in cluster["available_node_types"].values():
        cpus, gpus = (int(node_type["resources"].get(kind, 0)) for kind in ("CPU", "GPU"))
        places += [min(cpus, gpus) if use_gpu else 0 if gpus else cpus] * node_type["max_workers"]
    return sum(sorted(places, reverse=True)[: cluster["max_workers"]])


def on_driver_node() -> dict[str, Any]:
    """Return the options of an actor that needs no CPU and lives as long as the driver's node.

    Ray puts an actor without CPUs on any node, spot nodes too.
    """
    node_id = ray.get_runtime_context().get_node_id()
    return {"num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(node_id, soft=False)}

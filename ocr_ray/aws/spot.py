"""Spot interruptions: the notice that EC2 gives two minutes ahead makes Ray drain the node.

The notice is read from the instance metadata service:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
A draining node gets no new tasks, and training saves a checkpoint. Rebalance recommendations are ignored:
they only say that a notice is more likely.
"""

import json
import logging
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ray.autoscaler.v2.sdk import get_cluster_status
from ray.exceptions import RpcError

from ocr_ray.aws.config import SpotConfig

log = logging.getLogger(__name__)

RAY = Path(sys.executable).with_name("ray")
DRAIN_TIMEOUT_S = 60.0
START_MARGIN_S = 5
"""Subtracted from the time left, which `ray drain-node` counts from when it has started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A notice that EC2 will interrupt this instance."""

    action: str
    """terminate, stop or hibernate."""
    deadline: datetime


def watch_spot(config: SpotConfig) -> dict[str, Any]:
    """Wait for a notice, drain the Ray node of this instance and return a summary."""
    while True:
        try:
            if notice := read_notice(config):
                return drain_node(config, notice)
        except (OSError, ValueError, LookupError, RpcError, subprocess.SubprocessError) as error:
            log.warning("%s; trying again in %g s", error, config.interval_s)
        time.sleep(config.interval_s)


def read_notice(config: SpotConfig) -> Notice | None:
    """Return the interruption notice of this instance, or None if there is none yet.

    Raises:
        OSError: the metadata service does not answer.
        ValueError, LookupError: its answer is not a notice.
    """
    try:
        notice = json.loads(_read_metadata(config, "spot/instance-action"))
    except HTTPError as error:
        if error.code == 404:
            return None
        raise
    return Notice(action=notice["action"], deadline=datetime.fromisoformat(notice["time"]))


def drain_node(config: SpotConfig, notice: Notice) -> dict[str, Any]:
    """Drain the Ray node of this instance until the deadline of the notice; return a summary.

    Raises:
        OSError, RpcError: the metadata service or the head does not answer.
        LookupError: no node of the cluster runs on this instance.
        SubprocessError: `ray drain-node` failed or took too long.
    """
    instance_id = _read_metadata(config, "instance-id")
    node_id = _find_node(config, instance_id)
    remaining_s = int((notice.deadline - datetime.now(UTC)).total_seconds()) - START_MARGIN_S
    _run_ray(
        "drain-node",
        f"--address={config.gcs_address}",
        f"--node-id={node_id}",
        "--reason=DRAIN_NODE_REASON_PREEMPTION",  # a node can reject the other reason, that it is idle
        f"--reason-message=EC2 will {notice.action} this spot instance",
        f"--deadline-remaining-seconds={max(0, remaining_s)}",
    )
    log.warning("%s: %s at %s, node %s is draining", instance_id, notice.action, notice.deadline, node_id)
    return {
        "instance": instance_id,
        "node": node_id,
        "action": notice.action,
        "deadline": notice.deadline.isoformat(),
    }


def _find_node(config: SpotConfig, instance_id: str) -> str:
    """Return the id of the Ray node on an instance.

    The head is asked directly: its dashboard, which `ray.util.state` needs, listens on localhost only.
    """
    status = get_cluster_status(config.gcs_address, timeout=ceil(config.timeout_s))
    for node in (*status.active_nodes, *status.idle_nodes):
        if node.instance_id == instance_id and node.node_id:
            return str(node.node_id)
    raise LookupError(f"no node of {config.gcs_address} runs on {instance_id}")


def _run_ray(*arguments: str) -> None:
    result = subprocess.run(
        [RAY, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DRAIN_TIMEOUT_S,
        check=False,
    )
    if result.returncode:
        raise subprocess.SubprocessError(f"ray {arguments[0]} failed: {result.stdout.strip()}")


def _read_metadata(config: SpotConfig, name: str) -> str:
    """Return an entry of the instance metadata, with the token that version 2 of the service requires."""
    token = Request(
        f"{config.metadata_url}/latest/api/token",
        method="PUT",
        headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"},
    )
    with urlopen(token, timeout=config.timeout_s) as answer:
        headers = {"X-aws-ec2-metadata-token": answer.read().decode()}
    entry = Request(f"{config.metadata_url}/latest/meta-data/{name}", headers=headers)
    with urlopen(entry, timeout=config.timeout_s) as answer:
        return str(answer.read().decode())

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
from http.client import HTTPException
from math import ceil
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

from ray.autoscaler.v2.sdk import get_cluster_status
from ray.exceptions import RpcError

from ocr_ray.aws.config import SpotConfig
from ocr_ray.errors import ProductionError

log = logging.getLogger(__name__)

RAY = Path(sys.executable).with_name("ray")
DRAIN_TIMEOUT_S = 60.0
START_MARGIN_S = 5
"""Subtracted from the time left, which `ray drain-node` counts from when it has started."""
SERVICE = "the instance metadata service of EC2"
NOTICE = "spot/instance-action"
ADVICE = {403: "; is it turned off for this instance (MetadataOptions.HttpEndpoint)?"}
"""What to do, by HTTP status."""


class MetadataError(OSError):
    """The metadata service refused a request, or did not answer: then `status` is None."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A notice that EC2 will interrupt this instance."""

    action: str
    """terminate, stop or hibernate."""
    deadline: datetime


def watch_spot(config: SpotConfig) -> dict[str, Any]:
    """Wait for a notice, drain the Ray node of this instance and return a summary.

    Raises:
        ProductionError: it was stopped before there was a notice.
    """
    try:
        while True:
            try:
                if notice := read_notice(config):
                    return drain_node(config, notice)
            except (OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
                log.warning("%s; trying again in %g s", error, config.interval_s)
            time.sleep(config.interval_s)
    except (SystemExit, KeyboardInterrupt) as stop:
        raise ProductionError(
            f"stopped: {SERVICE} is no longer asked for a spot interruption, so this node "
            "would not be drained; run the same command to watch again"
        ) from stop


def read_notice(config: SpotConfig) -> Notice | None:
    """Return the interruption notice of this instance, or None if there is none yet.

    Raises:
        MetadataError: the metadata service does not answer.
        ValueError: its answer is not a notice.
    """
    text = _read_metadata(config, NOTICE)
    if text is None:
        return None
    try:
        notice = json.loads(text)
        action, deadline = str(notice["action"]), datetime.fromisoformat(notice["time"])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{SERVICE} must answer {NOTICE} with JSON that has an action and a time, got {text[:200]!r}"
        ) from error
    return Notice(action=action, deadline=deadline if deadline.tzinfo else deadline.replace(tzinfo=UTC))


def drain_node(config: SpotConfig, notice: Notice) -> dict[str, Any]:
    """Drain the Ray node of this instance until the deadline of the notice; return a summary.

    Raises:
        OSError: the metadata service or the head does not answer.
        LookupError: no node of the cluster runs on this instance, or it has no id.
        SubprocessError: `ray drain-node` failed or took too long.
    """
    instance_id = _read_metadata(config, "instance-id")
    if not instance_id:
        raise LookupError(f"{SERVICE} must know this instance's id, it has none")
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
    try:
        status = get_cluster_status(config.gcs_address, timeout=ceil(config.timeout_s))
    except RpcError as error:
        raise ConnectionError(f"the head node {config.gcs_address} does not answer: {error}") from error
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


def _read_metadata(config: SpotConfig, name: str) -> str | None:
    """Return an entry of the instance metadata, or None if there is no such entry.

    Version 2 of the service requires a token. Without it every answer would be 401.
    """
    token = _request(config, "PUT", "api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
    try:
        return _request(config, "GET", f"meta-data/{name}", {"X-aws-ec2-metadata-token": token})
    except MetadataError as error:
        if error.status == 404:
            return None
        raise


def _request(config: SpotConfig, method: str, path: str, headers: dict[str, str]) -> str:
    """Return the answer of the metadata service, which is on this machine and never behind a proxy."""
    url = f"{config.metadata_url}/latest/{path}"
    try:
        request = Request(url, method=method, headers=headers)
        with build_opener(ProxyHandler({})).open(request, timeout=config.timeout_s) as answer:
            return str(answer.read().decode())
    except HTTPError as error:
        message = f"{SERVICE} answered {method} {url} with {error.code} {error.reason}"
        raise MetadataError(message + ADVICE.get(error.code, ""), error.code) from error
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise MetadataError(
            f"{SERVICE} did not answer {method} {url}: {reason or type(error).__name__}"
        ) from error

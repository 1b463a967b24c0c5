"""A spot node that will be taken away: the notice of EC2 becomes a drain of its Ray node.

EC2 tells two minutes ahead, to who asks the instance metadata service:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
A drained node gets no new tasks, and training saves a checkpoint. A rebalance recommendation is only a guess
that a notice may come, so it changes nothing.
"""

import json
import logging
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.core.generated.autoscaler_pb2 import DrainNodeReason  # type: ignore[attr-defined]
from ray.core.generated.gcs_pb2 import GcsNodeInfo  # type: ignore[attr-defined]
from ray.exceptions import RpcError

from ocr_ray.aws.config import SpotConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """That an instance will be taken away."""

    action: str
    """terminate, stop or hibernate."""
    deadline: datetime


def watch_spot(config: SpotConfig) -> dict[str, Any]:
    """Return when this instance got a notice and its Ray node is draining; until then look on."""
    while True:
        try:
            if notice := read_notice(config):
                return drain_node(config, notice)
        except (OSError, ValueError, LookupError, RpcError) as error:
            log.warning("%s; looking again in %g s", error, config.interval_s)
        time.sleep(config.interval_s)


def read_notice(config: SpotConfig) -> Notice | None:
    """Return the notice that this instance got, or None.

    Raises:
        OSError: the metadata service does not answer.
        ValueError, LookupError: it answers what is no notice.
    """
    try:
        found = json.loads(_read_metadata(config, "spot/instance-action"))
    except HTTPError as error:
        if error.code == 404:
            return None
        raise
    return Notice(action=found["action"], deadline=datetime.fromisoformat(found["time"]))


def drain_node(config: SpotConfig, notice: Notice) -> dict[str, Any]:
    """Tell Ray that the node on this instance ends at the notice's time; return a summary.

    Raises:
        OSError, RpcError: the metadata service or the head does not answer.
        LookupError: no node of the cluster is on this instance.
    """
    instance_id = _read_metadata(config, "instance-id")
    gcs = GcsClient(address=config.gcs_address)
    nodes = gcs.get_all_node_info(timeout=config.timeout_s, state_filter=GcsNodeInfo.GcsNodeState.ALIVE)
    ids = [node_id.hex() for node_id, node in nodes.items() if node.instance_id == instance_id]
    if not ids:
        raise LookupError(f"no node of {config.gcs_address} is on {instance_id}")
    # A preemption cannot be rejected by the node, as an idle end can.
    gcs.drain_node(
        ids[0],
        DrainNodeReason.DRAIN_NODE_REASON_PREEMPTION,
        f"EC2 will {notice.action} this spot instance",
        int(notice.deadline.timestamp() * 1000),
        timeout=config.timeout_s,
    )
    log.warning("%s: %s at %s, node %s is draining", instance_id, notice.action, notice.deadline, ids[0])
    return {
        "instance": instance_id,
        "node": ids[0],
        "action": notice.action,
        "deadline": notice.deadline.isoformat(),
    }


def _read_metadata(config: SpotConfig, name: str) -> str:
    """Return an entry of the metadata, behind a token as version 2 of the service wants it."""
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

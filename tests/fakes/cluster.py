"""Ray's autoscaler with its fake node provider, whose nodes are processes on this machine."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import ray
from harness.processes import WAIT_S, find_tree, kill_tree
from ray.autoscaler.v2.sdk import get_cluster_status

HEAD_TYPE, HEAD_ID = "ray.head.default", "f" * 51 + "00000"
"""The provider's names for the head."""
UNUSED = (
    *("setup_commands", "head_setup_commands", "worker_setup_commands", "initialization_commands"),
    *("head_start_ray_commands", "worker_start_ray_commands", "rsync_exclude", "rsync_filter"),
    "cluster_synced_files",
)


def find_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("", 0))
        port: int = listener.getsockname()[1]
        return port


class FakeCluster:
    """A head without CPUs, up to `max_workers` nodes with two CPUs, and one node with two CPUs and a GPU.

    Nodes are terminated after six idle seconds.
    """

    def __init__(self, folder: Path, *, max_workers: int, upscaling_speed: float) -> None:
        self._ip, self._port = ray.util.get_node_ip_address(), find_free_port()
        config = folder / "ray_bootstrap_config.yaml"
        config.write_text(json.dumps(self._describe(max_workers, upscaling_speed)))
        self.address = f"{self._ip}:{self._port}"
        self.environment = {"HOME": str(folder), "RAY_AUTH_MODE": "disabled"}
        """The environment of drivers that join it."""
        for_head = {
            "RAY_FAKE_CLUSTER": "1",
            "RAY_enable_autoscaler_v2": "1",
            "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "AUTOSCALER_METRIC_PORT": str(find_free_port()),
        }
        command = [
            str(Path(sys.executable).parent / "ray"),
            *("start", "--head", "--num-cpus=0", f"--port={self._port}", f"--autoscaling-config={config}"),
            *("--object-store-memory=100000000", "--include-dashboard=false", "--block"),
            *("--dashboard-agent-listen-port=0", f"--ray-client-server-port={find_free_port()}"),
        ]
        self._log_path = folder / "head.log"
        with self._log_path.open("w") as log:
            self._head = subprocess.Popen(
                command,
                env=os.environ | self.environment | for_head,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_for(lambda: "Ray runtime started" in self._log_path.read_text())

    def _describe(self, max_workers: int, upscaling_speed: float) -> dict[str, Any]:
        """Return the cluster file that `ray up` would write on the head."""
        provider = {
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "gcs_address": f"{self._ip}:{self._port}",
            "head_node_id": HEAD_ID,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "launch_multiple": True,
        }
        cpu = {"CPU": 2, "object_store_memory": 100_000_000}
        return {
            "cluster_name": "fake",
            "max_workers": max_workers + 1,
            "upscaling_speed": upscaling_speed,
            "idle_timeout_minutes": 0.1,
            "provider": provider,
            "head_node_type": HEAD_TYPE,
            "available_node_types": {
                HEAD_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
                "cpu": {"resources": cpu, "node_config": {}, "min_workers": 0, "max_workers": max_workers},
                "gpu": {"resources": cpu | {"GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 1},
            },
            **{name: {} for name in ("auth", "docker", "file_mounts")},
            **{name: [] for name in UNUSED},
            "file_mounts_sync_continuously": False,
        }

    def count_waiting(self) -> int:
        """Return the number of CPUs that tasks wait for, as reported to the autoscaler."""
        demands = get_cluster_status(self.address).resource_demands.ray_task_actor_demand
        return sum(int(by.bundle["CPU"]) * by.count for demand in demands for by in demand.bundles_by_count)

    def count_launched(self) -> int:
        """Return the number of nodes that the autoscaler has launched and not terminated, running or not."""
        status = get_cluster_status(self.address)
        launches = sum(launch.count for launch in status.pending_launches)
        return launches + len(status.pending_nodes) + len(self.list_nodes())

    def list_nodes(self) -> list[str]:
        """Return the ids of the running nodes other than the head."""
        status = get_cluster_status(self.address)
        return [
            str(node.node_id)
            for node in [*status.active_nodes, *status.idle_nodes]
            if node.node_id != HEAD_ID
        ]

    def kill_node(self, node_id: str) -> None:
        """Send SIGKILL to all processes of a node."""
        for process in find_tree(self._head.pid):
            is_raylet = process.name() == "raylet"
            if is_raylet and process.environ().get("RAY_OVERRIDE_NODE_ID_FOR_TESTING") == node_id:
                kill_tree(process.pid)
                return
        raise AssertionError(f"node {node_id} must have a raylet")

    def wait_for(self, condition: Callable[[], bool], *, timeout_s: float = WAIT_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert self._head.poll() is None, self._log_path.read_text()
            assert time.monotonic() < deadline, self._log_path.read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        if psutil.pid_exists(self._head.pid):
            kill_tree(self._head.pid)
        self._head.wait()

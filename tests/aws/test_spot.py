"""Spot interruptions, from a fake metadata service to a Ray node that drains."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from fakes.metadata import serve_metadata
from harness.processes import kill_tree
from ray._private.services import _get_gcs_client_options
from ray._private.state import GlobalState
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated.common_pb2 import NodeDeathInfo
from ray.core.generated.gcs_pb2 import GcsNodeInfo

from ocr_ray.aws.config import SpotConfig
from ocr_ray.aws.spot import START_MARGIN_S, Notice, read_notice

TAKEN, OTHER = "i-0aaaaaaaaaaaaaaaa", "i-0cccccccccccccccc"
HOLD = """
import pathlib, sys, time, ray
ray.init(address=sys.argv[1], log_to_driver=False)
@ray.remote(num_cpus=1, resources={"taken": 1})
def hold():
    pathlib.Path(sys.argv[2]).touch()
    time.sleep(600)
ray.get(hold.remote())
""".replace("sys.argv[2]", "HELD")


def wait_until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def test_a_notice_is_read_with_its_action_and_time() -> None:
    with serve_metadata() as service:
        config = SpotConfig(gcs_address="nowhere:1", metadata_url=service.url)
        assert read_notice(config) is None
        service.entries["spot/instance-action"] = '{"action": "stop", "time": "2026-11-23T08:22:00Z"}'
        deadline = datetime(2026, 11, 23, 8, 22, tzinfo=UTC)
        assert read_notice(config) == Notice(action="stop", deadline=deadline)


def test_a_rebalance_recommendation_is_no_notice() -> None:
    recommendation = '{"noticeTime": "2026-11-23T08:22:00Z"}'
    with serve_metadata(events__recommendations__rebalance=recommendation) as service:
        assert read_notice(SpotConfig(gcs_address="nowhere:1", metadata_url=service.url)) is None
        assert service.requested == ["spot/instance-action"]


@pytest.mark.parametrize(
    ("method", "status", "message"),
    [
        ("GET", 503, r"the instance metadata service of EC2 answered GET \S+/spot/instance-action with 503"),
        ("PUT", 403, r"metadata service of EC2 answered PUT \S+/latest/api/token with 403.*HttpEndpoint"),
        ("PUT", 404, r"metadata service of EC2 answered PUT \S+/latest/api/token with 404"),
    ],
)
def test_an_error_of_the_service_is_not_taken_for_no_notice_and_names_the_service(
    method: str, status: int, message: str
) -> None:
    with serve_metadata() as service:
        service.failures[method] = status
        with pytest.raises(OSError, match=message):
            read_notice(SpotConfig(gcs_address="nowhere:1", metadata_url=service.url))


def test_an_unreachable_service_is_named_and_a_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match=r"metadata service of EC2 did not answer PUT .*Connection refused"):
        read_notice(SpotConfig(gcs_address="nowhere:1", metadata_url="http://127.0.0.1:9"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with serve_metadata() as service:
        assert read_notice(SpotConfig(gcs_address="nowhere:1", metadata_url=service.url)) is None


@pytest.mark.parametrize(
    "answer", ["{", "7", "[]", "{}", '{"action": "stop", "time": 5}', '{"time": "soon", "action": "stop"}']
)
def test_an_answer_that_is_no_notice_is_shown_with_what_it_must_be(answer: str) -> None:
    with serve_metadata(spot__instance_action=answer) as service:
        with pytest.raises(
            ValueError, match=r"metadata service of EC2 must answer \S+ with JSON that has an"
        ) as e:
            read_notice(SpotConfig(gcs_address="nowhere:1", metadata_url=service.url))
        assert repr(answer) in str(e.value)


def test_a_time_without_a_zone_is_utc_as_ec2_documents_it() -> None:
    notice = '{"action": "stop", "time": "2026-11-23T08:22:00"}'
    with serve_metadata(spot__instance_action=notice) as service:
        read = read_notice(SpotConfig(gcs_address="nowhere:1", metadata_url=service.url))
    assert read == Notice(action="stop", deadline=datetime(2026, 11, 23, 8, 22, tzinfo=UTC))


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_watcher_says_that_the_node_is_no_longer_watched(sent: signal.Signals) -> None:
    with serve_metadata() as service:
        command = [
            sys.executable,
            "-m",
            "jobs.watch_spot",
            "--gcs-address",
            "nowhere:1",
            "--interval-s",
            "0.1",
        ]
        command += ["--metadata-url", service.url]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as watcher:
            wait_until(lambda: len(service.requested) > 1)
            watcher.send_signal(sent)
            log = watcher.communicate(timeout=60)[1]
    assert watcher.returncode == 1
    assert "stopped: the instance metadata service of EC2 is no longer asked for a spot interruption" in log
    assert "Traceback" not in log


@pytest.mark.parametrize("url", ["169.254.169.254", "ftp://169.254.169.254", "http://"])
def test_a_metadata_url_that_is_none_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValueError, match=r"metadata_url must be http://HOST\[:PORT\], got"):
        SpotConfig(gcs_address="nowhere:1", metadata_url=url)


class Nodes:
    """A head without CPUs and a spot node that is busy."""

    def __init__(self, folder: Path) -> None:
        self.cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
        )
        self.cluster.add_node(num_cpus=1, resources={"taken": 1}, env_vars={"RAY_CLOUD_INSTANCE_ID": TAKEN})
        self.address = self.cluster.address
        held, log = folder / "held", folder.joinpath("driver.log").open("w")
        program = HOLD.replace("HELD", repr(str(held)))
        self.driver = subprocess.Popen([sys.executable, "-c", program, self.address], stdout=log, stderr=log)
        wait_until(held.exists)

    def find(self, *, is_head: bool) -> GcsNodeInfo:
        nodes = GcsClient(address=self.address).get_all_node_info(timeout=10).values()
        (node,) = (node for node in nodes if node.is_head_node == is_head)
        return node

    def draining(self) -> dict[str, int]:
        """Return the deadline in ms of each draining node, by node id."""
        state = GlobalState()
        state._initialize_global_state(_get_gcs_client_options(self.address))
        try:
            return state.get_draining_nodes()
        finally:
            state.disconnect()

    def stop(self) -> None:
        if self.driver.poll() is None:
            kill_tree(self.driver.pid)
            self.driver.wait()
        for node in [*self.cluster.worker_nodes, self.cluster.head_node]:
            for process in [info.process for info in node.all_processes.get("raylet", [])]:
                if psutil.pid_exists(process.pid) and process.poll() is None:
                    kill_tree(process.pid)
            self.cluster.remove_node(node, allow_graceful=False)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    nodes = Nodes(tmp_path)
    yield nodes
    nodes.stop()


@pytest.fixture
def start_watcher(nodes: Nodes) -> Iterator[Callable[[str], subprocess.Popen]]:
    """Start the job as cluster.yaml does, with another metadata service."""
    started = []

    def start(metadata_url: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "jobs.watch_spot", "--gcs-address", nodes.address]
        command += ["--metadata-url", metadata_url, "--interval-s", "0.2"]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield start
    for watcher in started:
        watcher.kill()


@pytest.mark.soak
def test_a_notice_drains_the_node_of_this_instance_and_no_other(nodes: Nodes, start_watcher) -> None:
    deadline = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=300)
    with serve_metadata(instance_id=OTHER) as service:
        watcher = start_watcher(service.url)
        notices = [
            None,  # no notice
            "{",
            json.dumps({"action": "terminate", "time": deadline.strftime("%Y-%m-%dT%H:%M:%SZ")}),
        ]
        for notice in notices:
            if notice is not None:
                service.entries["spot/instance-action"] = notice
            num_requests = len(service.requested)
            wait_until(lambda n=num_requests: len(service.requested) > n + 5)
            assert watcher.poll() is None
        assert nodes.draining() == {}  # no node runs on this instance yet
        service.entries["instance-id"] = TAKEN
        output, log = watcher.communicate(timeout=60)
    assert watcher.returncode == 0, log
    assert f"no node of {nodes.address} runs on {OTHER}; trying again in 0.2 s" in log
    taken = nodes.find(is_head=False).node_id.hex()
    assert json.loads(output.splitlines()[-1]) == {
        "instance": TAKEN,
        "node": taken,
        "action": "terminate",
        "deadline": deadline.isoformat(),
    }
    # Running tasks continue until the deadline; an idle node ends earlier.
    ((node_id, deadline_ms),) = nodes.draining().items()
    assert node_id == taken
    assert 0 <= deadline.timestamp() - deadline_ms / 1000 <= START_MARGIN_S + 1
    assert nodes.driver.poll() is None
    kill_tree(nodes.driver.pid)
    wait_until(lambda: nodes.find(is_head=False).state == GcsNodeInfo.DEAD)
    assert nodes.find(is_head=False).death_info.reason == NodeDeathInfo.AUTOSCALER_DRAIN_PREEMPTED
    assert "EC2 will terminate this spot instance" in nodes.find(is_head=False).death_info.reason_message
    assert nodes.find(is_head=True).state == GcsNodeInfo.ALIVE

"""Training on nodes that Ray drains before they are taken away: a checkpoint is saved in time."""

import time
from pathlib import Path
from typing import Any

import pytest
from harness.processes import kill_tree, start_job, wait_for
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import DrainNodeReason
from training.test_job import assert_same_weights, make_lines

from ocr_ray.cli.flags import describe_flags
from ocr_ray.errors import InputError
from ocr_ray.storage.location import exists, locate, read_json
from ocr_ray.training.config import TrainConfig, TrainJobConfig
from ocr_ray.training.job import SNAPSHOT

pytestmark = pytest.mark.soak

START_S = 600
"""Ray Train's workers import torch and transformers one after another."""
NOTICE_S = 20
"""Between the notice and the end of a node; EC2 gives two minutes."""


@pytest.fixture(scope="module")
def lines_uri(fonts, tmp_path_factory) -> tuple[str, str]:
    return make_lines(str(tmp_path_factory.mktemp("data")), fonts, num_lines=3000)


def plan(base_uri: Path, lines_uri: tuple[str, ...]) -> TrainJobConfig:
    """Return a run whose epochs are longer than the notice, and whose checkpoints come after ten minutes."""
    return TrainJobConfig(
        lines_uri=lines_uri,
        model="tiny",
        run_name="run",
        runs_uri=f"{base_uri}/runs",
        models_uri=f"{base_uri}/models",
        train=TrainConfig(epochs=2, batch_size=8, lr=5e-4),
    )


@pytest.fixture(scope="module")
def undisturbed(lines_uri, tmp_path_factory) -> TrainJobConfig:
    folder = tmp_path_factory.mktemp("undisturbed")
    config = plan(folder, lines_uri)
    job = start_job("train_trocr", describe_flags(config), folder / "log")
    assert job.wait(timeout=1200) == 0, (folder / "log").read_text()
    return config


def read_latest(config: TrainJobConfig) -> dict[str, Any]:
    """Return the metrics of the latest checkpoint that Ray Train lists; none before the first."""
    snapshot = locate(config.runs_uri) / config.run_name / SNAPSHOT
    try:
        results = read_json(snapshot)["checkpoint_results"] if exists(snapshot) else []
    except InputError:  # Ray Train writes it in place: it is empty for a moment
        return {}
    return max((result["metrics"] for result in results), key=lambda m: m["lines"], default={})


def drain(cluster: Cluster, node_id: str, deadline_s: float) -> None:
    """Announce to Ray that a node will be taken away, as its autoscaler and `ray drain-node` do."""
    reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    client = GcsClient(address=cluster.address)
    assert client.drain_node(node_id, reason, "taken away", int(deadline_s * 1000)) == (True, "")


@pytest.mark.parametrize("num_drained", [1, 2])
def test_a_checkpoint_is_saved_before_a_node_is_taken_away_and_training_does_not_change_the_weights(
    num_drained: int, undisturbed, lines_uri, tmp_path
) -> None:
    """The head has no CPU, as on EC2, so that the workers are on nodes that can be lost, one on each."""
    config, log_path = plan(tmp_path, lines_uri), tmp_path / "log"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    drained = [cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)][:num_drained]
    job = start_job("train_trocr", describe_flags(config), log_path, address=cluster.address)
    try:
        started = locate(config.runs_uri) / config.run_name / "metrics.jsonl"
        wait_for(lambda: exists(started), job, log_path, timeout_s=START_S)
        cluster.add_node(num_cpus=num_drained)
        assert read_latest(config) == {}
        deadline_s = time.time() + NOTICE_S
        for node in drained:
            drain(cluster, node.node_id, deadline_s)
        wait_for(lambda: bool(read_latest(config)), job, log_path, timeout_s=deadline_s - time.time())
        saved = read_latest(config)
        assert (saved["kind"], saved["epochs_done"]) == ("checkpoint", 0)
        while time.time() < deadline_s:
            time.sleep(0.1)
        for node in drained:
            kill_tree(node.all_processes["raylet"][0].process.pid)
            cluster.remove_node(node, allow_graceful=False)
        assert job.wait(timeout=1200) == 0, log_path.read_text()
    finally:
        if job.poll() is None:
            kill_tree(job.pid)
        cluster.shutdown()
    assert log_path.read_text().count("a node will be taken away: saving a checkpoint") == 1
    assert_same_weights(config.models_uri, undisturbed.models_uri)

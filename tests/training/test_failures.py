"""Training runs that lose a worker, a node or S3, or are stopped: they end with the same weights."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest
from harness.processes import (
    assert_all_ended,
    find_tree,
    kill_gcs,
    kill_tree,
    start_job,
    terminate_all,
    wait_for,
)
from moto.server import ThreadedMotoServer
from ray.cluster_utils import Cluster
from training.test_job import assert_same_weights, make_lines

from ocr_ray.cli.flags import describe_flags
from ocr_ray.cluster.stop_signal import UNREAD_TIMEOUT_S
from ocr_ray.storage.location import exists, locate, read_bytes, write_json
from ocr_ray.training.config import TrainConfig, TrainJobConfig
from ocr_ray.training.job import SNAPSHOT

pytestmark = pytest.mark.soak

START_S = 600
"""Ray Train's workers import torch and transformers one after another."""
CONFIG = TrainConfig(epochs=3, batch_size=8, lr=5e-4, checkpoint_every_minutes=0.05)


@pytest.fixture(scope="module")
def lines_uri(fonts, tmp_path_factory) -> tuple[str, str]:
    return make_lines(str(tmp_path_factory.mktemp("data")), fonts, num_lines=600)


def plan(base_uri: Path | str, lines_uri: tuple[str, ...]) -> TrainJobConfig:
    return TrainJobConfig(
        lines_uri=lines_uri,
        model="tiny",
        run_name="run",
        runs_uri=f"{base_uri}/runs",
        models_uri=f"{base_uri}/models",
        train=CONFIG,
    )


@pytest.fixture(scope="module")
def undisturbed(lines_uri, tmp_path_factory) -> TrainJobConfig:
    folder = tmp_path_factory.mktemp("undisturbed")
    config = plan(folder, lines_uri)
    job = start_job("train_trocr", describe_flags(config), folder / "log")
    assert job.wait(timeout=900) == 0, (folder / "log").read_text()
    return config


def has_checkpoint(config: TrainJobConfig) -> bool:
    snapshot = locate(config.runs_uri) / config.run_name / SNAPSHOT
    return exists(snapshot) and b'"checkpoint_' in read_bytes(snapshot)


def is_training(config: TrainJobConfig, log_path: Path) -> bool:
    """Return whether the run has a checkpoint and its workers, which log, have started."""
    return has_checkpoint(config) and "loader threads" in log_path.read_text()


def count_checkpoints(config: TrainJobConfig) -> int:
    return sum("checkpoint_2" in path.name for path in (Path(config.runs_uri) / config.run_name).iterdir())


def find_trainers(pid: int) -> list[psutil.Process]:
    """Return the Ray Train workers below a process."""
    return [p for p in find_tree(pid) if "RayTrainWorker" in " ".join(p.cmdline())]


def test_a_worker_killed_in_an_epoch_does_not_change_the_weights(undisturbed, lines_uri, tmp_path) -> None:
    config, log_path = plan(tmp_path, lines_uri), tmp_path / "log"
    job = start_job("train_trocr", describe_flags(config), log_path)
    wait_for(lambda: has_checkpoint(config), job, log_path, timeout_s=START_S)
    time.sleep(1)
    find_trainers(job.pid)[-1].kill()
    assert job.wait(timeout=900) == 0, log_path.read_text()
    assert_same_weights(config.models_uri, undisturbed.models_uri)


def test_a_node_taken_away_does_not_change_the_weights(undisturbed, lines_uri, tmp_path) -> None:
    """It is no failure of a worker, so that it needs no --max-failures."""
    config, log_path = replace(plan(tmp_path, lines_uri), max_failures=0), tmp_path / "log"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    job = start_job("train_trocr", describe_flags(config), log_path, address=cluster.address)
    try:
        wait_for(lambda: has_checkpoint(config), job, log_path, timeout_s=START_S)
        time.sleep(1)
        (node,) = cluster.worker_nodes
        kill_tree(node.all_processes["raylet"][0].process.pid)
        cluster.remove_node(node, allow_graceful=False)
        cluster.add_node(num_cpus=1)
        assert job.wait(timeout=900) == 0, log_path.read_text()
    finally:
        if job.poll() is None:
            kill_tree(job.pid)
        cluster.shutdown()
    assert_same_weights(config.models_uri, undisturbed.models_uri)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 1), (signal.SIGINT, 130)])
def test_a_run_that_is_stopped_saves_a_checkpoint_and_resumes(
    undisturbed, lines_uri, tmp_path, sent: signal.Signals, code: int
) -> None:
    """The signal goes to the whole process group, as of `timeout` or a terminal."""
    config, log_path = plan(tmp_path, lines_uri), tmp_path / "log"
    flags = describe_flags(replace(config, train=replace(CONFIG, checkpoint_every_minutes=0)))
    job = start_job("train_trocr", flags, log_path)
    wait_for(lambda: has_checkpoint(config), job, log_path, timeout_s=START_S)  # that of the first epoch
    before, processes = count_checkpoints(config), find_tree(job.pid)
    os.killpg(job.pid, sent)
    assert job.wait(timeout=120) == code, log_path.read_text()
    assert_all_ended(processes)
    assert "was stopped; run the same command again to resume" in log_path.read_text()
    assert "Traceback" not in log_path.read_text()
    assert count_checkpoints(config) == before + 1
    again = start_job("train_trocr", flags, log_path)
    assert again.wait(timeout=900) == 0, log_path.read_text()
    assert_same_weights(config.models_uri, undisturbed.models_uri)


def test_a_run_whose_ray_is_stopped_too_ends_soon_and_resumes(undisturbed, lines_uri, tmp_path) -> None:
    """First Ray's GCS is killed, then all processes get SIGTERM, as of systemd and Slurm."""
    config = plan(tmp_path, lines_uri)
    for stop in (kill_gcs, terminate_all):
        log_path = tmp_path / stop.__name__
        job = start_job("train_trocr", describe_flags(config), log_path)
        wait_for(partial(is_training, config, log_path), job, log_path, timeout_s=START_S)
        processes = find_tree(job.pid)
        stop(processes)
        assert job.wait(timeout=15) == 1, log_path.read_text()
        assert_all_ended(processes)
        assert log_path.read_text().splitlines()[-1].endswith("run the same command to resume")
        assert "Traceback" not in log_path.read_text()
    again = start_job("train_trocr", describe_flags(config), log_path)
    assert again.wait(timeout=900) == 0, log_path.read_text()
    assert_same_weights(config.models_uri, undisturbed.models_uri)


def test_a_run_that_waits_for_nodes_can_be_stopped(lines_uri, tmp_path) -> None:
    """The autoscaler's file lists a node that never comes."""
    config, log_path = plan(tmp_path, lines_uri), tmp_path / "log"
    nodes = {"worker": {"resources": {"CPU": 1}, "max_workers": 2}}
    write_json(
        locate(str(tmp_path)) / "ray_bootstrap_config.yaml", {"available_node_types": nodes, "max_workers": 2}
    )
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    job = start_job(
        "train_trocr",
        describe_flags(config),
        log_path,
        address=cluster.address,
        environment={
            "HOME": str(tmp_path),
            "RAY_AUTH_TOKEN_PATH": str(Path("~/.ray/auth_token").expanduser()),
        },
    )
    try:
        wait_for(lambda: "global batch" in log_path.read_text(), job, log_path, timeout_s=START_S)
        time.sleep(10)
        os.kill(job.pid, signal.SIGTERM)
        assert job.wait(timeout=UNREAD_TIMEOUT_S + 60) == 1
    finally:
        if job.poll() is None:
            kill_tree(job.pid)
        cluster.shutdown()
    assert "stopped; finished work is kept: run the same command to resume" in log_path.read_text()


def test_a_second_driver_of_a_run_is_refused_and_ctrl_c_stops_the_first(lines_uri, tmp_path) -> None:
    config, log_path, other_path = plan(tmp_path, lines_uri), tmp_path / "log", tmp_path / "other"
    job = start_job("train_trocr", describe_flags(config), log_path)
    try:
        wait_for(lambda: "global batch" in log_path.read_text(), job, log_path, timeout_s=START_S)
        other = start_job("train_trocr", describe_flags(config), other_path)
        assert other.wait(timeout=300) == 2
        assert f"--run-name must not be in use by another job, process {job.pid} on" in other_path.read_text()
        wait_for(lambda: has_checkpoint(config), job, log_path, timeout_s=START_S)
        os.killpg(job.pid, signal.SIGINT)  # as a terminal does
        assert job.wait(timeout=300) == 130
    finally:
        if job.poll() is None:
            kill_tree(job.pid)
    assert "was stopped; run the same command again to resume" in log_path.read_text()
    assert "Traceback" not in log_path.read_text()


@pytest.fixture
def server(monkeypatch) -> Iterator["Refusing"]:
    server = Refusing()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(name, value)
    yield server
    server.stop()


class Refusing:
    """An S3 server that can refuse every connection for a while and keeps its objects."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, self._port = self._server.get_host_and_port()
        self.endpoint = f"http://{host}:{self._port}"

    def refuse(self, seconds: float) -> None:
        self._server.stop()
        time.sleep(seconds)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self._port, verbose=False)
        self._server.start()

    def stop(self) -> None:
        self._server.stop()


def test_an_s3_that_refuses_every_call_for_a_minute_does_not_change_the_weights(
    undisturbed, server, fonts, tmp_path
) -> None:
    import boto3

    boto3.client("s3").create_bucket(Bucket="failures")
    lines_uri = make_lines("s3://failures", fonts, num_lines=600)
    config, log_path = plan("s3://failures", lines_uri), tmp_path / "log"
    job = start_job("train_trocr", describe_flags(config), log_path)
    try:
        wait_for(lambda: has_checkpoint(config), job, log_path, timeout_s=START_S)
        refusing = threading.Thread(target=server.refuse, args=(60.0,))
        refusing.start()
        refusing.join()
        assert job.wait(timeout=900) == 0, log_path.read_text()
    finally:
        if job.poll() is None:
            kill_tree(job.pid)
    assert_same_weights(config.models_uri, undisturbed.models_uri)

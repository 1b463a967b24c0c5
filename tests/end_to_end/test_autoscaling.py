"""Jobs on a cluster that starts empty, with Ray's autoscaler and its fake node provider."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from subprocess import Popen

import pytest
import yaml
from fakes.cluster import FakeCluster
from harness.processes import assert_same_dataset, kill_tree, list_parts, start_job, wait_for

from ocr_ray.cli.flags import describe_flags
from ocr_ray.render.config import RenderConfig

pytestmark = pytest.mark.slow

MAX_WORKERS, MAX_CPUS = 3, 6
"""The nodes without a GPU."""
NUM_PARTS = 5
"""Four of train, and an empty one of validation."""
CONFIG = yaml.safe_load(Path(__file__).parents[2].joinpath("cluster.yaml").read_text())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[FakeCluster]:
    cluster = FakeCluster(
        tmp_path_factory.mktemp("head"),
        max_workers=MAX_WORKERS,
        upscaling_speed=CONFIG["upscaling_speed"],
    )
    yield cluster
    cluster.stop()


@dataclass
class Observed:
    """Observations of a cluster: waiting CPUs and launched nodes until its first node runs, and all nodes."""

    waiting: list[int] = field(default_factory=list)
    launched: list[int] = field(default_factory=list)
    nodes: set[str] = field(default_factory=set)


@contextmanager
def watching(cluster: FakeCluster) -> Iterator[Observed]:
    observed, stopped = Observed(), threading.Event()

    def watch() -> None:
        while not stopped.wait(0.05):
            waiting, launched, nodes = cluster.count_waiting(), cluster.count_launched(), cluster.list_nodes()
            observed.nodes.update(nodes)
            if not observed.nodes:
                observed.waiting.append(waiting)
                observed.launched.append(launched)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield observed
    finally:
        stopped.set()
        thread.join()


@pytest.fixture
def config(fonts, tmp_path) -> RenderConfig:
    return RenderConfig(
        out_uri=str(tmp_path / "lines"),
        num_lines=NUM_PARTS * 1000 - 1000,
        lines_per_part=1000,
        validation_share=0.0,
        fonts=tuple(font.name for font in fonts),
    )


def start(cluster: FakeCluster, job: str, flags: dict, log_path: Path) -> Popen:
    return start_job(job, flags, log_path, address=cluster.address, environment=cluster.environment)


@pytest.mark.soak
def test_the_first_demand_is_the_missing_parts_and_ends_with_the_driver(cluster, config, tmp_path) -> None:
    job = start(cluster, "render_lines", describe_flags(config), tmp_path / "log")
    try:
        wait_for(lambda: cluster.count_waiting() == NUM_PARTS, job, tmp_path / "log")
    finally:
        kill_tree(job.pid)
        job.wait()
    cluster.wait_for(lambda: cluster.count_waiting() == 0)


@pytest.mark.soak
def test_a_cluster_grows_in_one_step_loses_a_node_and_shrinks_to_nothing(cluster, config, tmp_path) -> None:
    cluster.wait_for(lambda: cluster.count_launched() == 0)
    config, log_path = replace(config, num_lines=24_000), tmp_path / "log"
    with watching(cluster) as observed:
        job = start(cluster, "render_lines", describe_flags(config), log_path)
        try:
            wait_for(lambda: len(list_parts(config.out_uri)) >= 4, job, log_path)
            cluster.kill_node(cluster.list_nodes()[0])
            assert job.wait(timeout=300) == 0, log_path.read_text()
        finally:
            if job.poll() is None:
                kill_tree(job.pid)
    assert max(observed.waiting) == MAX_CPUS
    assert max(observed.launched) == MAX_WORKERS
    assert len(observed.nodes) >= MAX_WORKERS
    cluster.wait_for(lambda: cluster.count_launched() == 0)
    plain = replace(config, out_uri=str(tmp_path / "plain"))
    assert start_job("render_lines", describe_flags(plain), log_path).wait(timeout=300) == 0
    assert_same_dataset(config.out_uri, plain.out_uri)


@pytest.mark.soak
def test_training_waits_for_nodes_and_is_refused_if_there_can_never_be_enough(
    cluster, config, tmp_path
) -> None:
    log_path = tmp_path / "log"
    lines = replace(config, num_lines=60, validation_share=0.2)
    assert start_job("render_lines", describe_flags(lines), log_path).wait(timeout=300) == 0
    flags = {
        "lines-uri": lines.out_uri,
        "model": "tiny",
        "run-name": "run",
        "runs-uri": str(tmp_path / "runs"),
        "models-uri": str(tmp_path / "models"),
        "epochs": 1,
    }
    cluster.wait_for(lambda: cluster.count_launched() == 0)
    assert start(cluster, "train_trocr", flags | {"num-workers": 7}, log_path).wait(timeout=300) == 2
    assert "7 workers need a CPU each, the cluster has 0 and can have 6" in log_path.read_text()
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs/run").glob("checkpoint*"))
    assert start(cluster, "train_trocr", flags, log_path).wait(timeout=300) == 0
    assert json.loads(log_path.read_text().splitlines()[-1])["finished"]

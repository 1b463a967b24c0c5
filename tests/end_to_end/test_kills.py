"""A dataset whose job loses drivers, workers, a node or the whole machine, ten times at random times."""

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from harness.processes import assert_same_dataset, find_working, kill_tree, list_parts, start_job, wait_for
from ray.cluster_utils import Cluster

from ocr_ray.cli.flags import describe_flags
from ocr_ray.render.config import RenderConfig

pytestmark = pytest.mark.soak

NUM_LINES, LINES_PER_PART = 48_000, 240
KILLS = {"driver": 3, "worker": 3, "node": 2, "machine": 2}
SEED = 20261122


def run_undisturbed(config: RenderConfig, log_path: Path) -> None:
    job = start_job("render_lines", describe_flags(config), log_path)
    try:
        assert job.wait(timeout=900) == 0, log_path.read_text()
    finally:
        if job.poll() is None:
            kill_tree(job.pid)


@pytest.fixture(scope="module")
def undisturbed(fonts, tmp_path_factory) -> RenderConfig:
    """A dataset of one undisturbed run."""
    folder = tmp_path_factory.mktemp("undisturbed")
    config = RenderConfig(
        out_uri=str(folder / "lines"),
        num_lines=NUM_LINES,
        seed=11,
        lines_per_part=LINES_PER_PART,
        fonts=tuple(font.name for font in fonts),
    )
    run_undisturbed(config, folder / "log")
    return config


def kill_worker(raylets: list[int], random_source: random.Random) -> bool:
    """Send SIGKILL to a worker process that is making a part; return whether there was one."""
    working = find_working(raylets)
    with suppress(psutil.NoSuchProcess):
        if working:
            random_source.choice(working).kill()
            return True
    return False


class Machine:
    """A Ray cluster of two nodes with one CPU each, and the driver of a job that has joined it."""

    def __init__(self, config: RenderConfig, log_path: Path) -> None:
        self.config, self.log_path = config, log_path
        self.start()

    def start(self) -> None:
        self.cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
        )
        self.cluster.add_node(num_cpus=1)
        self.start_driver()

    def start_driver(self) -> None:
        self.driver = start_job(
            "render_lines", describe_flags(self.config), self.log_path, address=self.cluster.address
        )

    def raylets(self) -> list[int]:
        """Return the process ids of the raylets, the head's first."""
        nodes = [self.cluster.head_node, *self.cluster.worker_nodes]
        return [node.all_processes["raylet"][0].process.pid for node in nodes]

    def kill(self, kind: str, random_source: random.Random) -> None:
        """Kill the driver, a worker, a node or everything; restart what Ray does not restart itself."""
        if kind in ("driver", "machine"):
            kill_tree(self.driver.pid)
            self.driver.wait()
        if kind == "driver":
            self.start_driver()
        elif kind == "worker":
            self.wait_for(lambda: kill_worker(self.raylets(), random_source))
        elif kind == "node":
            (node,) = self.cluster.worker_nodes
            kill_tree(self.raylets()[1])
            self.cluster.remove_node(node, allow_graceful=False)
            self.cluster.add_node(num_cpus=1)
        else:
            self.stop()
            self.start()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        wait_for(condition, self.driver, self.log_path)

    def stop(self) -> None:
        """Kill the driver, then all processes of both nodes."""
        if self.driver.poll() is None:
            kill_tree(self.driver.pid)
            self.driver.wait()
        for pid in reversed(self.raylets()):
            if psutil.pid_exists(pid):
                kill_tree(pid)
        for node in list(self.cluster.worker_nodes):
            self.cluster.remove_node(node, allow_graceful=False)
        self.cluster.remove_node(self.cluster.head_node, allow_graceful=False)


def test_ten_kills_do_not_change_the_dataset(undisturbed, tmp_path, capsys) -> None:
    """The driver or the machine is restarted; after the loss of a worker or a node the driver continues."""
    random_source = random.Random(SEED)
    kinds = list(Counter(KILLS).elements())
    random_source.shuffle(kinds)
    config = replace(undisturbed, out_uri=str(tmp_path / "lines"))
    machine, started_s, killed = Machine(config, tmp_path / "log"), time.monotonic(), []
    try:
        for kind in kinds:
            wanted = len(list_parts(config.out_uri)) + random_source.randint(1, 9)
            machine.wait_for(lambda wanted=wanted: len(list_parts(config.out_uri)) >= wanted)
            time.sleep(random_source.random())
            killed.append((kind, round(time.monotonic() - started_s, 1), len(list_parts(config.out_uri))))
            machine.kill(kind, random_source)
        assert machine.driver.wait(timeout=900) == 0, machine.log_path.read_text()
    finally:
        machine.stop()
    assert_same_dataset(config.out_uri, undisturbed.out_uri)
    with capsys.disabled():
        taken_s = round(time.monotonic() - started_s, 1)
        sys.stdout.write("\n" + json.dumps({"killed_at_s_and_parts": killed, "taken_s": taken_s}) + "\n")


def test_two_jobs_at_one_location_make_one_correct_dataset(undisturbed, tmp_path, capsys) -> None:
    """Each starts its own Ray; both succeed, or one is refused with a message."""
    config = replace(undisturbed, out_uri=str(tmp_path / "lines"))
    logs = [tmp_path / "first", tmp_path / "second"]
    jobs = [start_job("render_lines", describe_flags(config), log_path) for log_path in logs]
    try:
        codes = [job.wait(timeout=900) for job in jobs]
    finally:
        for job in jobs:
            if job.poll() is None:
                kill_tree(job.pid)
    assert 0 in codes
    for code, log_path in zip(codes, logs, strict=True):
        assert code == 0 or (code in (1, 2) and "ERROR" in log_path.read_text().splitlines()[-1])
    assert_same_dataset(config.out_uri, undisturbed.out_uri)
    with capsys.disabled():
        sys.stdout.write("\n" + json.dumps({"exit_codes": codes}) + "\n")

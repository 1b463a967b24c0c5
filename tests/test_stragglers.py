"""Rows on two real nodes of one CPU each, one of which hangs; the driver is a process of its own."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

pytestmark = pytest.mark.slow

PROGRAM = """
import json, os, sys, time, uuid
from pathlib import Path
import ray
from ocr_ray.cluster import ray_session
from ocr_ray.stragglers import map_rows

folder, hanging, num_cpus = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def make(row):
    (folder / f"{row['number']}-{uuid.uuid4().hex}").touch()
    while row["number"] > 1 and ray.get_runtime_context().get_node_id() == hanging:
        time.sleep(0.1)
    time.sleep(0.2)
    return {"square": row["number"] ** 2}

with ray_session():
    rows = [{"number": number} for number in range(8)]
    made = list(map_rows(rows, make, num_cpus=num_cpus))
print(json.dumps([(row["square"], row["node"]) for row in made]))
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A Ray of two nodes with one CPU each."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


def square(cluster: Cluster, folder: str, *, hanging: str = "", num_cpus: int = 2) -> dict[int, str]:
    """Return the squares of 0 to 7 with the node that made each."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, folder, hanging, str(num_cpus)],
        env=os.environ | {"RAY_ADDRESS": cluster.address},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    made = json.loads(run.stdout.splitlines()[-1])
    assert sorted(square for square, _ in made) == [number**2 for number in range(8)]
    return dict(made)


def count_calls(folder: str) -> Counter[int]:
    return Counter(int(path.name.partition("-")[0]) for path in Path(folder).iterdir())


def test_rows_that_are_not_late_are_made_once(cluster, tmp_path) -> None:
    made = square(cluster, str(tmp_path))
    assert len(set(made.values())) == 2
    assert count_calls(str(tmp_path)) == dict.fromkeys(range(8), 1)


def test_a_node_that_hangs_does_not_hold_up_the_end(cluster, tmp_path) -> None:
    """The row that hangs is made again on the other node, and Ray Data is not waited for."""
    hanging = cluster.worker_nodes.copy().pop().node_id
    made = square(cluster, str(tmp_path), hanging=hanging)
    calls = count_calls(str(tmp_path))
    (late,) = [number for number, times in calls.items() if times > 1]
    assert calls[late] == 2
    assert made[late**2] == cluster.head_node.node_id

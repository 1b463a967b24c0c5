"""Rows on two real nodes of one CPU each, one of which hangs; the driver is a process of its own."""

import json
import os
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from ray.cluster_utils import Cluster

pytestmark = pytest.mark.soak

NUM_ROWS = 8
PROGRAM = """
import json, sys, time, uuid
from pathlib import Path
import ray
from ocr_ray.cluster.session import ray_session
from ocr_ray.cluster.stragglers import map_rows

calls, num_rows, head, other = Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]

def make(row):
    (calls / f"{row['run']} {row['number']} {uuid.uuid4().hex}").touch()
    while row["number"] > 1 and ray.get_runtime_context().get_node_id() == row["hanging"]:
        time.sleep(0.1)
    time.sleep(0.2)
    return {"run": row["run"], "square": row["number"] ** 2}

with ray_session():
    for run, hanging in (("calm", ""), ("hanging", other)):
        rows = [{"run": run, "number": number, "hanging": hanging} for number in range(num_rows)]
        for row in map_rows(rows, make, num_cpus=None):
            print(json.dumps(row))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Any]:
    """What was made on each node, and how often each number was, with and without a node that hangs."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        other = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        calls, head_id = tmp_path_factory.mktemp("calls"), cluster.head_node.node_id
        driver = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(calls), str(NUM_ROWS), head_id, other.node_id],
            env=os.environ | {"RAY_ADDRESS": cluster.address},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        cluster.shutdown()
    assert driver.returncode == 0, driver.stderr
    made = [json.loads(line) for line in driver.stdout.splitlines()]
    times = Counter(tuple(path.name.split()[:2]) for path in calls.iterdir())
    return {
        run: {
            "made": [(row["square"], row["node"] == head_id) for row in made if row["run"] == run],
            "times": [times[run, str(number)] for number in range(NUM_ROWS)],
        }
        for run in ("calm", "hanging")
    }


@pytest.mark.parametrize("run", ["calm", "hanging"])
def test_every_row_is_made_and_given_once(runs, run: str) -> None:
    assert sorted(square for square, _ in runs[run]["made"]) == [n**2 for n in range(NUM_ROWS)]


def test_rows_that_are_not_late_are_made_once_over_all_nodes(runs) -> None:
    assert runs["calm"]["times"] == [1] * NUM_ROWS
    assert {on_head for _, on_head in runs["calm"]["made"]} == {True, False}


def test_a_row_that_hangs_is_made_again_elsewhere_and_not_waited_for(runs) -> None:
    assert sorted(runs["hanging"]["times"]) == [1] * (NUM_ROWS - 1) + [2]
    late = runs["hanging"]["times"].index(2)
    assert (late**2, True) in runs["hanging"]["made"]

"""Parts made by workers with a GPU each; Ray is configured with GPUs that do not exist."""

import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest

PROGRAM = """
import json, os, sys, time
from pathlib import Path

import ray
from builders import stub_lines
from ray import cloudpickle
from builders.stub_lines import make_rows, plan_numbers

from ocr_ray.cluster.capacity import count_cores_per_gpu
from ocr_ray.cluster.produce import produce
from ocr_ray.cluster.produce_options import ProduceOptions
from ocr_ray.storage.location import locate

cloudpickle.register_pickle_by_value(stub_lines)

def make(folder, spec):
    started_s = time.monotonic()
    time.sleep(0.5)
    yield from make_rows(None, spec)
    record = {
        "process": os.getpid(),
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        "during_s": (started_s, time.monotonic()),
    }
    (folder / f"{spec.index}.json").write_text(json.dumps(record))

ray.init(address="local", num_cpus=4, num_gpus=2, log_to_driver=False, include_dashboard=False)
for name, numbers in json.loads(sys.argv[2]).items():
    folder = Path(sys.argv[1], name)
    folder.mkdir()
    options = ProduceOptions(**numbers, max_reject_fraction=0.1)
    produce(locate(str(folder / "lines")), plan_numbers(80, items_per_part=10), (make, folder), options)
print(count_cores_per_gpu())
ray.shutdown()
"""
RUNS = {"two": {"use_gpu": True}, "one": {"use_gpu": True, "num_cpus": 1}, "none": {}}

Record = dict


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> dict[str, list[Record]]:
    """The records of the eight parts of each run: worker, GPUs and time."""
    folder = tmp_path_factory.mktemp("gpus")
    command = [sys.executable, "-c", PROGRAM, str(folder), json.dumps(RUNS)]
    run = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["2"], "a GPU has half of the four CPUs"
    return {name: [json.loads(path.read_text()) for path in (folder / name).glob("*.json")] for name in RUNS}


def find_simultaneous(records: list[Record]) -> list[tuple[Record, Record]]:
    """Return the pairs of parts that were made in parallel."""
    return [
        (one, other)
        for one, other in combinations(records, 2)
        if one["during_s"][0] < other["during_s"][1] and other["during_s"][0] < one["during_s"][1]
    ]


@pytest.mark.soak
def test_two_parts_are_made_in_parallel_with_different_gpus(records) -> None:
    made = records["two"]
    assert len(made) == 8
    pairs = find_simultaneous(made)
    assert pairs
    assert all({one["gpus"], other["gpus"]} == {"0", "1"} for one, other in pairs)


@pytest.mark.soak
def test_a_worker_keeps_its_gpu_for_all_its_parts(records) -> None:
    gpus = {(record["process"], record["gpus"]) for record in records["two"]}
    assert sorted(gpu for _, gpu in gpus) == ["0", "1"]


@pytest.mark.soak
def test_fewer_cpus_than_gpus_leave_a_gpu_unused(records) -> None:
    assert len(records["one"]) == 8
    assert find_simultaneous(records["one"]) == []


@pytest.mark.soak
def test_without_gpus_requested_workers_see_none_and_are_limited_by_cpus(records) -> None:
    assert len(records["none"]) == 8
    assert {record["gpus"] for record in records["none"]} == {""}
    assert max(len(find_simultaneous([record, *records["none"]])) for record in records["none"]) > 2

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import ray
from harness.processes import kill_tree, wait_for
from ray.cluster_utils import Cluster
from ray.exceptions import ActorDiedError, RayTaskError

from ocr_ray.cluster.capacity import count_worker_limit, count_workers
from ocr_ray.cluster.session import unwrap_worker_errors
from ocr_ray.errors import InputError, ProductionError, StorageError


@pytest.mark.parametrize(
    ("max_workers", "cpus", "gpus"), [(9, 3 * 16, 2 * 4 + 1 * 1), (4, 3 * 16, 2 * 4 + 1), (2, 2 * 16, 2 * 4)]
)
def test_the_limit_of_workers_is_what_all_nodes_hold(max_workers: int, cpus: int, gpus: int) -> None:
    """A worker with a GPU also needs a CPU; the largest nodes are counted first."""
    types = {
        "head": {"resources": {"CPU": 8}, "max_workers": 0},
        "cpu": {"resources": {"CPU": 16, "memory": 2**30}, "max_workers": 3},
        "one_gpu": {"resources": {"CPU": 8, "GPU": 1, "accelerator_type:A10G": 1}, "max_workers": 1},
        "many_gpus": {"resources": {"CPU": 4, "GPU": 8}, "max_workers": 2},
    }
    cluster = {"max_workers": max_workers, "available_node_types": types}
    assert (count_worker_limit(cluster, use_gpu=False), count_worker_limit(cluster, use_gpu=True)) == (
        cpus,
        gpus,
    )


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_more_workers_than_the_cluster_can_have_are_refused() -> None:
    assert count_workers(None, use_gpu=False) == count_workers(2, use_gpu=False) == 2
    with pytest.raises(InputError, match="3 workers need a CPU each, the cluster has 2 and can have 2; use"):
        count_workers(3, use_gpu=False)
    with pytest.raises(InputError, match="1 workers need a GPU each, the cluster has 0"):
        count_workers(None, use_gpu=True)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_the_death_of_a_process_of_ray_says_how_to_go_on() -> None:
    """As if the kernel ends one for want of memory."""
    actor = ray.remote(Helper).options(num_cpus=0).remote()
    message = r"(?s)^Ray has failed: .* died .*run the same command to resume$"
    with pytest.raises(ProductionError, match=message), unwrap_worker_errors():
        ray.get(actor.kill.remote())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "When creating key 'runs/' in bucket 'data': AWS Error ACCESS_DENIED during PutObject operation:",
            "s3://data/runs/ could not be written, S3 answers PutObject with ACCESS_DENIED",
        ),
        (
            "[Errno 13] Failed to open local file '/runs/x/.marker'. Detail: [errno 13] Permission denied",
            "/runs/x/.marker cannot be used: Permission denied; ",
        ),
        ("[Errno 28] No space left on device", "a file cannot be used: No space left on device; "),
    ],
)
def test_a_refused_write_that_keeps_an_actor_from_starting_is_a_storage_error(
    text: str, message: str
) -> None:
    cause = RayTaskError("__init__()", f"OSError: {text}", OSError(), "ray::TrainController", 1, "192.0.2.1")
    with pytest.raises(StorageError, match=f"^{re.escape(message)}"), unwrap_worker_errors():
        raise ActorDiedError(cause)


class Helper:
    def kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_an_address_without_ray_is_reported() -> None:
    program = "from ocr_ray.cluster.session import ray_session\nwith ray_session():\n    pass"
    with socket.socket() as taken:  # bound but not listening
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        run = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"RAY_ADDRESS": address},
            capture_output=True,
            text=True,
            check=False,
        )
    assert f"ProductionError: RAY_ADDRESS={address} must be a running Ray" in run.stderr


@pytest.mark.soak
def test_a_node_that_does_not_see_a_local_folder_is_reported(tmp_path) -> None:
    """The node has its own mount namespace, in which another disk is mounted on the folder."""
    program = """
import sys
from ocr_ray.cluster.session import ray_session
from ocr_ray.storage.location import locate
with ray_session(**{sys.argv[2]: [locate(sys.argv[1])]}):
    print("entered")
"""
    hidden, seen = tmp_path / "hidden", tmp_path / "seen"
    for folder in (hidden / "below", seen):
        folder.mkdir(parents=True)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    command = f"{Path(sys.executable).parent}/ray start --address={cluster.address} --num-cpus=1 --block"
    start = f"mount -t tmpfs none {hidden} && exec {command}"
    with (tmp_path / "log").open("w") as log:
        node = subprocess.Popen(
            ["unshare", "--map-root-user", "--mount", "sh", "-c", start], stdout=log, stderr=log
        )

    def enter(folder: Path, use: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program, str(folder), use],
            env=os.environ | {"RAY_ADDRESS": cluster.address},
            capture_output=True,
            text=True,
            check=False,
        )

    try:
        wait_for(lambda: "Ray runtime started" in (tmp_path / "log").read_text(), node, tmp_path / "log")
        for use in ("reads", "writes"):
            assert enter(seen, use).stdout == "entered\n"
            refused = enter(hidden / "below", use)
            assert refused.stdout == ""
            assert re.search(
                r"InputError: a local folder must be visible to every node.*hidden", refused.stderr
            )
            assert list(hidden.rglob("*")) == [hidden / "below"]
    finally:
        kill_tree(node.pid)
        cluster.shutdown()

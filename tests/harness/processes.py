"""Starting jobs as a user does, and killing their processes."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from ocr_ray.cli.flags import list_arguments
from ocr_ray.dataset.lines import SPLITS
from ocr_ray.storage.location import list_files, locate, read_bytes, read_json

WAIT_S = 120


def start_job(
    job: str,
    flags: Mapping[str, Any],
    log_path: Path,
    *,
    address: str = "",
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen:
    """Start the driver of a job in a new session; it joins the Ray at `address`, or starts one."""
    command = [sys.executable, "-m", f"jobs.{job}", *list_arguments(flags)]
    with log_path.open("a") as log:
        return subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, **(environment or {}), "RAY_ADDRESS": address},
        )


def kill_tree(pid: int) -> None:
    """Send SIGKILL to a process and its descendants, and wait until they have ended."""
    processes = find_tree(pid)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs(processes, timeout=WAIT_S)
    assert not alive


def terminate_all(processes: list[psutil.Process]) -> None:
    """Send SIGTERM to each process."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()


def assert_all_ended(processes: list[psutil.Process]) -> None:
    """Check that each process has ended or does so within 10 s."""
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive


def kill_gcs(processes: list[psutil.Process]) -> None:
    """Send SIGKILL to the process of a Ray that all others need."""
    (gcs,) = (process for process in processes if process.name() == "gcs_server")
    gcs.kill()


def assert_session_ended(session_id: int) -> None:
    """Check that the processes of a session, whatever their parents are, have ended or do so within 10 s."""
    assert_all_ended([process for process in psutil.process_iter() if _is_in(process, session_id)])


def _is_in(process: psutil.Process, session_id: int) -> bool:
    try:
        return os.getsid(process.pid) == session_id
    except ProcessLookupError:
        return False


def find_tree(pid: int) -> list[psutil.Process]:
    """Return the descendants of a process, and the process itself."""
    process = psutil.Process(pid)
    return [*process.children(recursive=True), process]


def find_working(pids: list[int]) -> list[psutil.Process]:
    """Return the worker processes of raylets that are making a part."""
    working = []
    for process in (process for pid in pids for process in find_tree(pid)):
        try:
            title = " ".join(process.cmdline())
        except psutil.Error:
            continue  # it has just ended
        if title.startswith("ray::") and "make_row" in title:
            working.append(process)
    return working


def wait_for(
    condition: Callable[[], bool], job: subprocess.Popen, log_path: Path, *, timeout_s: float = WAIT_S
) -> None:
    """Wait for a condition while a job runs; fail with its log if the job ends or it takes too long."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert job.poll() is None, log_path.read_text()
        assert time.monotonic() < deadline, log_path.read_text()
        time.sleep(0.01)


def list_parts(out_uri: str) -> list[str]:
    """Return the paths of the existing parts, relative to the dataset."""
    return [path for path in list_files(locate(out_uri)) if is_part(path)]


def is_part(path: str) -> bool:
    return path.split("/")[0] in SPLITS and path.endswith(".parquet")


def assert_same_dataset(out_uri: str, other_uri: str) -> None:
    """Check that two datasets have the same bytes in parts, and the same manifest except for the time."""
    own, other = locate(out_uri), locate(other_uri)
    manifest, other_manifest = (read_json(dataset / "manifest.json") for dataset in (own, other))
    for key in ("parts", "counts", "rejects", "balance", "config"):
        assert manifest[key] == other_manifest[key]
    for part in manifest["parts"]:
        assert read_bytes(own / part["path"]) == read_bytes(other / part["path"])
    assert list_parts(out_uri) == [
        part["path"] for part in sorted(manifest["parts"], key=lambda p: p["path"])
    ]

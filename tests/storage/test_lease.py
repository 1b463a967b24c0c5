"""Leases held by processes of this machine and, as far as the file says, of others."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocr_ray.errors import InputError, ProductionError
from ocr_ray.storage import lease
from ocr_ray.storage.lease import LEASE, hold_lease
from ocr_ray.storage.location import Location, exists, list_files, locate, read_json, write_json

HOLDER = """
import sys, time
from ocr_ray.storage.lease import hold_lease
from ocr_ray.storage.location import locate
with hold_lease(locate(sys.argv[1]), "--run-name"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWAL_S", 0.1)
    monkeypatch.setattr(lease, "EXPIRY_S", 2.0)
    monkeypatch.setattr(lease, "SETTLE_S", 0.05)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease of `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def enter(folder: Location) -> None:
    with hold_lease(folder, "--run-name"):
        raise NotImplementedError


def work_until_taken_over(folder: Location) -> None:
    with hold_lease(folder, "--run-name"):
        leave_lease(folder)
        time.sleep(30)


def leave_lease(folder: Location) -> dict[str, object]:
    """Write a lease as a process of another machine would."""
    content = {
        "token": "x",
        "number": 1,
        "host": "node-7",
        "pid": 1,
        "user": 0,
        "machine": "m",
        "started": "1",
    }
    write_json(folder / LEASE, content)
    return content


def test_a_second_process_is_refused_until_the_first_is_killed(holder, tmp_path: Path) -> None:
    folder = locate(str(tmp_path))
    with pytest.raises(
        InputError, match=rf"--run-name must not be in use .* process {holder.pid} on .* works"
    ):
        enter(folder)
    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # a zombie is left
    started_s = time.monotonic()
    with hold_lease(folder, "--run-name"):
        assert time.monotonic() - started_s < lease.EXPIRY_S
        assert read_json(folder / LEASE)["pid"] == os.getpid()
    assert list_files(folder) == {}


def test_a_lease_of_a_process_that_cannot_be_seen_is_free(tmp_path: Path) -> None:
    """It ended before it could read its own start time."""
    content = lease._describe_process(2**22 + 1)  # beyond the largest process id of Linux
    write_json(locate(str(tmp_path)) / LEASE, {"token": "x", "number": 1, **content})
    with hold_lease(locate(str(tmp_path)), "--run-name"):
        assert read_json(locate(str(tmp_path)) / LEASE)["pid"] == os.getpid()


def test_a_process_refuses_itself(tmp_path: Path) -> None:
    folder = locate(str(tmp_path / "new"))
    with hold_lease(folder, "--run-name"), pytest.raises(InputError, match=f"process {os.getpid()} on"):
        enter(folder)


@pytest.mark.parametrize("content", [None, b'{"pid": "x"', b"[" * 9999])
def test_a_lease_of_another_machine_is_taken_over_when_it_is_not_renewed(
    content: bytes | None, tmp_path: Path
) -> None:
    """Also a damaged one."""
    folder = locate(str(tmp_path))
    if content is None:
        leave_lease(folder)
    else:
        (tmp_path / LEASE).write_bytes(content)
    started_s = time.monotonic()
    with hold_lease(folder, "--run-name"):
        assert lease.EXPIRY_S <= time.monotonic() - started_s < lease.EXPIRY_S + 2.5


def test_a_lease_of_another_machine_that_is_renewed_is_respected(tmp_path: Path) -> None:
    folder = locate(str(tmp_path))
    renewed = leave_lease(folder) | {"number": 2}
    timer = threading.Timer(0.5, write_json, (folder / LEASE, renewed))
    timer.start()
    with pytest.raises(InputError, match=r"process 1 on node-7 works in"):
        enter(folder)
    timer.join()
    assert read_json(folder / LEASE) == renewed


def test_a_process_whose_lease_was_taken_over_stops(tmp_path: Path) -> None:
    """As after a laptop slept: the other process has waited long enough."""
    folder = locate(str(tmp_path))
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        with pytest.raises(ProductionError, match="another process has taken over"):
            work_until_taken_over(folder)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert read_json(folder / LEASE)["host"] == "node-7"


def test_of_two_that_start_together_the_last_writer_holds_the_lease(tmp_path: Path, monkeypatch) -> None:
    folder = locate(str(tmp_path))
    monkeypatch.setattr(lease, "SETTLE_S", 0.5)
    timer = threading.Timer(0.2, leave_lease, (folder,))
    timer.start()
    with pytest.raises(InputError, match="on node-7"):
        enter(folder)
    timer.join()


@pytest.mark.slow
def test_a_lease_on_s3_is_renewed_and_deleted(bucket: str) -> None:
    folder = locate(f"{bucket}/lease")
    with hold_lease(folder, "--models-uri"):
        first = read_json(folder / LEASE)["number"]
        deadline_s = time.monotonic() + 20
        while read_json(folder / LEASE)["number"] == first:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
    assert not exists(folder / LEASE)

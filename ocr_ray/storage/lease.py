"""Leases: one process at a time works in a folder, on a disk or on S3.

A lease is a small file in the folder. Its holder writes it again every few seconds, each time with another
number. Another process takes over a lease at once if its holder ran on this machine and has ended, and else
when the file has not changed for `EXPIRY_S`, measured with its own clock. No two clocks are compared.
"""

import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ocr_ray.errors import InputError, ProductionError, StorageError
from ocr_ray.storage.location import Location, delete_file, preflight, read_json, write_json

log = logging.getLogger(__name__)

LEASE = ".lease.json"
RENEWAL_S = 5.0
EXPIRY_S = 40.0
"""How long a lease of another machine that is not renewed is respected."""
SETTLE_S = 0.5
"""Two processes that find no lease at the same time both write one; after this time the last one holds it."""


@contextmanager
def hold_lease(folder: Location, flag: str) -> Iterator[None]:
    """Hold the lease of a folder during the body, which must run in the main thread.

    Raises:
        InputError: another process holds it, or took it at the same time.
        ProductionError: another process has taken it over, as it may when this one could not renew it.
    """
    with preflight(folder, flag, "written") as checked:
        _wait_until_free(checked / LEASE, folder, flag)
        lease = _Lease(folder / LEASE)
        lease.write()
        time.sleep(SETTLE_S)
        if lease.is_taken():
            raise InputError(_describe_holder(_read(checked / LEASE), folder, flag))
    lease.start()
    try:
        yield
    except SystemExit:
        if lease.is_lost:
            raise ProductionError(f"another process has taken over {folder}, this one stops") from None
        raise
    finally:
        lease.release()


class _Lease:
    """A lease that this process holds, renewed in a thread."""

    def __init__(self, file: Location) -> None:
        self.is_lost = False
        self._file, self._token, self._number = file, uuid.uuid4().hex, 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def write(self) -> None:
        self._number += 1
        holder = {"token": self._token, "number": self._number, **_describe_process(os.getpid())}
        write_json(self._file, holder)

    def is_taken(self) -> bool:
        """Return whether the file holds the lease of another process."""
        holder = _read(self._file)
        return holder is not None and holder.get("token") != self._token

    def release(self) -> None:
        """End the thread and delete the file, unless another process holds it."""
        self._ended.set()
        self._thread.join()  # or else a renewal could write the file again after it is deleted
        with suppress(OSError, StorageError):
            if not self.is_lost:
                delete_file(self._file)

    def _renew(self) -> None:
        while not self._ended.wait(RENEWAL_S):
            try:
                if self.is_taken():
                    self.is_lost = True
                    break
                self.write()
            except (OSError, StorageError) as error:
                log.warning("%s could not be renewed, will try again: %s", self._file, error)
        if self.is_lost:
            self._stop_process()

    def _stop_process(self) -> None:
        """End the main thread with SIGTERM; the second one also ends a job that would still save its work."""
        log.error("another process has taken over %s", self._file)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            if self._ended.wait(1):
                return


def _wait_until_free(file: Location, folder: Location, flag: str) -> None:
    """Return when nobody holds the lease; InputError if it is renewed."""
    holder = _read(file)
    if holder is None or (is_alive := _is_alive(holder)) is False:
        return
    if is_alive:
        raise InputError(_describe_holder(holder, folder, flag))
    log.warning("%s: waiting %.0f s to see whether its last user still runs", folder, EXPIRY_S)
    deadline_s = time.monotonic() + EXPIRY_S
    while time.monotonic() < deadline_s:
        time.sleep(1)
        now = _read(file)
        if now is None:
            return
        if now != holder:
            raise InputError(_describe_holder(now, folder, flag))


def _read(file: Location) -> dict[str, Any] | None:
    """Return the values of a lease, empty if it is damaged; None if there is none."""
    try:
        values = read_json(file)
    except FileNotFoundError:
        return None
    except InputError:
        return {}
    return values if isinstance(values, dict) else {}


def _describe_holder(holder: dict[str, Any] | None, folder: Location, flag: str) -> str:
    holder = holder or {}
    return (
        f"{flag} must not be in use by another job, process {holder.get('pid', '?')} on "
        f"{holder.get('host', '?')} works in {folder}; wait until it ends, stop it, or choose another {flag}"
    )


def _is_alive(holder: dict[str, Any]) -> bool | None:
    """Return whether a process of this machine runs; None for another machine, where it cannot be seen."""
    own = _describe_process(os.getpid())
    if not own["machine"] or any(holder.get(key) != own[key] for key in ("machine", "user")):
        return None
    started = _describe_process(holder.get("pid"))["started"]
    return bool(started) and started == holder.get("started")


def _describe_process(pid: object) -> dict[str, Any]:
    """Return what identifies a process on Linux; elsewhere `machine` is empty.

    `machine` is the boot and the namespace of process ids, which containers of one host do not share.
    `started` is empty if the process has ended; a process id can be given again.
    """
    machine = started = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        machine = f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    with suppress(OSError):
        # The name in parentheses can hold anything; state and start time are the 3rd and the 22nd value.
        values = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        started = "" if values[0] in (b"Z", b"X") else values[19].decode()
    host = socket.gethostname()
    return {"host": host, "pid": pid, "user": os.getuid(), "machine": machine, "started": started}

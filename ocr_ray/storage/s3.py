"""S3 through pyarrow, and its retries.

Temporary faults of S3 (5xx, SlowDown, a connection that is cut, refused, or silent for 20 s) are retried up
to 12 times, after 25, 50, 100 … ms: if S3 is unavailable for 100 s, jobs wait and none fails. Before any work
there are up to 9 retries, 13 s. Requests that S3 refuses (denied, expired, no such bucket) fail immediately.

Endpoint, region and checksums are read here (`find_settings`) and given to pyarrow, because its
`S3FileSystem()` ignores a configured endpoint (arrow#49643), and because a pickled filesystem then keeps them
on worker nodes, where no variable or file may name them.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from ocr_ray.storage.endpoint import CHECKSUMS, WHEN_REQUIRED, find_settings

NUM_RETRIES, NUM_RETRIES_AT_START, NUM_RETRIES_IF_BRIEF = 12, 9, 1
NUM_READ_RETRIES = 7
"""Retries, over 3 s, of reads whose error does not show whether S3 is busy or refuses."""
_TOO_LONG = "Failed to flush response stream"
_ENVIRONMENT = threading.Lock()


class RetryingS3(pafs.S3FileSystem):  # type: ignore[misc]
    """S3 that keeps its retries when pickled, pyarrow's own then has only three attempts; and its checksums.

    `checksums` is `when_supported` or `when_required`.
    """

    def __init__(self, *, checksums: str, **options: Any) -> None:
        with _set_variable(CHECKSUMS, checksums):
            super().__init__(**options)
        self._checksums = checksums

    def __reduce__(self) -> tuple[Any, ...]:
        _, (options,) = super().__reduce__()
        return _restore, (options, self._checksums)

    def at_start(self) -> "RetryingS3":
        """Return this S3 with fewer retries and pyarrow's timeouts, for checks before any work."""
        return self._change(NUM_RETRIES_AT_START, connect_timeout=-1.0, request_timeout=-1.0)

    def briefly(self) -> "RetryingS3":
        """Return this S3 with one retry and short timeouts."""
        return self._change(NUM_RETRIES_IF_BRIEF, connect_timeout=2.0, request_timeout=4.0)

    def _change(self, num_retries: int, **timeouts: float) -> "RetryingS3":
        _, (options,) = super().__reduce__()
        return _restore(options | timeouts, self._checksums, num_retries)

    def delete_dir(self, path: str) -> None:
        """Delete a folder and its files.

        Without checksums one by one: pyarrow sends a CRC-64 with a request that deletes several.
        """
        if self._checksums == WHEN_REQUIRED:
            for info in self.get_file_info(pafs.FileSelector(path)):
                delete = self.delete_file if info.is_file else self.delete_dir
                delete(info.path)
        super().delete_dir(path)


def _restore(options: dict[str, Any], checksums: str, num_retries: int = NUM_RETRIES) -> RetryingS3:
    retry_strategy = pafs.AwsDefaultS3RetryStrategy(max_attempts=num_retries)
    return RetryingS3(checksums=checksums, retry_strategy=retry_strategy, **options)


@contextmanager
def _set_variable(name: str, value: str) -> Iterator[None]:
    """Set an environment variable while a filesystem is made: pyarrow has no argument for it."""
    with _ENVIRONMENT:
        old = os.environ.get(name)
        os.environ[name] = value
        try:
            yield
        finally:
            if old is None:
                del os.environ[name]
            else:
                os.environ[name] = old


def s3_filesystem() -> RetryingS3:
    """Return S3 as configured in environment and files.

    pyarrow's standard retry strategy has a quota that is never refilled: after a hundred retries a process
    fails at the first fault. Files below 10 MB are sent in one request, which is safe to repeat.

    Raises:
        InputError: a setting is not valid.
    """
    settings = find_settings()
    options: dict[str, Any] = {
        "allow_delayed_open": True,
        "connect_timeout": 5.0,
        "request_timeout": 20.0,
    }
    if settings.address:
        options |= {"endpoint_override": settings.address, "scheme": settings.scheme}
    if settings.region:
        options["region"] = settings.region
    return _restore(options, settings.checksums)


def open_input(filesystem: pafs.FileSystem, path: str) -> pa.NativeFile:
    """Return a file open for reading; on S3 with retries of short reads."""
    file = filesystem.open_input_file(path)
    return pa.PythonFile(_RetryingFile(file), mode="r") if isinstance(filesystem, pafs.S3FileSystem) else file


class _RetryingFile:
    """Reads an object with retries of short reads, which pyarrow itself does not repeat.

    If the error response of S3 is longer than the requested bytes, pyarrow fails without reporting its code.
    """

    def __init__(self, file: pa.NativeFile) -> None:
        self._file = file
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    @property
    def closed(self) -> bool:
        return bool(self._file.closed)

    def read_buffer(self, num_bytes: int) -> pa.Buffer:
        """Return the next bytes; without this method pyarrow would call `read`, which copies them."""
        position = self._file.tell()
        for attempt in range(NUM_READ_RETRIES):
            try:
                return self._file.read_buffer(num_bytes)
            except OSError as error:
                if _TOO_LONG not in str(error):
                    raise
            time.sleep(0.025 * 2**attempt)
            self._file.seek(position)
        return self._file.read_buffer(num_bytes)

    def read(self, num_bytes: int = -1) -> bytes:
        return bytes(self.read_buffer(num_bytes))

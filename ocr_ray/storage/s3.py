"""S3 through pyarrow, and its retries.

Temporary faults of S3 (5xx, SlowDown, a connection that is cut, refused, or silent for 20 s) are retried up
to 12 times, after 25, 50, 100 … ms: if S3 is unavailable for 100 s, jobs wait and none fails. Before any work
there are up to 9 retries, 13 s. Requests that S3 refuses (denied, expired, no such bucket) fail immediately.

`AWS_ENDPOINT_URL` is read here and passed explicitly, because pyarrow's `S3FileSystem()` ignores it
(arrow#49643), and because a pickled filesystem then keeps it on worker nodes, where the variable is not set.
"""

import os
import time
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from ocr_ray.errors import InputError

NUM_RETRIES, NUM_RETRIES_AT_START, NUM_RETRIES_IF_BRIEF = 12, 9, 1
NUM_READ_RETRIES = 7
"""Retries, over 3 s, of reads whose error does not show whether S3 is busy or refuses."""
_TOO_LONG = "Failed to flush response stream"


class RetryingS3(pafs.S3FileSystem):  # type: ignore[misc]
    """S3 that keeps its retries when pickled; pyarrow's own then has only three attempts."""

    def __reduce__(self) -> tuple[Any, ...]:
        _, (options,) = super().__reduce__()
        return _restore, (options,)


def _restore(options: dict[str, Any]) -> RetryingS3:
    return RetryingS3(**options, retry_strategy=pafs.AwsDefaultS3RetryStrategy(max_attempts=NUM_RETRIES))


def s3_filesystem(*, at_start: bool = False, is_brief: bool = False) -> RetryingS3:
    """Return S3 as configured in the environment; `at_start` with fewer retries, `is_brief` with one.

    pyarrow's standard retry strategy has a quota that is never refilled: after a hundred retries a process
    fails at the first fault. Files below 10 MB are sent in one request, which is safe to repeat.

    Raises:
        InputError: the endpoint is not a URL.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    num_retries = NUM_RETRIES_AT_START if at_start else NUM_RETRIES
    options: dict[str, Any] = {
        "retry_strategy": pafs.AwsDefaultS3RetryStrategy(max_attempts=num_retries),
        "allow_delayed_open": True,
    }
    if not at_start:
        options |= {"connect_timeout": 5.0, "request_timeout": 20.0}
    if is_brief:
        retry_strategy = pafs.AwsDefaultS3RetryStrategy(max_attempts=NUM_RETRIES_IF_BRIEF)
        options |= {"retry_strategy": retry_strategy, "connect_timeout": 2.0, "request_timeout": 4.0}
    if endpoint:
        parts = urlsplit(endpoint)
        if "@" in endpoint:
            raise InputError(
                "AWS_ENDPOINT_URL must not contain a user and password, keys have their own variables"
            )
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise InputError(f"AWS_ENDPOINT_URL must be http://host:port or https://…, got {endpoint!r}")
        options |= {"endpoint_override": parts.netloc, "scheme": parts.scheme}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return RetryingS3(**options, **({"region": region} if region else {}))


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

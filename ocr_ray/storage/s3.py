"""S3 as pyarrow reaches it, and how long it is asked again.

What S3 cannot do just now (5xx, SlowDown, a connection that is cut, refused, or silent for 20 s) is asked for
again, up to 12 times, after 25, 50, 100 … ms: an S3 that is away for 100 s holds jobs up and fails none.
Before any work it is asked up to 9 times, 13 s. What it refuses (denied, expired, no such bucket) is told at
once.

`AWS_ENDPOINT_URL` is read here and handed over explicitly, because pyarrow's `S3FileSystem()` ignores it
(arrow#49643) and because a pickled filesystem then keeps it on worker nodes, where the variable is not set.
"""

import os
import time
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from ocr_ray.errors import InputError

NUM_RETRIES, NUM_RETRIES_AT_START = 12, 9
NUM_RETRIES_UNTOLD = 7
"""Where it cannot be seen whether S3 is busy or refuses: 3 s."""
_TOO_LONG = "Failed to flush response stream"


class PatientS3(pafs.S3FileSystem):  # type: ignore[misc]
    """S3 that is as patient where it was sent to: pyarrow's own comes out of a pickle with three attempts."""

    def __reduce__(self) -> tuple[Any, ...]:
        _, (options,) = super().__reduce__()
        return _restore, (options,)


def _restore(options: dict[str, Any]) -> PatientS3:
    return PatientS3(**options, retry_strategy=pafs.AwsDefaultS3RetryStrategy(max_attempts=NUM_RETRIES))


def s3_filesystem(*, at_start: bool = False) -> PatientS3:
    """Return S3 as the environment names it; `at_start` it gives up sooner.

    pyarrow's standard strategy has a quota of retries that it never gives back: after a hundred of them a
    process fails at the first fault. Files below 10 MB are sent in one request, which may be done twice.

    Raises:
        InputError: the endpoint is no URL.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    num_retries = NUM_RETRIES_AT_START if at_start else NUM_RETRIES
    options: dict[str, Any] = {
        "retry_strategy": pafs.AwsDefaultS3RetryStrategy(max_attempts=num_retries),
        "allow_delayed_open": True,
    }
    if not at_start:
        options |= {"connect_timeout": 5.0, "request_timeout": 20.0}
    if endpoint:
        parts = urlsplit(endpoint)
        if "@" in endpoint:
            raise InputError("AWS_ENDPOINT_URL must hold no user and password, keys have their own variables")
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise InputError(f"AWS_ENDPOINT_URL must be http://host:port or https://…, got {endpoint!r}")
        options |= {"endpoint_override": parts.netloc, "scheme": parts.scheme}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return PatientS3(**options, **({"region": region} if region else {}))


def open_input(filesystem: pafs.FileSystem, path: str) -> pa.NativeFile:
    """Return an open file; on S3 one of which small pieces are asked for again too."""
    file = filesystem.open_input_file(path)
    return pa.PythonFile(_Patient(file), mode="r") if isinstance(filesystem, pafs.S3FileSystem) else file


class _Patient:
    """Reads an object, and again where pyarrow gives up at once.

    That is where what S3 answers instead is longer than the bytes that were asked for: pyarrow then does not
    say what it was.
    """

    def __init__(self, file: pa.NativeFile) -> None:
        self._file = file
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    @property
    def closed(self) -> bool:
        return bool(self._file.closed)

    def read_buffer(self, num_bytes: int) -> pa.Buffer:
        """Return the next bytes; without it pyarrow would call `read`, which copies them."""
        at = self._file.tell()
        for attempt in range(NUM_RETRIES_UNTOLD):
            try:
                return self._file.read_buffer(num_bytes)
            except OSError as error:
                if _TOO_LONG not in str(error):
                    raise
            time.sleep(0.025 * 2**attempt)
            self._file.seek(at)
        return self._file.read_buffer(num_bytes)

    def read(self, num_bytes: int = -1) -> bytes:
        return bytes(self.read_buffer(num_bytes))

"""Where things are: local paths and `s3://` URIs behind one pyarrow filesystem, for everyone."""

import json
import logging
import os
import re
import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from ocr_ray.errors import InputError, StorageError
from ocr_ray.storage.error_messages import describe_storage_error
from ocr_ray.storage.s3 import open_input, s3_filesystem

log = logging.getLogger(__name__)

SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""What `ray job submit` sets in the driver of a job, which runs in a temporary copy of the code."""
SLOW_S = 5.0
PROBE, PROBE_BYTES = ".probe-", 4096


@dataclass(frozen=True, slots=True)
class Location:
    """A file or folder on a filesystem; `path` has no scheme and no slash at its end."""

    filesystem: pafs.FileSystem
    path: str

    @property
    def is_local(self) -> bool:
        return isinstance(self.filesystem, pafs.LocalFileSystem)

    @property
    def uri(self) -> str:
        """The absolute local path, or the `s3://` URI."""
        return self.path if self.is_local else f"s3://{self.path}"

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    def __truediv__(self, name: str) -> "Location":
        return Location(self.filesystem, f"{self.path}/{name}")

    def __str__(self) -> str:
        return self.uri


def locate(uri: str) -> Location:
    """Return where `uri`, a local path or `s3://bucket/key`, is.

    Raises:
        InputError: another scheme, no bucket, or a relative path in a job that was submitted.
    """
    scheme = urlsplit(uri).scheme if "://" in uri else ""
    if scheme == "s3":
        path = uri.removeprefix("s3://").strip("/")
        if {":", "@"} & set(path.split("/")[0]):
            raise InputError("an s3:// URI must hold no keys, they are read from the environment or a role")
        if not path or "//" in path:
            raise InputError(f"an s3:// URI must be s3://bucket/key without empty names, got {uri!r}")
        return Location(s3_filesystem(), path)
    if scheme not in ("", "file") or not uri:
        raise InputError(f"a URI must be a local path or s3://bucket/key, got {uri!r}")
    local = Path(uri.removeprefix("file://")).expanduser()
    if SUBMITTED in os.environ and not local.is_absolute():
        raise InputError(
            "a local path must begin with / in a submitted job, whose own folder Ray throws away, got "
            f"{uri!r}; use an absolute path or s3://bucket/key"
        )
    return Location(pafs.LocalFileSystem(), str(local.resolve()))


def locate_model(source: str) -> Location | str:
    """Return where a model is: its folder, local or on S3, or the hub id itself.

    Raises:
        InputError: it is none of these.
    """
    if "://" in source or Path(source).expanduser().is_dir():
        return locate(source)
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", source):
        raise InputError(f"a model must be an existing folder, s3://bucket/key or a hub id, got {source!r}")
    return source


def exists(location: Location) -> bool:
    """Return whether there is a file, or a folder with something in it."""
    with translate_errors(location):
        return bool(location.filesystem.get_file_info(location.path).type != pafs.FileType.NotFound)


def list_files(location: Location, *, recursive: bool = True) -> dict[str, int]:
    """Return the size in bytes of each file below a folder by its relative path, sorted."""
    selector = pafs.FileSelector(location.path, recursive=recursive, allow_not_found=True)
    with translate_errors(location):
        infos = location.filesystem.get_file_info(selector)
    prefix = len(location.path) + 1
    return dict(sorted((info.path[prefix:], info.size) for info in infos if info.type == pafs.FileType.File))


def check_reachable(location: Location, flag: str) -> None:
    """Check that a place can be asked for and that its bucket is there.

    Raises:
        InputError: it cannot, the bucket is missing, or a file stands where a folder must be.
    """
    with preflight(location, flag, "read") as place, warn_if_slow(location):
        if not place.is_local:
            bucket = place.path.split("/", 1)[0]
            if place.filesystem.get_file_info(bucket).type == pafs.FileType.NotFound:
                raise InputError(f"{flag} must lie in a bucket that exists, there is no s3://{bucket}")
        if place.filesystem.get_file_info(place.path).type == pafs.FileType.File:
            raise InputError(f"{flag} must be a folder, {place} is a file")


def check_writable(location: Location, flag: str) -> None:
    """Check that a folder, which need not be there, can be asked for and written; a probe comes and goes.

    Raises:
        InputError: it cannot.
    """
    check_reachable(location, flag)
    with preflight(location, flag, "written") as place, warn_if_slow(location):
        if place.is_local:
            path = Path(place.path)
            folder = next(folder for folder in (path, *path.parents) if folder.exists())
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(bytes(PROBE_BYTES))
        else:
            name = place / f"{PROBE}{uuid.uuid4().hex}"
            write_bytes(name, b"")
            delete_file(name)


@contextmanager
def preflight(location: Location, flag: str, done: str = "read") -> Iterator[Location]:
    """Give a place, with less patience, to be asked for before any work; what it refuses is an InputError."""
    try:
        yield location if location.is_local else Location(s3_filesystem(at_start=True), location.path)
    except (StorageError, OSError) as error:
        told = describe_storage_error(error, location.uri) or str(error)
        raise InputError(f"{flag} must be a place that can be {done}: {told}") from error


@contextmanager
def warn_if_slow(location: Location, *, after_s: float = SLOW_S) -> Iterator[None]:
    """Warn if what is done meanwhile takes long, as it does where S3 is away."""
    timer = threading.Timer(after_s, log.warning, ("%s has not answered for %.0f s", location, after_s))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def require_folder(uri: str, flag: str) -> Location:
    """Return where a folder that must exist is.

    Raises:
        InputError: it does not; the message names `flag` and the place.
    """
    location = locate(uri)
    check_reachable(location, flag)
    if location.filesystem.get_file_info(location.path).type != pafs.FileType.Directory:
        raise InputError(f"{flag} must name an existing folder, got {uri!r} (looked at {location})")
    return location


def require_file(uri: str, flag: str) -> Location:
    """Return where a file that must exist is.

    Raises:
        InputError: it does not, or is a folder; the message names `flag` and the place.
    """
    location = locate(uri)
    with preflight(location, flag) as place:
        is_file = place.filesystem.get_file_info(place.path).type == pafs.FileType.File
    if not is_file:
        raise InputError(f"{flag} must name an existing file, got {uri!r} (looked at {location})")
    return location


@contextmanager
def translate_errors(location: Location) -> Iterator[None]:
    """Raise what S3 or a disk refuses as what it is; a file that is missing or damaged is none of it."""
    try:
        yield
    except OSError as error:
        if told := describe_storage_error(error, location.uri):
            raise StorageError(told) from error
        raise


@contextmanager
def open_file(location: Location) -> Iterator[pa.NativeFile]:
    """Give a file to read from.

    Raises:
        FileNotFoundError: it is not there.
        StorageError: it cannot be opened, or read while it is open.
    """
    with translate_errors(location), open_input(location.filesystem, location.path) as file:
        yield file


def delete_file(location: Location) -> None:
    """Delete a file; it may be gone already."""
    with translate_errors(location), suppress(FileNotFoundError):
        location.filesystem.delete_file(location.path)


def read_bytes(location: Location) -> bytes:
    """Return the content of a file."""
    with open_file(location) as file:
        return bytes(file.read())


def write_bytes(location: Location, content: bytes | memoryview) -> None:
    """Write a file whole or not at all: through a rename on a local disk, as one object on S3."""
    with translate_errors(location):
        if location.is_local:
            _write_local(Path(location.path), content)
            return
        try:
            _upload(location, content)
        except OSError as error:
            # The answer to the end of an upload was lost; what is asked again is told that it has ended.
            if "NO_SUCH_UPLOAD" not in str(error):
                raise
            _upload(location, content)


def _upload(location: Location, content: bytes | memoryview) -> None:
    with location.filesystem.open_output_stream(location.path) as stream:
        stream.write(content)


def _write_local(path: Path, content: bytes | memoryview) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: processes of several machines may write the same file to a shared disk.
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)  # on a full disk it would stand in the way


def read_json(location: Location) -> Any:
    """Return the parsed content of a JSON file.

    Raises:
        InputError: it is not JSON.
    """
    try:
        return json.loads(read_bytes(location))
    except ValueError as error:
        raise InputError(f"{location} must hold JSON: {error}") from error


def write_json(location: Location, value: Any) -> None:
    """Write a value as indented JSON, as `write_bytes` does."""
    write_bytes(location, (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode())


def copy_files(source: Location, destination: Location, names: list[str]) -> None:
    """Copy files of one folder into another, byte for byte, in the order of `names`."""
    for name in names:
        write_bytes(destination / name, read_bytes(source / name))


@contextmanager
def local_copy(location: Location) -> Iterator[Path]:
    """Give a folder as a local path: itself if it is local, else a temporary copy of its files."""
    if location.is_local:
        yield Path(location.path)
        return
    folder = Path(tempfile.mkdtemp(prefix="ocr_ray-"))
    try:
        for name in list_files(location):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(read_bytes(location / name))
        yield folder
    finally:
        shutil.rmtree(folder)

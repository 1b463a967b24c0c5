"""Locations: local paths and `s3://` URIs, both through pyarrow filesystems."""

import logging
import re
import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import pyarrow as pa
import pyarrow.fs as pafs

from ocr_ray.errors import InputError, ProductionError, StorageError
from ocr_ray.storage.error_messages import describe_storage_error
from ocr_ray.storage.s3 import RetryingS3, open_input, s3_filesystem
from ocr_ray.storage.strict_json import parse_json, to_json
from ocr_ray.storage.uri import BASE_MODEL, check_no_secret, parse_uri

log = logging.getLogger(__name__)

HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
SLOW_S = 5.0
PROBE, PROBE_BYTES = ".probe-", 4096


@dataclass(frozen=True, slots=True)
class Location:
    """A file or folder on a filesystem; `path` has no scheme and no trailing slash."""

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


def locate(uri: str, flag: str = "a URI") -> Location:
    """Return the location of a local path, `file:///path` or `s3://bucket/key`; `flag` is for messages.

    Raises:
        InputError: another scheme, no bucket, keys, or a relative path in a submitted job.
    """
    scheme, path = parse_uri(uri, flag)
    return Location(s3_filesystem() if scheme == "s3" else pafs.LocalFileSystem(), path)


def locate_model(source: str, flag: str = "a model") -> Location | str:
    """Return the location of a model folder, or a hub id or `BASE_MODEL` unchanged.

    Raises:
        InputError: the source is neither a folder nor a valid hub id.
    """
    check_no_secret(source, flag)
    if source == BASE_MODEL:  # each node has it in its own package
        return source
    if len(source) < 200 and HUB_ID.fullmatch(source) and not Path(source).is_dir():
        return source
    location = locate(source, flag)
    if location.is_local and not Path(location.path).is_dir():
        raise InputError(f"{flag} must be an existing folder, s3://bucket/key or a hub id, got {source!r}")
    return location


def exists(location: Location) -> bool:
    """Return whether a file or folder exists; a folder on S3 exists if it is not empty."""
    with translate_errors(location):
        return bool(location.filesystem.get_file_info(location.path).type != pafs.FileType.NotFound)


def list_files(location: Location, *, recursive: bool = True) -> dict[str, int]:
    """Return the size in bytes of each file in a folder by its relative path, sorted."""
    selector = pafs.FileSelector(location.path, recursive=recursive, allow_not_found=True)
    with translate_errors(location):
        infos = location.filesystem.get_file_info(selector)
    prefix = len(location.path) + 1
    return dict(sorted((info.path[prefix:], info.size) for info in infos if info.type == pafs.FileType.File))


def check_reachable(location: Location, flag: str) -> None:
    """Check that a location can be read, that its bucket exists and that it is not a file.

    Raises:
        InputError: one of the checks fails.
    """
    with preflight(location, flag, "read") as folder, warn_if_slow(location):
        if not folder.is_local:
            bucket = folder.path.split("/", 1)[0]
            if folder.filesystem.get_file_info(bucket).type == pafs.FileType.NotFound:
                raise InputError(f"{flag} must be in an existing bucket, s3://{bucket} does not exist")
        kind = folder.filesystem.get_file_info(folder.path).type
        if kind not in (pafs.FileType.Directory, pafs.FileType.NotFound):
            raise InputError(f"{flag} must be a folder, {folder} is a file")


def check_writable(location: Location, flag: str) -> None:
    """Check that a folder, which need not exist, can be written, by writing and deleting a probe.

    Raises:
        InputError: it cannot be written.
    """
    check_reachable(location, flag)
    with preflight(location, flag, "written") as folder, warn_if_slow(location):
        if folder.is_local:
            path = Path(folder.path)
            existing = next(parent for parent in (path, *path.parents) if parent.exists())
            with tempfile.TemporaryFile(dir=existing) as file:
                file.write(bytes(PROBE_BYTES))
        else:
            probe = folder / f"{PROBE}{uuid.uuid4().hex}"
            write_bytes(probe, bytes(PROBE_BYTES))  # S3 gets checksums of other kinds for an empty file
            delete_file(probe)


@contextmanager
def preflight(location: Location, flag: str, verb: str = "read") -> Iterator[Location]:
    """A copy of the location with fewer retries, for checks before any work; failures are InputErrors."""
    try:
        filesystem = location.filesystem
        yield Location(filesystem.at_start(), location.path) if _is_s3(filesystem) else location
    except (StorageError, OSError) as error:
        message = describe_storage_error(error, location.uri) or str(error)
        raise InputError(f"{flag} must be a location that can be {verb}: {message}") from error


def try_briefly(location: Location) -> Location:
    """Return a copy of the location that gives up within seconds, for what a job can do without."""
    filesystem = location.filesystem
    return Location(filesystem.briefly(), location.path) if _is_s3(filesystem) else location


def _is_s3(filesystem: pafs.FileSystem) -> TypeGuard[RetryingS3]:
    return isinstance(filesystem, RetryingS3)


@contextmanager
def warn_if_slow(location: Location, *, after_s: float = SLOW_S) -> Iterator[None]:
    """Warn if the body takes long, as it does when S3 is unavailable."""
    timer = threading.Timer(after_s, log.warning, ("%s has not answered for %.0f s", location, after_s))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def require_folder(uri: str, flag: str) -> Location:
    """Return the location of an existing folder.

    Raises:
        InputError: it does not exist; the message names flag and location.
    """
    location = locate(uri, flag)
    check_reachable(location, flag)
    if not exists(location):
        raise InputError(f"{flag} must name an existing folder, got {uri!r} (checked {location})")
    return location


def require_file(uri: str, flag: str) -> Location:
    """Return the location of an existing file.

    Raises:
        InputError: it does not exist or is a folder; the message names flag and location.
    """
    location = locate(uri, flag)
    with preflight(location, flag) as file:
        is_file = file.filesystem.get_file_info(file.path).type == pafs.FileType.File
    if not is_file:
        raise InputError(f"{flag} must name an existing file, got {uri!r} (checked {location})")
    return location


@contextmanager
def translate_errors(location: Location) -> Iterator[None]:
    """Raise StorageError if S3 or a disk refuses a request; missing or damaged files keep their errors."""
    try:
        yield
    except OSError as error:
        if message := describe_storage_error(error, location.uri):
            raise StorageError(message) from error
        raise


@contextmanager
def open_file(location: Location) -> Iterator[pa.NativeFile]:
    """Open a file for reading.

    Raises:
        FileNotFoundError: it does not exist.
        StorageError: it cannot be opened or read.
    """
    with translate_errors(location), open_input(location.filesystem, location.path) as file:
        yield file


def delete_file(location: Location) -> None:
    """Delete a file if it exists."""
    with translate_errors(location), suppress(FileNotFoundError):
        location.filesystem.delete_file(location.path)


def read_bytes(location: Location) -> bytes:
    """Return the content of a file."""
    with open_file(location) as file:
        return bytes(file.read())


def write_bytes(location: Location, content: bytes | memoryview) -> None:
    """Write a file atomically: by renaming it on a local disk, as one object on S3."""
    with translate_errors(location):
        if location.is_local:
            _write_local(Path(location.path), content)
            return
        try:
            _upload(location, content)
        except OSError as error:
            # The response to the end of an upload was lost, and the repeated request finds that it has ended.
            if "NO_SUCH_UPLOAD" not in str(error):
                raise
            _upload(location, content)


def _upload(location: Location, content: bytes | memoryview) -> None:
    with location.filesystem.open_output_stream(location.path) as stream:
        stream.write(content)


def _write_local(path: Path, content: bytes | memoryview) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A unique name, because several machines can write the same file to a shared disk; of its own, because
    # that of the file can be as long as the file system allows.
    partial = path.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)  # it would take space on a full disk


def read_json(location: Location) -> Any:
    """Return the parsed content of a JSON file.

    Raises:
        InputError: the file is not strict JSON, see `strict_json`.
    """
    try:
        return parse_json(read_bytes(location))
    except ValueError as error:
        raise InputError(f"{location} must hold JSON: {error}") from error


def write_json(location: Location, value: Any) -> None:
    """Write a value as indented JSON, atomically.

    Raises:
        ProductionError: it holds NaN or Infinity.
    """
    try:
        text = to_json(value, indent=2)
    except ValueError as error:
        raise ProductionError(f"{location} cannot be written: {error}") from error
    write_bytes(location, f"{text}\n".encode())


def copy_files(source: Location, destination: Location, names: list[str]) -> None:
    """Copy files of one folder to another, in the order of `names`."""
    for name in names:
        write_bytes(destination / name, read_bytes(source / name))


@contextmanager
def local_copy(location: Location) -> Iterator[Path]:
    """The local path of a folder: itself if it is local, else a temporary copy of its files."""
    if location.is_local:
        yield Path(location.path)
        return
    folder = Path(tempfile.mkdtemp(prefix="ocr_ray-"))
    try:
        copy_files(location, Location(pafs.LocalFileSystem(), str(folder)), list(list_files(location)))
        yield folder
    finally:
        shutil.rmtree(folder)

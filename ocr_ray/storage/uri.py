"""URIs as users write them: local paths, `file://` and `s3://`, and the secrets that must not be in one."""

import errno
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ocr_ray.errors import InputError

SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set in the driver of a submitted job, which runs in a temporary copy of the code."""
BASE_MODEL = "base"
"""Stands for the small model that comes with the package. A folder of that name is `./base`."""
FORMS = "a local path or s3://bucket/key"
MAX_KEY_BYTES, MAX_NAME_BYTES = 1024, 255
_SCHEME = re.compile(r"(s3|file|[a-z][a-z0-9+.-]+(?=:/)):", re.I)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_OPTION = re.compile(r"\?[\w.%-]+=")
_SECRETS = (
    # `://user:password@` or `:/user:password@`, also with slashes in the password.
    re.compile(r"(:/+)(?:[^/?#\s@]*:\S*|[^/?#\s]*)(?=@)"),
    # `?secret_key=…`, `&X-Amz-Signature=…`, `#token=…`
    re.compile(
        r"(?<=[?&#;])((?:[\w.%-]*(?:key|secret|token|passw|pwd|credential|signature|auth)[\w.%-]*|sig)=)"
        r"[^&#;\s'\"]+",
        re.I,
    ),
    # Key ids of AWS and tokens of the Hugging Face hub
    re.compile(r"\b(?:(?:AKIA|ASIA)[A-Z0-9]{12,}|hf_[A-Za-z0-9]{20,})"),
)
_IMPASSABLE = {
    errno.ENAMETOOLONG: f"with names of at most {MAX_NAME_BYTES} bytes, below 4,096 in total",
    errno.ENOTDIR: "in folders",
    errno.ELOOP: "without symbolic links that go in a circle",
}


def mask_secrets(text: str) -> str:
    """Return a text in which `***` replaces the user, password, keys and tokens of every URI."""
    for pattern in _SECRETS:
        text = pattern.sub(lambda match: f"{match[1] if match.lastindex else ''}***", text)
    return text


def mask_values(value: Any) -> Any:
    """Return a JSON value with `mask_secrets` applied to all of its strings."""
    if isinstance(value, str):
        return mask_secrets(value)
    if isinstance(value, dict):
        return {mask_values(key): mask_values(item) for key, item in value.items()}
    return [mask_values(item) for item in value] if isinstance(value, list | tuple) else value


def has_secret(uri: str) -> bool:
    """Return whether a URI contains what looks like a user, password, key or token."""
    return any(mask_secrets(text) != text for text in (uri, unquote(uri)))


def check_no_secret(uri: str, name: str) -> None:
    """Check that a URI contains no keys; `name` is the flag or file that it comes from.

    Raises:
        InputError: it does; the message does not show it.
    """
    if has_secret(uri):
        raise InputError(
            f"{name} must not contain keys, tokens or passwords: S3 reads them from the environment, "
            "~/.aws/credentials or a role, the Hugging Face hub from HF_TOKEN"
        )


def check_name(name: str, flag: str) -> None:
    """Check that a text can be the name of a file or folder, on a disk and on S3.

    Raises:
        InputError: it cannot.
    """
    is_long = len(name.encode(errors="replace")) > MAX_NAME_BYTES
    if not name.isprintable() or is_long or "/" in name or name in ("", ".", ".."):
        raise InputError(
            f"{flag} must be a name without / and control characters, of at most {MAX_NAME_BYTES} bytes, "
            f"got {_shorten(name)!r}"
        )


def parse_uri(uri: str, name: str) -> tuple[str, str]:
    """Return `s3` and `bucket/key`, or `file` and an absolute path; `name` is a flag for messages.

    Raises:
        InputError: the URI has another form, contains keys, or names what can never be a file or folder.
    """
    check_no_secret(uri, name)
    if uri != uri.strip() or _CONTROL.search(uri) or any("\ud800" <= char <= "\udfff" for char in uri):
        raise InputError(
            f"{name} must be Unicode text without control characters and without space around it, got {uri!r}"
        )
    scheme = match[1].lower() if (match := _SCHEME.match(uri)) else ""
    if scheme == "s3":
        return "s3", _parse_s3(uri, name)
    if scheme == "file":
        return "file", _resolve(_decode_file_uri(uri, name), uri, name)
    if scheme or not uri or "://" in uri:
        raise InputError(f"{name} must be {FORMS}, got {uri!r}")
    try:
        return "file", _resolve(Path(uri).expanduser(), uri, name)
    except RuntimeError as error:  # there is no such user, or a link goes in a circle
        raise InputError(f"{name} must be {FORMS}, got {uri!r}: {error}") from error


def _parse_s3(uri: str, name: str) -> str:
    _, separator, path = uri.partition("://")
    path = path.rstrip("/")
    bucket, _, key = path.partition("/")
    if ":" in bucket:  # not shown: it may be a key and its secret
        raise InputError(
            f"{name}: an s3:// URI must begin with the name of a bucket or the alias of an access point, "
            "without keys, port and ARN; the server is set with AWS_ENDPOINT_URL"
        )
    if not separator or not path or "" in path.split("/") or {".", ".."} & set(path.split("/")):
        raise InputError(
            f"{name}: an s3:// URI must be s3://bucket/key without empty names, `.` and `..`, got {uri!r}"
        )
    if not _BUCKET.fullmatch(bucket):
        raise InputError(
            f"{name}: a bucket's name must consist of letters, digits, `-` and `.`, got {bucket!r}"
        )
    if _OPTION.search(key):
        raise InputError(
            f"{name}: an s3:// URI must have no ?options, S3 is configured by AWS_ENDPOINT_URL, AWS_REGION "
            f"and ~/.aws/config, got {uri!r}"
        )
    if len(key.encode()) > MAX_KEY_BYTES:
        raise InputError(
            f"{name}: a key must have at most {MAX_KEY_BYTES} bytes, got {len(key.encode())}, "
            f"{_shorten(uri)!r}"
        )
    return path


def _decode_file_uri(uri: str, name: str) -> Path:
    """Return the path of `file:///path` or `file://localhost/path`, percent-decoded (RFC 8089)."""
    parts = urlsplit(uri)
    try:
        path = unquote(parts.path, errors="strict")
    except UnicodeDecodeError:
        path = ""
    if parts.netloc.lower() not in ("", "localhost") or parts.query or parts.fragment or path[:1] != "/":
        raise InputError(
            f"{name}: a file:// URI must be file:///absolute/path in UTF-8, `?` and `#` as %3F and %23, "
            f"got {uri!r}; a relative path is written without file://"
        )
    if "\0" in path:
        raise InputError(f"{name} must be without NUL, got {uri!r}")
    return Path(path)


def _resolve(path: Path, uri: str, name: str) -> str:
    if SUBMITTED in os.environ and not path.is_absolute():
        raise InputError(
            f"{name}: a local path must begin with / in a submitted job, whose folder Ray deletes, got "
            f"{uri!r}; use an absolute path or s3://bucket/key"
        )
    try:
        if any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in path.parts):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))  # no folder need exist
        path.stat()  # `resolve` raises different errors in different versions of Python
    except OSError as error:
        if remedy := _IMPASSABLE.get(error.errno or 0):
            raise InputError(
                f"{name} must be a path {remedy}, got {_shorten(uri)!r}: {error.strerror}"
            ) from error
    try:
        return str(path.resolve())
    except FileNotFoundError as error:
        raise InputError(f"{name} is relative to a folder that was deleted, got {uri!r}") from error
    except PermissionError as error:
        raise InputError(f"{name} must be a path whose links this user can follow: {error}") from error


def _shorten(uri: str) -> str:
    return uri if len(uri) < 200 else f"{uri[:100]}…{uri[-20:]}"

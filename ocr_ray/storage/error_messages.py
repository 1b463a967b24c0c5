"""Error messages for requests that S3 or a disk refuses: the location, the request, and what to do.

pyarrow raises answers of S3 as an `OSError` with a long text; damaged files raise `OSError`s too.
"""

import errno
import os
import re

_S3_ERROR = re.compile(r"AWS Error (?P<code>.+?) during (?P<operation>\w+) operation:?(?P<detail>.*)", re.S)
_S3_LOCATION = re.compile(r"(?:key '(?P<key>[^']*)' in )?bucket '(?P<bucket>[^']*)'")
_EXCEPTION_NAME = re.compile(r"Unable to parse ExceptionName: (\w+)")
_VERBS = {"Get": "read", "Head": "read", "List": "listed", "Delete": "deleted"}
"""What an operation of S3 does, by the start of its name; all other operations write."""
_CHECKSUMS = (
    "this server does not know the checksums of newer clients; set "
    "AWS_REQUEST_CHECKSUM_CALCULATION=when_required"
)
_RUST_ERROR = re.compile(r"\(os error (\d+)\)")
"""How safetensors and tokenizers, which are written in Rust, report an error of the disk."""
_DISK_ERROR = re.compile(r"\[Errno (\d+)\](?:[^'\n]*'(/[^'\n]*)')?")
"""How Python prints an error of the disk; Ray passes only the text on if an actor cannot start."""
_TEMPORARY = "/ocr_ray-"
"""How the temporary folders of this package begin, in the folder that TMPDIR names."""
_S3_REMEDIES = {
    "Quota|StorageFull|HTTP status 507": "free some space there, or choose another location",
    "MissingContent|ContentSHA256|NotImplemented|x-amz-checksum|aws-chunked|trailer": _CHECKSUMS,
    "NETWORK_CONNECTION|SLOW_DOWN|INTERNAL_FAILURE|SERVICE_UNAVAILABLE|REQUEST_TIMEOUT|HTTP status 5": (
        "all retries failed; check the endpoint and the network"
    ),
    "NO_SUCH_BUCKET|NoSuchBucket": "create the bucket, or choose another location",
    "PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocation|HTTP status 301": (
        "set AWS_REGION to the region of the bucket"
    ),
    "KeyTooLong|InvalidBucketName|InvalidURI|InvalidObjectName": "choose another name",
}
"""What to do, by a pattern of the code and message of S3; all other answers are about credentials."""
_DISK_REMEDIES = {
    errno.ENOSPC: "free some space there, or choose another location",
    errno.EDQUOT: "free some space there, or choose another location",
    errno.EFBIG: "choose a location that allows larger files",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "choose a location whose links do not go in a circle",
    errno.ENOTDIR: "choose a location below folders, not below a file",
    errno.EISDIR: "a folder is in the way: move it, or choose another location",
    errno.EEXIST: "a file is in the way: move it, or choose another location",
    errno.EMFILE: "allow more open files with `ulimit -n`",
    errno.ENFILE: "close other programs, which have too many files open",
    errno.EACCES: "give this user permission, or choose another location",
    errno.EPERM: "give this user permission, or choose another location",
    errno.EROFS: "mount the disk writable, or choose another location",
    errno.EIO: "check the disk, or choose another location",
    errno.ESTALE: "mount the disk again",
}


def describe_storage_error(error: BaseException, location: str = "") -> str | None:
    """Return a message for a request that S3 or a disk refused; None for other errors, e.g. damaged files.

    Errors wrapped by Ray are described by their cause. `location` is used if the error does not name one.
    """
    error = getattr(error, "cause", None) or error
    if isinstance(error, OSError):
        if match := _S3_ERROR.search(str(error)):
            return _describe_s3_error(match, str(error), location)
        code, path = error.errno, error.filename2 or error.filename  # of a copy the second is written
        if code is None and (match := _DISK_ERROR.search(str(error))):
            code, path = int(match[1]), match[2]
    else:
        match = _RUST_ERROR.search(str(error))
        code, path = int(match[1]) if match else None, None
    if code not in _DISK_REMEDIES:
        return None
    where, remedy = str(path or location or "a file"), _DISK_REMEDIES[code]
    if _TEMPORARY in where:
        remedy = remedy.replace("choose another location", "set TMPDIR to another folder")
    return f"{where} cannot be used: {os.strerror(code)}; {remedy}"


def raise_if_refused(error: BaseException) -> None:
    """Raise the error if S3 or a disk refused a request: then it does not mean that the file is damaged."""
    if describe_storage_error(error):
        raise error


def _describe_s3_error(match: re.Match[str], message: str, location: str) -> str:
    code, operation, detail = match["code"], match["operation"], " ".join(match["detail"].split())
    reply = f"{code} {detail}"
    if detail == "No response body.":
        detail = ""
    if named := _EXCEPTION_NAME.search(detail):
        code, detail = named[1], ""
    where = location or "a file on S3"
    if names := _S3_LOCATION.search(message):
        where = "/".join(filter(None, ("s3:/", names["bucket"], names["key"])))
    verb = next((verb for name, verb in _VERBS.items() if operation.startswith(name)), "written")
    answer = f"{code} ({detail})" if detail else code
    standard = "renew the credentials if they have expired, or check their permissions"
    remedy = next((remedy for text, remedy in _S3_REMEDIES.items() if re.search(text, reply)), standard)
    return f"{where} could not be {verb}, S3 answers {operation} with {answer}: {remedy}"

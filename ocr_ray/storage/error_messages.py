"""What S3 and disks refuse, told in a sentence: the place, what could not be done, what to do.

pyarrow gives what S3 answers as an `OSError` of many words; damaged files are `OSError`s too.
"""

import errno
import re

_S3_ERROR = re.compile(r"AWS Error (?P<code>.+?) during (?P<operation>\w+) operation:?(?P<detail>.*)", re.S)
_S3_PLACE = re.compile(r"(?:key '(?P<key>[^']*)' in )?bucket '(?P<bucket>[^']*)'")
_EXCEPTION_NAME = re.compile(r"Unable to parse ExceptionName: (\w+)")
_DONE = {"Get": "read", "Head": "read", "List": "listed", "Delete": "deleted"}
"""What an operation of S3 does, by the beginning of its name; all others write."""
_AWAY = ("NETWORK_CONNECTION", "SLOW_DOWN", "INTERNAL_FAILURE", "SERVICE_UNAVAILABLE", "REQUEST_TIMEOUT")
_DISK_REMEDIES = {
    errno.ENOSPC: "free some space there, or choose another place",
    errno.EDQUOT: "free some space there, or choose another place",
    errno.EACCES: "allow it to this user, or choose another place",
    errno.EPERM: "allow it to this user, or choose another place",
    errno.EROFS: "mount the disk so that it can be written, or choose another place",
    errno.EIO: "look after the disk, or choose another place",
    errno.ESTALE: "mount the disk again",
}


def describe_storage_error(error: BaseException, place: str = "") -> str | None:
    """Return what S3 or a disk refused and what to do; None for other errors, those of damaged files too.

    Errors that Ray wrapped are told as their causes. `place` is named where the error names none.
    """
    error = getattr(error, "cause", None) or error
    if not isinstance(error, OSError):
        return None
    if said := _S3_ERROR.search(str(error)):
        return _tell_s3_error(said, str(error), place)
    if error.errno not in _DISK_REMEDIES:
        return None
    where = error.filename or place or "a file"
    return f"{where} cannot be used: {error.strerror}; {_DISK_REMEDIES[error.errno]}"


def raise_if_refused(error: BaseException) -> None:
    """Raise an error of reading again where S3 or a disk refused: it says nothing of what is read."""
    if describe_storage_error(error):
        raise error


def _tell_s3_error(said: re.Match[str], message: str, place: str) -> str:
    code, operation, detail = said["code"], said["operation"], " ".join(said["detail"].split())
    if detail == "No response body.":
        detail = ""
    if named := _EXCEPTION_NAME.search(detail):
        code, detail = named[1], ""
    found = _S3_PLACE.search(message)
    where = place or "a file on S3"
    if found:
        where = "/".join(filter(None, ("s3:/", found["bucket"], found["key"])))
    done = next((word for name, word in _DONE.items() if operation.startswith(name)), "written")
    if any(word in code for word in _AWAY) or "HTTP status 5" in code:
        remedy = "it was asked again and again; see that the endpoint and the network are well"
    elif "NO_SUCH_BUCKET" in code:
        remedy = "make the bucket, or choose another place"
    else:
        remedy = "renew the credentials if they have expired, or see that they allow it"
    answer = f"{code} ({detail})" if detail else code
    return f"{where} could not be {done}, S3 answers {operation} with {answer}: {remedy}"

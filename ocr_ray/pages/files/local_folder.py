"""The files of a local folder, also those that cannot be read; links are followed, but not in circles.

pyarrow's listing leaves out broken links, follows a circle of links 40 times, and fails on a name that is not
UTF-8.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ocr_ray.dataset.lines import Reject


@dataclass(slots=True)
class FolderListing:
    """What is in a folder and its sub-folders."""

    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of each file by its relative path, sorted."""
    ignored: Counter[str] = field(default_factory=Counter)
    """Number of entries that are no files, by kind: `ignored_link`, `ignored_device`."""
    rejects: list[Reject] = field(default_factory=list)
    """`bad_name`: files whose names are not UTF-8."""


def list_local(folder: str) -> FolderListing:
    """Return the files of a folder."""
    listing = FolderListing()
    for path, status in _walk(folder):
        if not _is_utf8(path):
            detail = f"{os.fsencode(path)!r} is not UTF-8: convmv -r -f cp949 -t utf8 --notest FOLDER"
            listing.rejects.append(Reject(reason="bad_name", detail=detail))
        elif status is None:
            listing.ignored["ignored_link"] += 1
        elif stat.S_ISREG(status.st_mode):
            listing.sizes[path] = status.st_size
        else:
            listing.ignored["ignored_device"] += 1
    listing.sizes = dict(sorted(listing.sizes.items()))
    return listing


def _walk(root: str) -> Iterator[tuple[str, os.stat_result | None]]:
    """Yield relative path and status of everything but folders; None: a link to nothing or in a circle."""
    pending = [(root, frozenset({_identify(Path(root).stat())}))]
    while pending:
        folder, ancestors = pending.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                path = os.path.relpath(entry.path, root)
                try:
                    status = entry.stat()
                except OSError:
                    if not entry.is_symlink():
                        raise
                    yield path, None
                    continue
                if not stat.S_ISDIR(status.st_mode):
                    yield path, status
                elif _identify(status) in ancestors:
                    yield path, None
                else:
                    pending.append((entry.path, ancestors | {_identify(status)}))


def _identify(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True

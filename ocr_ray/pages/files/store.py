"""Images and labels in folders and zips, paired to pages.

A member of a zip has a path like any other file: `Training/TS_1.zip!/3학년/P3_1_01.png`.
"""

import re
import threading
import unicodedata
import uuid
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import pyarrow.fs as pafs

from ocr_ray.dataset.lines import Reject
from ocr_ray.errors import CropError, InputError, LabelError, RowError
from ocr_ray.pages.files.zip_archive import MAX_ENTRIES, Archive
from ocr_ray.storage.location import (
    Location,
    list_files,
    open_file,
    preflight,
    translate_errors,
    warn_if_slow,
)

IMAGE_EXTENSIONS = frozenset({"png", "jpg", "jpeg"})
LABEL_EXTENSION = "json"
ARCHIVE_EXTENSION = "zip"
MAX_IMAGE_BYTES = 64 * 2**20
MAX_OPEN_ARCHIVES = 64

Collection = Literal["training", "validation", ""]
FileKind = Literal["image", "label", "answer", "handwriting", "zip", "ignored"]

_OPENING_THREADS = 8
_IN_ARCHIVE = re.compile(r"(.*?\.zip)!/(.*)", re.IGNORECASE | re.DOTALL)
_ANSWER = re.compile(r".+_A", re.DOTALL)
_HANDWRITING = re.compile(r".+_\d+_[OX]", re.DOTALL)
_COLLECTION = re.compile(r"(?:\d+\.\s*)?(training|validation)|([TV])[SL]_.*\.zip!", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFile:
    """An image and its label; paths are those of the `PageStore`."""

    page_id: str
    """Their file name without its extension, NFC."""
    image_path: str
    label_path: str
    collection: Collection = ""
    """Part of the AI Hub dataset that they come from; validation if either is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The files of a `PageStore`: images, labels, and zips inside zips."""

    files: dict[str, tuple[int, ...]]
    """By path: the size in bytes and, for members of zips, the CRC-32."""
    rejects: tuple[Reject, ...]
    """`bad_archive`: a zip that cannot be listed; `duplicate_page`: a path that occurs twice in a zip."""


class PageStore:
    """The files of a folder with its sub-folders and zips, or of one zip; nothing is unpacked to disk.

    Only the location is pickled. Each process opens a zip once, and keeps the 64 zips used last, with at most
    4,000,000 members in total, which takes 1 to 2 GB. Any number of threads can read.

    Raises:
        InputError: the location is neither a folder nor a zip.
    """

    def __init__(self, location: Location) -> None:
        with preflight(location, "pages") as quick, warn_if_slow(location):
            kind = quick.filesystem.get_file_info(quick.path).type
        self._folder, self._only = location, ""
        if kind == pafs.FileType.File and kind_of(location.name) == "zip":
            self._folder = Location(location.filesystem, location.path.rpartition("/")[0])
            self._only = location.name
        elif kind != pafs.FileType.Directory:
            state = "does not exist" if kind == pafs.FileType.NotFound else "is another kind of file"
            raise InputError(f"pages must be in a folder or a .zip file, {location} {state}")
        # Distinguishes the zips of this store from zips that had the same path earlier in this process.
        self._key = uuid.uuid4().hex

    def list(self) -> Listing:
        """Return images, labels and nested zips; the files of folders come before those of zips.

        Takes about 250 bytes of memory per file, in addition to the zips that stay open.
        """
        sizes = {self._only: 0} if self._only else list_files(self._folder)
        files: dict[str, tuple[int, ...]] = {}
        archive_paths, rejects = [], []
        for path, size in sizes.items():
            kind = kind_of(path)
            if kind == "ignored":
                continue
            if _IN_ARCHIVE.match(path):
                detail = f"{path}: a folder's name must not end in .zip!"
                rejects.append(Reject(reason="bad_archive", detail=detail))
            elif kind == "zip":
                archive_paths.append(path)
            else:
                files[path] = (size,)
        with ThreadPoolExecutor(_OPENING_THREADS) as pool:
            for archive in pool.map(self._try_open, archive_paths):
                if isinstance(archive, Reject):
                    rejects.append(archive)
                    continue
                for name, member in archive.members.items():
                    files[f"{archive.name}!/{name}"] = (member.size_bytes, member.crc)
                repeated = (f"{archive.name}!/{name}" for name in archive.repeated)
                rejects += [
                    _duplicate(path, path) for path in repeated if kind_of(path) in ("image", "label")
                ]
        return Listing(files=files, rejects=tuple(rejects))

    def read(self, path: str, max_bytes: int) -> bytes:
        """Return the content of a listed file of at most `max_bytes`.

        Raises:
            RowError: `bad_image` or `bad_json`: it is larger; `bad_archive`: the file or its zip is damaged,
                or the member is not a plain file inside the zip.
        """
        match = _IN_ARCHIVE.fullmatch(path)
        if match:
            with translate_errors(self._folder / match[1]):
                archive = _OPEN.get((self._key, match[1]), lambda: self._open(match[1]))
                if match[2] in archive.members:
                    _check_size(path, archive.members[match[2]].size_bytes, max_bytes)
                return archive.read(match[2])
        with open_file(self._folder / path) as file:
            size = file.size()
            _check_size(path, size, max_bytes)
            return bytes(file.read(size))

    def _open(self, archive_path: str) -> Archive:
        location = self._folder / archive_path
        file = location.filesystem.open_input_file(location.path)
        return Archive(file, archive_path, lambda name: kind_of(name) != "ignored")

    def _try_open(self, archive_path: str) -> Archive | Reject:
        try:
            with translate_errors(self._folder / archive_path):
                archive = self._open(archive_path)
        except RowError as error:
            return Reject(reason=error.reason, detail=error.detail)
        _OPEN.keep((self._key, archive_path), archive)
        return archive


class _OpenArchives:
    """The zips that this process has open, the most recently used last."""

    def __init__(self) -> None:
        self._archives: OrderedDict[tuple[str, str], Archive] = OrderedDict()
        self._lock = threading.Lock()
        self._opening = threading.Lock()

    def get(self, key: tuple[str, str], open_archive: Callable[[], Archive]) -> Archive:
        """Return an archive, opened if necessary; one at a time, so that none is opened twice."""
        archive = self._find(key)
        if archive is None:
            with self._opening:
                archive = self._find(key)
                if archive is None:
                    archive = open_archive()
                    self.keep(key, archive)
        return archive

    def keep(self, key: tuple[str, str], archive: Archive) -> None:
        with self._lock:
            self._archives[key] = archive
            while len(self._archives) > 1 and self._is_over_limit():
                self._archives.popitem(last=False)  # closed when its last reader releases it

    def _find(self, key: tuple[str, str]) -> Archive | None:
        with self._lock:
            if key in self._archives:
                self._archives.move_to_end(key)
            return self._archives.get(key)

    def _is_over_limit(self) -> bool:
        num_members = sum(len(archive.members) for archive in self._archives.values())
        return len(self._archives) > MAX_OPEN_ARCHIVES or num_members > MAX_ENTRIES


_OPEN = _OpenArchives()


def pair_pages(paths: Iterable[str]) -> tuple[list[PageFile], list[Reject], dict[str, int]]:
    """Return the pages among the paths of a `PageStore`, sorted by id, the rejects, and counts out of scope.

    An image and a label make a page if their names without extension are equal in NFC, in any folders or
    zips. Of several images or labels with the same name the first path counts. Every image and every label
    is in one page or one reject, or is out of scope and counted by kind: `answer` (`…_A`) or `handwriting`
    (`…_3_O`), where image and label count once, and `zip` for each zip inside a zip. Other files are ignored:
    hidden files, those that macOS adds to zips, and all other extensions.
    """
    images: dict[str, str] = {}
    labels: dict[str, str] = {}
    rejects: list[Reject] = []
    out_of_scope: set[tuple[FileKind, str]] = set()
    for path in sorted(paths):
        kind, page_id = kind_of(path), page_id_of(path)
        if kind in ("image", "label"):
            kept = (images if kind == "image" else labels).setdefault(page_id, path)
            if kept != path:
                rejects.append(_duplicate(path, kept))
        elif kind != "ignored":
            out_of_scope.add((kind, path if kind == "zip" else page_id))
    pages = [
        PageFile(
            page_id=page_id,
            image_path=images[page_id],
            label_path=labels[page_id],
            collection=_join(collection_of(images[page_id]), collection_of(labels[page_id])),
        )
        for page_id in sorted(images.keys() & labels.keys())
    ]
    for page_id in images.keys() - labels.keys():
        rejects.append(Reject(reason="missing_label", detail=images[page_id], page_id=page_id))
    for page_id in labels.keys() - images.keys():
        rejects.append(Reject(reason="missing_image", detail=labels[page_id], page_id=page_id))
    rejects.sort(key=lambda reject: (reject.page_id or "", reject.detail))
    return pages, rejects, dict(sorted(Counter(str(kind) for kind, _ in out_of_scope).items()))


def page_id_of(path: str) -> str:
    """Return a file's name without its extension, NFC."""
    return unicodedata.normalize("NFC", path.rpartition("/")[2].rpartition(".")[0])


def kind_of(path: str) -> FileKind:
    """Return the kind of a file, by its path."""
    name = path.rpartition("/")[2]
    stem, _, extension = name.rpartition(".")
    extension = extension.lower()
    if not stem or name.startswith(".") or "/__MACOSX/" in f"/{path}":
        return "ignored"
    if extension == ARCHIVE_EXTENSION:
        return "zip"
    if extension != LABEL_EXTENSION and extension not in IMAGE_EXTENSIONS:
        return "ignored"
    if _ANSWER.fullmatch(stem):
        return "answer"
    if _HANDWRITING.fullmatch(stem):
        return "handwriting"
    return "label" if extension == LABEL_EXTENSION else "image"


def collection_of(path: str) -> Collection:
    """Return which part of the AI Hub dataset a file belongs to, by the innermost folder or zip named so."""
    for name in reversed(path.split("/")[:-1]):
        match = _COLLECTION.fullmatch(name)
        if match:
            return "training" if (match[1] or match[2]).lower() in ("training", "t") else "validation"
    return ""


def _join(image: Collection, label: Collection) -> Collection:
    return "validation" if "validation" in (image, label) else image or label


def _duplicate(path: str, kept: str) -> Reject:
    return Reject(
        reason="duplicate_page", detail=f"{path}, already found as {kept}", page_id=page_id_of(path)
    )


def _check_size(path: str, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        detail = f"{path} must have at most {max_bytes} bytes, got {size}"
        raise LabelError("bad_json", detail) if kind_of(path) == "label" else CropError("bad_image", detail)

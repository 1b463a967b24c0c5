"""Images and labels in folders and zips, and which of them make a page.

A member of a zip has a path like any file: `Training/TS_1.zip!/3학년/P3_1_01.png`.
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

IMAGE_ENDINGS = frozenset({"png", "jpg", "jpeg"})
LABEL_ENDING = "json"
ARCHIVE_ENDING = "zip"
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
    """Their name without its ending, NFC."""
    image_path: str
    label_path: str
    collection: Collection = ""
    """The half of AI Hub's data set that they were delivered in; validation if either is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What may be read of a `PageStore`: images, labels, and zips inside zips."""

    files: dict[str, tuple[int, ...]]
    """By path what changes when the content does: its bytes and, of a member of a zip, its CRC-32."""
    rejects: tuple[Reject, ...]
    """`bad_archive`: a zip that cannot be listed; `duplicate_page`: a path that is twice in one zip."""


class PageStore:
    """The files of a folder with its sub-folders and zips, or of one zip; nothing is unpacked to disk.

    Pickled it holds only its place. Each process opens a zip once, and keeps the last 64 with together up to
    4,000,000 members, which takes 1 to 2 GB. Any number of threads may read.

    Raises:
        InputError: the place is neither a folder nor a zip.
    """

    def __init__(self, place: Location) -> None:
        with preflight(place, "pages") as found, warn_if_slow(place):
            kind = found.filesystem.get_file_info(found.path).type
        self._folder, self._only = place, ""
        if kind == pafs.FileType.File and kind_of(place.name) == "zip":
            self._folder = Location(place.filesystem, place.path.rpartition("/")[0])
            self._only = place.name
        elif kind != pafs.FileType.Directory:
            raise InputError(f"pages must be in a folder or a .zip file that exists, {place} is neither")
        # Tells the zips of this store from those that had the same path in an earlier run of this process.
        self._key = uuid.uuid4().hex

    def list(self) -> Listing:
        """Return the images, labels and nested zips, those of zips behind the files of folders.

        Takes some 250 bytes of memory for each, beside what the zips take that stay open.
        """
        sizes = {self._only: 0} if self._only else list_files(self._folder)
        files: dict[str, tuple[int, ...]] = {}
        archive_paths, rejects = [], []
        for path, size in sizes.items():
            kind = kind_of(path)
            if kind == "ignored":
                continue
            if _IN_ARCHIVE.match(path):
                found = f"{path}: a folder may not be named like the inside of a zip"
                rejects.append(Reject(reason="bad_archive", detail=found))
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
        """Return the content of a listed file, never holding more than `max_bytes` of it.

        Raises:
            RowError: `bad_image` or `bad_json`: it is larger; `bad_archive`: its zip or it is damaged, or it
                is no plain file of the zip's own.
        """
        match = _IN_ARCHIVE.fullmatch(path)
        if match:
            with translate_errors(self._folder / match[1]):
                archive = _OPEN.get((self._key, match[1]), lambda: self._open(match[1]))
                if match[2] in archive.members:
                    _check_size(path, archive.members[match[2]].size_bytes, max_bytes)
                return archive.read(match[2])
        place = self._folder / path
        with open_file(place) as file:
            size = file.size()
            _check_size(path, size, max_bytes)
            return bytes(file.read(size))

    def _open(self, archive_path: str) -> Archive:
        place = self._folder / archive_path
        file = place.filesystem.open_input_file(place.path)
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
    """The zips that this process has open, the last used last."""

    def __init__(self) -> None:
        self._archives: OrderedDict[tuple[str, str], Archive] = OrderedDict()
        self._lock = threading.Lock()
        self._opening = threading.Lock()

    def get(self, key: tuple[str, str], open_archive: Callable[[], Archive]) -> Archive:
        """Return an archive, opened now if it is not open; one at a time, so that none is opened twice."""
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
                self._archives.popitem(last=False)  # closed once its last reader lets go of it

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
    """Return the pages among the paths of a `PageStore`, sorted by id; the files that make none; the others.

    An image and a label belong together if their names without ending are equal in NFC, whatever folders and
    zips they lie in. Of several images or labels of one name the first by path stays. Every image and every
    label is in one page or one reject, or is out of scope and counted by kind: an `answer` (`…_A`) or
    `handwriting` (`…_3_O`), image and label of one name together as one, and each `zip` inside a zip.
    Other files are ignored: hidden ones, what macOS adds to zips, and all other endings.
    """
    images: dict[str, str] = {}
    labels: dict[str, str] = {}
    rejects: list[Reject] = []
    others: set[tuple[FileKind, str]] = set()
    for path in sorted(paths):
        kind, page_id = kind_of(path), page_id_of(path)
        if kind in ("image", "label"):
            kept = (images if kind == "image" else labels).setdefault(page_id, path)
            if kept != path:
                rejects.append(_duplicate(path, kept))
        elif kind != "ignored":
            others.add((kind, path if kind == "zip" else page_id))
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
    return pages, rejects, dict(sorted(Counter(str(kind) for kind, _ in others).items()))


def page_id_of(path: str) -> str:
    """Return a file's name without its ending, NFC."""
    return unicodedata.normalize("NFC", path.rpartition("/")[2].rpartition(".")[0])


def kind_of(path: str) -> FileKind:
    """Return what a file is, by its path alone."""
    name = path.rpartition("/")[2]
    stem, _, ending = name.rpartition(".")
    ending = ending.lower()
    if not stem or name.startswith(".") or "/__MACOSX/" in f"/{path}":
        return "ignored"
    if ending == ARCHIVE_ENDING:
        return "zip"
    if ending != LABEL_ENDING and ending not in IMAGE_ENDINGS:
        return "ignored"
    if _ANSWER.fullmatch(stem):
        return "answer"
    if _HANDWRITING.fullmatch(stem):
        return "handwriting"
    return "label" if ending == LABEL_ENDING else "image"


def collection_of(path: str) -> Collection:
    """Return which half of AI Hub's data set a file was delivered in, by the nearest folder or zip to say."""
    for name in reversed(path.split("/")[:-1]):
        match = _COLLECTION.fullmatch(name)
        if match:
            return "training" if (match[1] or match[2]).lower() in ("training", "t") else "validation"
    return ""


def _join(of_image: Collection, of_label: Collection) -> Collection:
    return "validation" if "validation" in (of_image, of_label) else of_image or of_label


def _duplicate(path: str, kept: str) -> Reject:
    return Reject(reason="duplicate_page", detail=f"{path} beside {kept}", page_id=page_id_of(path))


def _check_size(path: str, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        found = f"{path}: it may have {max_bytes} bytes, it has {size}"
        raise LabelError("bad_json", found) if kind_of(path) == "label" else CropError("bad_image", found)

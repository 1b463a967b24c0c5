"""Images and labels in folders and zips, paired to pages.

A member of a zip has a path like any other file: `Training/TS_1.zip!/3학년/P3_1_01.png`.
"""

import re
import threading
import unicodedata
import uuid
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Literal

import pyarrow.fs as pafs

from ocr_ray.dataset.lines import Reject
from ocr_ray.errors import CropError, InputError, LabelError, RowError, StorageError
from ocr_ray.pages.files.archive_names import (
    BEGINNING_BYTES,
    find_pieces,
    find_unread,
    find_unread_content,
    ignored_kind,
    is_hidden,
)
from ocr_ray.pages.files.joined_file import JoinedFile
from ocr_ray.pages.files.local_folder import list_local
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
MAX_LOOKED_AT = 20
"""Ignored files of each kind that are looked at for archives: on S3 each takes a request."""

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
    """`bad_archive`: a zip that cannot be listed; `duplicate_page`: a path that occurs twice in a zip;
    `bad_name`: a file whose name is not UTF-8."""
    unread: Mapping[str, str]
    """By path of an archive that is no zip, or a piece of one that is not complete: what to do with it."""
    counts: Mapping[str, int]
    """Number of all files, those in zips too, by kind: `image`, `label`, `answer`, `handwriting`, `zip`,
    `zip_piece`, `unread_archive`, `ignored_hidden`, `ignored_txt`, …"""


class PageStore:
    """The files of a folder with its sub-folders and zips, or of one zip; nothing is unpacked to disk.

    A zip in pieces is read as if they were joined, under the name of the whole zip; `list` finds them. Only
    the location and the pieces are pickled. Each process opens a zip once, and keeps the 64 zips used last,
    with at most 4,000,000 members in total, which takes 1 to 2 GB. Any number of threads can read.

    Raises:
        InputError: the location is neither a folder nor a zip.
    """

    def __init__(self, location: Location) -> None:
        with preflight(location, "pages") as quick, warn_if_slow(location):
            kind = quick.filesystem.get_file_info(quick.path).type
        self._folder, self._only = location, ""
        self._pieces: dict[str, Sequence[str]] = {}
        if kind == pafs.FileType.File and kind_of(location.name) == "zip":
            self._folder = Location(location.filesystem, location.path.rpartition("/")[0])
            self._only = location.name
        elif kind != pafs.FileType.Directory:
            state = "does not exist" if kind == pafs.FileType.NotFound else "is another kind of file"
            if kind == pafs.FileType.File and find_pieces({location.name: 0}):
                state += "; give the folder that has all pieces of a zip"
            elif kind == pafs.FileType.File and (advice := find_unread(location.name)):
                state += f"; {advice}"
            raise InputError(f"pages must be in a folder or a .zip file, {location} {state}")
        # Distinguishes the zips of this store from zips that had the same path earlier in this process.
        self._key = uuid.uuid4().hex

    def list(self) -> Listing:
        """Return images, labels and nested zips; the files of folders come before those of zips.

        Takes about 250 bytes of memory per file, in addition to the zips that stay open.
        """
        draft = _Draft()
        sizes = self._list_folder(draft)
        archive_paths = self._find_archives(sizes, draft)
        for path, size in sizes.items():
            draft.add_file(path, size)
        with ThreadPoolExecutor(_OPENING_THREADS) as pool:
            ignored = draft.list_ignored(sizes)
            for path, beginning in zip(ignored, pool.map(self._read_beginning, ignored), strict=True):
                if advice := find_unread_content(path, beginning):
                    draft.unread[path] = advice
            for path, opened in zip(archive_paths, pool.map(self._try_open, archive_paths), strict=True):
                if not isinstance(opened, Reject):
                    draft.add_members(*opened)
                elif path in self._pieces:  # the zip shows whether the last one is there
                    draft.unread[self._pieces[path][-1]] = f"{opened.detail}; download it again"
                else:
                    draft.rejects.append(opened)
        return draft.finish()

    def _list_folder(self, draft: "_Draft") -> dict[str, int]:
        if self._only:
            return {self._only: 0}
        if not self._folder.is_local:
            return list_files(self._folder)
        with translate_errors(self._folder):
            listing = list_local(self._folder.path)
        draft.rejects += listing.rejects
        draft.counts += listing.ignored
        draft.counts["bad_name"] += len(listing.rejects)
        return listing.sizes

    def _find_archives(self, sizes: dict[str, int], draft: "_Draft") -> Sequence[str]:
        """Return the paths of the zips to open, and take their pieces from `sizes`."""
        self._pieces = {}
        zip_paths = [path for path in sizes if kind_of(path) == "zip" and not _IN_ARCHIVE.match(path)]
        for pieces in find_pieces(sizes):
            draft.counts["zip_piece"] += len(pieces.paths)
            for path in pieces.paths:
                del sizes[path]
            if pieces.zip_path in sizes:  # it was joined, and its pieces were left
                if sizes[pieces.zip_path] != pieces.size_bytes:
                    draft.unread[pieces.paths[0]] = (
                        f"the pieces have {pieces.size_bytes} bytes, {pieces.zip_path} has "
                        f"{sizes[pieces.zip_path]}: join them again, or rename them if they are other zips"
                    )
            elif pieces.problem:
                draft.unread[pieces.paths[0]] = f"{pieces.problem}; download it again"
            else:
                self._pieces[pieces.zip_path] = pieces.paths
                zip_paths.append(pieces.zip_path)
        return zip_paths

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
        return self._open_and_sort(archive_path)[0]

    def _open_and_sort(self, archive_path: str) -> "tuple[Archive, _Sorting]":
        """Return a zip and what else than pages is in it."""
        paths = self._pieces.get(archive_path, [archive_path])
        locations = [self._folder / path for path in paths]
        opened = [location.filesystem.open_input_file(location.path) for location in locations]
        sorting = _Sorting()
        return Archive(opened[0] if len(opened) == 1 else JoinedFile(opened), archive_path, sorting), sorting

    def _read_beginning(self, path: str) -> bytes:
        with suppress(OSError, StorageError), open_file(self._folder / path) as file:
            return bytes(file.read(BEGINNING_BYTES))
        return b""

    def _try_open(self, archive_path: str) -> "tuple[Archive, _Sorting] | Reject":
        try:
            with translate_errors(self._folder / archive_path):
                archive, sorting = self._open_and_sort(archive_path)
        except RowError as error:
            return Reject(reason=error.reason, detail=error.detail)
        _OPEN.keep((self._key, archive_path), archive)
        return archive, sorting


@dataclass(slots=True)
class _Sorting:
    """Chooses the members of a zip to keep; counts the others."""

    ignored: Counter[str] = field(default_factory=Counter)
    unread: list[str] = field(default_factory=list)

    def __call__(self, name: str) -> bool:
        if kind_of(name) != "ignored":
            return True
        if not is_hidden(name) and (find_unread(name) or find_pieces({name: 0})):
            self.unread.append(name)
        else:
            self.ignored[ignored_kind(name)] += 1
        return False


@dataclass(slots=True)
class _Draft:
    """A listing that grows."""

    files: dict[str, tuple[int, ...]] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def add_file(self, path: str, size: int) -> None:
        kind = kind_of(path)
        advice = None if kind != "ignored" or is_hidden(path) else find_unread(path)
        if advice:
            self.unread[path] = advice
            return
        self.counts[ignored_kind(path) if kind == "ignored" else kind] += 1
        if kind != "ignored" and _IN_ARCHIVE.match(path):
            detail = f"{path}: a folder's name must not end in .zip!"
            self.rejects.append(Reject(reason="bad_archive", detail=detail))
        elif kind not in ("ignored", "zip"):
            self.files[path] = (size,)

    def list_ignored(self, sizes: Mapping[str, int]) -> Sequence[str]:
        """Return the largest ignored files of each kind: they can be archives whose names do not show it."""
        by_kind: defaultdict[str, list[str]] = defaultdict(list)
        for path in sizes:
            if kind_of(path) == "ignored" and not is_hidden(path) and path not in self.unread:
                by_kind[ignored_kind(path)].append(path)
        return [
            path
            for paths in by_kind.values()
            for path in nlargest(MAX_LOOKED_AT, paths, key=sizes.__getitem__)
        ]

    def add_members(self, archive: Archive, sorting: _Sorting) -> None:
        for name, member in archive.members.items():
            self.files[f"{archive.name}!/{name}"] = (member.size_bytes, member.crc)
        self.counts.update(map(kind_of, [*archive.members, *archive.repeated]))
        self.counts += sorting.ignored
        self.counts["unread_archive"] += len(sorting.unread)
        repeated = (f"{archive.name}!/{name}" for name in archive.repeated)
        self.rejects += [_duplicate(path, path) for path in repeated if kind_of(path) in ("image", "label")]
        for name in sorting.unread:
            detail = f"{archive.name}!/{name}: an archive inside a zip is not read; unpack {archive.name}"
            self.rejects.append(Reject(reason="bad_archive", detail=detail))

    def finish(self) -> Listing:
        self.counts["unread_archive"] += len(self.unread)
        return Listing(
            files=self.files,
            rejects=tuple(self.rejects),
            unread=self.unread,
            counts=dict(sorted((+self.counts).items())),
        )


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
    if not stem or is_hidden(path):
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

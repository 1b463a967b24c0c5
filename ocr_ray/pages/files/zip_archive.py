"""Zip archives read in place: members listed from the directory at their end, each read with one request.

Nothing is unpacked to disk, and nothing that an archive says of itself is trusted: an archive that cannot be
listed is refused whole, a member that breaks a rule is listed with the reason why it will not be read.
The format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT

Python's `zipfile` is not used: it decodes all names of an archive in one encoding, takes twice the memory,
and reads under one lock for all threads, three or four requests a member, which on S3 is what takes time.
"""

import io
import stat
import struct
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ocr_ray.errors import RowError

MAX_ENTRIES = 4_000_000
"""In one archive. Listing them takes some 300 bytes of memory for each that is wanted, 100 for others."""
MAX_NAME_LENGTH = 4096
"""Characters of a path; longer ones fit on no disk, and take long to normalise."""
MAX_RATIO = 200
"""Unpacked to packed bytes; PNG, JPEG and JSON stay far below."""
RATIO_EXEMPT_BYTES = 2**20
"""Members up to this size may have any ratio."""

_END = struct.Struct("<4s4H2IH")
_END64_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_ENTRY = struct.Struct("<4sBB3H4x3I5HII")
_LOCAL = struct.Struct("<4s22x2H")
_MAX_16, _MAX_32 = 2**16 - 1, 2**32 - 1
_STORED, _DEFLATED = 0, 8
_UNIX = 3
_IS_ENCRYPTED, _IS_UTF8 = 1, 1 << 11
_BUFFER_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive, as its directory describes it."""

    offset: int
    room: int
    """Bytes from its header to the next one: all that can be read of it."""
    packed_bytes: int
    size_bytes: int
    """As declared; reading it gives exactly as many bytes or an error."""
    crc: int
    """CRC-32 of the unpacked bytes, checked when they are read."""
    is_deflated: bool
    refusal: str
    """Why it will not be read; empty if it may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One entry of the directory, decoded."""

    path: str
    flags: int
    method: int
    mode: int
    crc: int
    packed_bytes: int
    size_bytes: int
    offset: int


class Archive:
    """The members of a zip whose paths are wanted, to be read in any order by any number of threads.

    `file` is a random-access file of pyarrow, whose `read_at` threads may share; `name` is what errors call
    the archive.

    Raises:
        RowError: `bad_archive`: it cannot be listed.
    """

    def __init__(self, file: Any, name: str, is_wanted: Callable[[str], bool]) -> None:
        self.name = name
        self.members: dict[str, Member] = {}
        self.repeated: list[str] = []
        """Paths that occur again; the first stays."""
        self._file = file
        start, length, base, num_entries = _find_directory(file, name)
        offsets: list[int] = []
        wanted: dict[str, _Entry] = {}
        for entry in _read_entries(file, start, length, name):
            offsets.append(entry.offset)
            if len(entry.path) > MAX_NAME_LENGTH:
                raise RowError("bad_archive", f"{name}: a name of {len(entry.path)} characters")
            if len(offsets) > MAX_ENTRIES:
                raise RowError("bad_archive", f"{name}: it has more than {MAX_ENTRIES} entries")
            if entry.path.endswith("/") or not is_wanted(entry.path):
                continue
            if wanted.setdefault(entry.path, entry) is not entry:
                self.repeated.append(entry.path)
        if len(offsets) & _MAX_16 != num_entries & _MAX_16:  # old writers count modulo 2**16
            raise RowError("bad_archive", f"{name}: it says {num_entries} entries and has {len(offsets)}")
        offsets.sort()
        for path in list(wanted):
            self.members[path] = _place(wanted.pop(path), offsets, end=start - base, base=base)

    def read(self, path: str) -> bytes:
        """Return the unpacked bytes of a member, `Member.size_bytes` many: the caller bounds them.

        Raises:
            RowError: `bad_archive`: it is refused, damaged, or not there.
        """
        member = self.members.get(path)
        if member is None:
            raise RowError("bad_archive", f"{self.name}!/{path}: there is no such member")
        content, problem = (b"", member.refusal) if member.refusal else self._unpack(member)
        if problem:
            raise RowError("bad_archive", f"{self.name}!/{path}: {problem}")
        return content

    def _unpack(self, member: Member) -> tuple[bytes, str]:
        # The header repeats name and extra fields in lengths of its own: one request for all it may take.
        most = _LOCAL.size + 2 * _MAX_16 + member.packed_bytes
        record = self._file.read_at(min(member.room, most), member.offset)
        if len(record) < _LOCAL.size or not record.startswith(b"PK\3\4"):
            return b"", "there is no member where the directory says"
        _, name_length, extra_length = _LOCAL.unpack_from(record)
        start = _LOCAL.size + name_length + extra_length
        content = record[start : start + member.packed_bytes]
        if member.is_deflated:
            decoder = zlib.decompressobj(-zlib.MAX_WBITS)
            try:  # one byte more than declared: enough to see that there is more
                content = decoder.decompress(content, member.size_bytes + 1)
            except zlib.error as error:
                return b"", str(error)
        if len(content) != member.size_bytes or zlib.crc32(content) != member.crc:
            return b"", "its content is not what the directory says"
        return content, ""


def _find_directory(file: Any, name: str) -> tuple[int, int, int, int]:
    """Return where the directory starts, its bytes, where the archive begins in the file, and its entries."""
    size = file.size()
    tail_start = max(0, size - _END64.size - _END64_LOCATOR.size - _END.size - _MAX_16)
    tail = file.read_at(size - tail_start, tail_start)
    at = tail.rfind(b"PK\5\6", 0, max(0, len(tail) - _END.size + 4))
    if at < 0:
        raise RowError("bad_archive", f"{name}: it does not end like a zip: truncated or another format")
    _, disk, first_disk, _, num_entries, length, offset, _ = _END.unpack_from(tail, at)
    if num_entries == _MAX_16 or _MAX_32 in (length, offset):
        at64 = at - _END64_LOCATOR.size - _END64.size
        if at64 >= 0 and tail.startswith(b"PK\6\6", at64):
            _, _, _, _, disk, first_disk, _, num_entries, length, offset = _END64.unpack_from(tail, at64)
            at = at64
    if disk or first_disk:
        raise RowError("bad_archive", f"{name}: it is a piece of a split zip")
    start = tail_start + at - length
    if start < offset:
        raise RowError("bad_archive", f"{name}: its directory lies outside: a part of the file is missing")
    return start, length, start - offset, num_entries


def _read_entries(file: Any, start: int, length: int, name: str) -> Iterator[_Entry]:
    """Yield the entries of the directory without holding it in memory."""
    file.seek(start)
    stream = io.BufferedReader(file, _BUFFER_BYTES)
    try:
        while length:
            head = stream.read(_ENTRY.size)
            if length < _ENTRY.size or len(head) < _ENTRY.size or not head.startswith(b"PK\1\2"):
                raise RowError("bad_archive", f"{name}: its directory is damaged")
            values = _ENTRY.unpack(head)
            rest = stream.read(sum(values[9:12]))  # name, extra fields, comment
            length -= _ENTRY.size + sum(values[9:12])
            if length < 0 or len(rest) < sum(values[9:12]):
                raise RowError("bad_archive", f"{name}: its directory is damaged")
            yield _decode_entry(values, rest)
    finally:
        stream.detach()  # or it would close the file


def _decode_entry(values: tuple[Any, ...], rest: bytes) -> _Entry:
    _, _, system, _, flags, method, crc, packed_bytes, size_bytes, name_length, extra_length = values[:11]
    raw_name, extra = rest[:name_length], rest[name_length : name_length + extra_length]
    sizes = [size_bytes, packed_bytes, values[-1]]
    if _MAX_32 in sizes:
        sizes = widen(sizes, extra)
    path = decode_name(raw_name, is_utf8=bool(flags & _IS_UTF8))
    return _Entry(
        path=path if system == _UNIX else path.replace("\\", "/"),  # as old programs of Windows write
        flags=flags,
        method=method,
        mode=values[-2] >> 16,
        crc=crc,
        size_bytes=sizes[0],
        packed_bytes=sizes[1],
        offset=sizes[2],
    )


def decode_name(raw_name: bytes, *, is_utf8: bool) -> str:
    """Return a member's path; what does not say that it is UTF-8 is taken for it, for cp949, or for cp437.

    Programs of macOS write UTF-8 without saying so. Some Hangul in cp949 is also valid UTF-8, but then never
    of more than two bytes a character: `철` would be `ö`. So such names are read as cp949 first.
    """
    try:
        text = raw_name.decode()
    except UnicodeDecodeError:
        text = ""
    if text and (is_utf8 or text.isascii() or max(text) >= "\u0800"):
        return text
    try:
        return raw_name.decode("cp949")
    except UnicodeDecodeError:
        return text or raw_name.decode("cp437")


def widen(sizes: list[int], extra: bytes) -> list[int]:
    """Return the sizes with those that take more than 32 bits read from the extra field that has them."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            wide = [value for (value,) in struct.iter_unpack("<Q", extra[at + 4 :][: length // 8 * 8])]
            return [wide.pop(0) if size == _MAX_32 and wide else size for size in sizes]
        at += 4 + length
    return sizes


def _place(entry: _Entry, offsets: list[int], *, end: int, base: int) -> Member:
    """Return a member; `offsets` are those of all entries, sorted, and `end` that of the directory."""
    after = bisect_right(offsets, entry.offset)
    room = min([*offsets[after : after + 1], end]) - entry.offset
    is_shared = after - bisect_left(offsets, entry.offset) > 1
    return Member(
        offset=base + entry.offset,
        room=room,
        packed_bytes=entry.packed_bytes,
        size_bytes=entry.size_bytes,
        crc=entry.crc,
        is_deflated=entry.method == _DEFLATED,
        refusal=_refuse(entry, 0 if is_shared else room),
    )


def _refuse(entry: _Entry, room: int) -> str:
    """Return why a member that has `room` bytes to itself may not be read, empty if it may."""
    parts = entry.path.split("/")
    if parts[0] == "" or parts[0][1:2] == ":" or ".." in parts or "\0" in entry.path:
        return "its path leaves the archive"
    if stat.S_ISLNK(entry.mode):
        return "it is a symbolic link"
    if entry.flags & _IS_ENCRYPTED:
        return "it is encrypted"
    if entry.method not in (_STORED, _DEFLATED):
        return f"it is packed with method {entry.method}, only 0 (stored) and 8 (deflated) are read"
    if room < _LOCAL.size + entry.packed_bytes:
        return "it overlaps with another or lies outside"
    if entry.size_bytes > max(RATIO_EXEMPT_BYTES, MAX_RATIO * entry.packed_bytes):
        return f"it unpacks to more than {MAX_RATIO} times its size"
    if entry.packed_bytes > entry.size_bytes + entry.size_bytes // 4 + 1024:  # more than deflate ever adds
        return "it is larger packed than unpacked"
    return ""

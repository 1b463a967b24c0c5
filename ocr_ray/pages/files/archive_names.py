"""Names of files that are not a whole zip: pieces of one, archives that are not read, files that are ignored.

A zip cut into pieces of bytes can be read without joining them. Their names are those of AI Hub's download
shell (`TS_1.zip.part0`, `TS_1.zip.part1073741824`: offsets), of 7-Zip (`TS_1.zip.001`) and of `split`
(`TS_1.zip.aa`, `TS_1.zip.partaa`).
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_PIECE = re.compile(
    r"(?P<zip>.+\.zip)(?P<mark>[._-]?(?:part)?[._-]?)(?:(?P<number>\d+)|(?P<letters>[a-z]{2,3}))",
    re.IGNORECASE | re.DOTALL,
)
_FIRST_LETTERS = re.compile("a?a[a-z]")
_VOLUME = r"(?:[._-](?:part|vol)?[._-]?(?:\d+|[a-z]{2}))?"
_PACKED = r"(?:gz|bz2|xz|zst|lz|lz4|lzma|lzo|z|br)"
_TAR = rf"(?:tar(?:\.{_PACKED})?|t[gbx]z2?|tlz|tzst|taz)"
_UNFINISHED = (
    r"crdownload|aria2|opdownload|filepart|part|partial|download|gstmp|xltd|![a-z]+|(?:zip|tar|7z|rar)\.te?mp"
)
_NOTES = r"md5|sha\d*(?:sums?)?|crc\d*|sfv|sig|asc|txt|log|csv|html?|xml|url|lnk|torrent|metalink"
_UNREAD = [
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), advice)
    for pattern, advice in (
        (r"(.+)\.zx?\d{2,3}", "join it: zip -s 0 {0}.zip --out joined.zip"),
        (rf".+\.(?:{_UNFINISHED})", "its download is not finished: repeat it"),
        (rf".+\.{_TAR}", "unpack it: tar -xf {name}"),
        (
            rf"(.+\.{_TAR})[._-](?:part)?[._-]?(?:\d+|[a-z]{{2}})",
            "join its pieces and unpack them: cat {0}* | tar -x",
        ),
        (rf".+\.(?:7z|rar|egg|alz|zipx|lzh|lha|arj|cab|iso|{_PACKED}){_VOLUME}", "unpack it: 7z x {name}"),
        (r".+\.[ra]\d{2}", "unpack it: 7z x {name}"),
        (r"(.+)\.part[._-]?\d+", "join its pieces: cat {0}.part* > {0}"),
        (
            rf"(?!.+\.(?:{_NOTES})$).+\.(?:zip|7z|rar|egg|alz|tar|tgz)[^a-z].*",
            "rename it if it is whole, download it again if not",
        ),
    )
]
BEGINNING_BYTES = 8
_BEGINNINGS = {
    b"PK\3\4": "it is a zip: rename it to end in .zip, or in .zip.001, .zip.002, … if it is in pieces",
    **dict.fromkeys(
        (
            b"7z\xbc\xaf",
            b"Rar!",
            b"EGGA",
            b"ALZ\1",
            b"\x1f\x8b\x08",
            b"BZh",
            b"\xfd7zXZ",
            b"\x28\xb5\x2f\xfd",
            b"LZIP",
        ),
        "it is an archive: unpack it: 7z x {name}",
    ),
}
_ZIPS_OF_PROGRAMS = re.compile(
    r".+\.(?:docx|xlsx|xlsm|pptx|hwpx|od[tsp]|epub|jar|apk|whl|npz|pth?|keras)", re.IGNORECASE | re.DOTALL
)
_HIDDEN_NAMES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
_EXTENSION = re.compile(r"[a-z][a-z0-9]{0,7}")


class ZipPieces(NamedTuple):
    """The pieces of one zip."""

    zip_path: str
    """Of the whole zip, which does not exist."""
    paths: Sequence[str]
    """Of the pieces, in order."""
    size_bytes: int
    """Of all pieces."""
    problem: str
    """Why they cannot be joined; empty if they can."""


def find_unread(path: str) -> str | None:
    """Return what to do with an archive that is not read, by its name; None if it is no such archive."""
    name = path.rpartition("/")[2]
    for pattern, advice in _UNREAD:
        if match := pattern.fullmatch(name):
            return advice.format(*match.groups(), name=name)
    return None


def find_unread_content(path: str, beginning: bytes) -> str | None:
    """Return what to do with an archive that only its first `BEGINNING_BYTES` show; None if it is none."""
    if _ZIPS_OF_PROGRAMS.fullmatch(path):
        return None
    name = path.rpartition("/")[2]
    advices = (advice for magic, advice in _BEGINNINGS.items() if beginning.startswith(magic))
    return next((advice.format(name=name) for advice in advices), None)


def is_hidden(path: str) -> bool:
    """Return whether a file is one that operating systems add: hidden files, thumbnails, resource forks."""
    name = path.rpartition("/")[2]
    return name.startswith(".") or name.lower() in _HIDDEN_NAMES or "/__MACOSX/" in f"/{path}"


def ignored_kind(path: str) -> str:
    """Return the kind of a file that is neither page nor archive: `ignored_hidden`, `ignored_txt`, …"""
    if is_hidden(path):
        return "ignored_hidden"
    stem, _, extension = path.rpartition("/")[2].rpartition(".")
    extension = extension.lower()
    return f"ignored_{extension if stem and _EXTENSION.fullmatch(extension) else 'other'}"


def find_pieces(sizes: Mapping[str, int]) -> list[ZipPieces]:
    """Return the zips among files, given by path with their sizes, that are there in pieces.

    Letters for numbers make pieces only if some are of the first: `aa`, `ab`, … or `aaa`, `aab`, …
    """
    sets: defaultdict[tuple[str, str, int], dict[str, str]] = defaultdict(dict)
    for path in sizes:
        match = None if is_hidden(path) else _PIECE.fullmatch(path)
        if match:
            number, letters = match["number"], (match["letters"] or "").lower()
            sets[match["zip"], match["mark"].lower(), len(letters)][number or letters] = path
    pieces = []
    for (zip_path, _, num_letters), paths in sorted(sets.items()):
        if num_letters and not any(map(_FIRST_LETTERS.fullmatch, paths)):
            continue
        numbers = {path: _to_number(name) for name, path in paths.items()}
        ordered = sorted(numbers, key=lambda path: numbers[path])
        problem = _find_problem([(path, numbers[path], sizes[path]) for path in ordered])
        pieces.append(ZipPieces(zip_path, ordered, sum(map(sizes.__getitem__, ordered)), problem))
    return pieces


def _to_number(name: str) -> int:
    if name.isdecimal():
        return int(name)
    number = 0
    for letter in name:
        number = 26 * number + ord(letter) - ord("a")
    return number


def _find_problem(pieces: Sequence[tuple[str, int, int]]) -> str:
    """Return why pieces, each with its path, number and size, are not complete; whether the last is missing
    shows only when they are joined.
    """
    numbers = [number for _, number, _ in pieces]
    offset, first = 0, numbers[0]
    if first > 1:
        return "the first piece is missing"
    if len(set(numbers)) < len(numbers):
        return "a piece is there twice"
    by_offset = first == 0 and numbers != list(range(len(numbers)))
    for rank, (path, number, size_bytes) in enumerate(pieces):
        name = path.rpartition("/")[2]
        if by_offset and number != offset:
            return f"{name} starts at byte {number}, the pieces before it have {offset} bytes"
        if not by_offset and number != first + rank:
            return f"the piece before {name} is missing"
        is_last = rank == len(pieces) - 1
        if not by_offset and (size_bytes > pieces[0][2] or (size_bytes < pieces[0][2] and not is_last)):
            return f"{name} has {size_bytes} bytes, the first piece {pieces[0][2]}"
        offset += size_bytes
    return ""

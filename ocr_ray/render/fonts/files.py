"""Which font files there are, here and in a folder, and what their name tables say.

Only the name tables are believed: a file may be called anything, and fontconfig's aliases give one font out
as another.
"""

import io
import logging
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from fontTools.ttLib import TTCollection, TTFont, TTLibError
from pyarrow.fs import LocalFileSystem

from ocr_ray.render.fonts.names import UNSAID_LICENCES, fold_name
from ocr_ray.storage.location import Location, list_files, open_file

log = logging.getLogger(__name__)

FONT_ENDINGS = (".ttf", ".ttc", ".otf", ".otc")
NOT_A_FONT = (TTLibError, OSError, ValueError, LookupError, AssertionError, EOFError, struct.error)
"""What fontTools raises on a file that it cannot read."""

LONGEST_LICENCE = 200
_COPYRIGHT, _FAMILY, _FULL_NAME, _VERSION, _LICENCE, _LICENCE_URL, _TYPOGRAPHIC_FAMILY = (
    0,
    1,
    4,
    5,
    13,
    14,
    16,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """One font of a font file, after its name table."""

    index: int
    """Its place in a collection (.ttc); 0 in other files."""
    names: frozenset[str]
    """Its families and full names in all languages, as `fold_name` writes them."""
    family: str
    full_name: str
    version: str
    licence: str
    """One line of at most 200 characters: the licence, else its address, else the copyright; before them
    what UNSAID_LICENCES has."""
    oddness: tuple[int, int, int]
    """How far it is from the regular font of its family: italic, weight, width; (0, 0, 0) is the regular."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FontFile:
    """A font file that was listed; it is the same file as long as place and size are."""

    uri: str
    size_bytes: int
    location: Location = field(compare=False)


def is_font_file(path: str) -> bool:
    """Return whether a path ends as a font's does, in capitals or not."""
    return path.casefold().endswith(FONT_ENDINGS)


def list_fonts(folder: Location) -> list[FontFile]:
    """Return the font files in a folder and below it, sorted by path."""
    return [
        FontFile(uri=(folder / path).uri, size_bytes=size, location=folder / path)
        for path, size in list_files(folder).items()
        if is_font_file(path)
    ]


def list_installed_fonts() -> list[FontFile]:
    """Return the font files of this machine: a user's own first, those that only fontconfig knows last."""
    filesystem = LocalFileSystem()
    files: dict[str, FontFile] = {}
    for path in (*_search_folders(), *_ask_fontconfig()):
        if is_font_file(path.name) and str(path) not in files and path.is_file():
            location = Location(filesystem, str(path))
            files[str(path)] = FontFile(uri=str(path), size_bytes=path.stat().st_size, location=location)
    return list(files.values())


def _search_folders() -> Iterator[Path]:
    folders = [
        Path.home() / ".local/share/fonts",
        Path.home() / ".fonts",
        Path("/usr/local/share/fonts"),
        Path("/usr/share/fonts"),
        Path.home() / "Library/Fonts",
        Path("/Library/Fonts"),
        Path("/System/Library/Fonts"),
        Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts",
        Path("/mnt/c/Windows/Fonts"),
    ]
    bundled = find_spec("koreanize_matplotlib")
    if bundled and bundled.origin:
        folders.append(Path(bundled.origin).parent / "fonts")
    for folder in folders:
        if folder.is_dir():
            yield from sorted(folder.rglob("*.*"))


def _ask_fontconfig() -> list[Path]:
    program = shutil.which("fc-list")
    if not program:
        return []
    run = subprocess.run([program, "--format", "%{file}\n"], capture_output=True, check=False)
    return sorted(Path(os.fsdecode(line)) for line in run.stdout.splitlines())


def read_faces(files: Iterable[FontFile]) -> list[tuple[FontFile, Face]]:
    """Return the faces of all files, in order; a file that is no font is left out with a warning."""
    files = list(files)
    with ThreadPoolExecutor(16) as pool:  # on S3 each file is a few round trips
        faces = list(pool.map(_read_file, files))
    return [(file, face) for file, its_faces in zip(files, faces, strict=True) for face in its_faces]


@cache
def _read_file(file: FontFile) -> tuple[Face, ...]:
    try:
        with open_file(file.location) as stream:
            return parse_faces(io.BufferedReader(stream, 1 << 16))
    except NOT_A_FONT as error:
        log.warning("%s is left out, it cannot be read as a font: %s", file.uri, error)
        return ()


def parse_faces(stream: IO[bytes]) -> tuple[Face, ...]:
    """Return the faces of one font file or collection.

    Raises:
        one of NOT_A_FONT: it is neither.
    """
    is_collection = stream.read(4) == b"ttcf"
    stream.seek(0)
    fonts = TTCollection(stream, lazy=True).fonts if is_collection else [TTFont(stream, lazy=True)]
    return tuple(_describe_face(index, font) for index, font in enumerate(fonts))


def _describe_face(index: int, font: Any) -> Face:
    table = font["name"]
    used = (_FAMILY, _FULL_NAME, _TYPOGRAPHIC_FAMILY)
    family = _say(table, _TYPOGRAPHIC_FAMILY, _FAMILY)
    licences = (UNSAID_LICENCES.get(family), _say(table, _LICENCE, _LICENCE_URL, _COPYRIGHT))
    return Face(
        index=index,
        names=frozenset(fold_name(str(record)) for record in table.names if record.nameID in used),
        family=family,
        full_name=_say(table, _FULL_NAME) or family,
        version=_say(table, _VERSION),
        licence="; ".join(filter(None, licences))[:LONGEST_LICENCE],
        oddness=_measure_oddness(font),
    )


def _say(table: Any, *name_ids: int) -> str:
    """Return the first of the names that is there, in English if it can be, in one line."""
    names = (" ".join((table.getDebugName(name_id) or "").split()) for name_id in name_ids)
    return next(filter(None, names), "")


def _measure_oddness(font: Any) -> tuple[int, int, int]:
    if "OS/2" not in font:
        return (0, 0, 0)
    table = font["OS/2"]
    return (table.fsSelection & 1, abs(table.usWeightClass - 400), abs(table.usWidthClass - 5))


def split_face(uri: str) -> tuple[str, int | None]:
    """Return `fonts/batang.ttc#2` as the file and the index of the face, None where none is named."""
    found = re.fullmatch(r"(.+)#(\d+)", uri)
    if found and is_font_file(found[1]):
        return found[1], int(found[2])
    return uri, None

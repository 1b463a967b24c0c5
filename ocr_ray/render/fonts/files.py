"""Font files of this machine and of a folder, with the contents of their name tables.

Only name tables count: a file can have any name, and fontconfig's aliases report one font as another.
"""

import io
import logging
import os
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

from fontTools.ttLib import TTCollection, TTFont, TTLibError, newTable
from pyarrow.fs import LocalFileSystem

from ocr_ray.render.fonts.names import KNOWN_LICENCES, fold_name
from ocr_ray.render.fonts.request import explain_format, is_font_file
from ocr_ray.render.fonts.variation import BOLD_WEIGHT, REGULAR_WEIGHT, WEIGHT, Variation, read_variation
from ocr_ray.storage.location import Location, list_files, open_file

log = logging.getLogger(__name__)

UNREADABLE = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, ImportError, LookupError, MemoryError),
    *(OSError, RuntimeError, TypeError, ValueError, struct.error, TTLibError),
)
"""Exceptions of fontTools for a file that it cannot read, which are those of any code given wrong values."""

MAX_LICENCE_LENGTH = 200
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
    """One font of a font file, from its name table."""

    index: int
    """Index in a collection (.ttc); 0 in other files."""
    names: frozenset[str]
    """Families and full names in all languages, as `fold_name` returns them."""
    family: str
    full_name: str
    version: str
    licence: str
    """One line of at most 200 characters: the entry of KNOWN_LICENCES, then the licence in the file, else its
    URL, else the copyright."""
    style_distance: tuple[int, int, int]
    """Difference from a regular font in slant, weight and width; (0, 0, 0) is the regular one."""
    variation: Variation


@dataclass(frozen=True, slots=True, kw_only=True)
class FontFile:
    """A listed font file, identified by URI and size."""

    uri: str
    size_bytes: int
    location: Location = field(compare=False)


def list_fonts(folder: Location) -> list[FontFile]:
    """Return the font files in a folder and below it, sorted by path; warns of those in other formats."""
    sizes = list_files(folder)
    if others := [advice for path in sizes if (advice := explain_format((folder / path).uri))]:
        log.warning("font files in %s are left out, %d, the first because %s", folder, len(others), others[0])
    return [
        FontFile(uri=(folder / path).uri, size_bytes=size, location=folder / path)
        for path, size in sizes.items()
        if is_font_file(path)
    ]


def list_installed_fonts() -> list[FontFile]:
    """Return the font files of this machine: the user's own first, those that only fontconfig lists last."""
    filesystem = LocalFileSystem()
    files: dict[str, FontFile] = {}
    for path in (*_search_folders(), *_query_fontconfig()):
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


def _query_fontconfig() -> list[Path]:
    program = shutil.which("fc-list")
    if not program:
        return []
    run = subprocess.run([program, "--format", "%{file}\n"], capture_output=True, check=False)
    return sorted(Path(os.fsdecode(line)) for line in run.stdout.splitlines())


def read_faces(files: Iterable[FontFile]) -> list[tuple[FontFile, Face]]:
    """Return the faces of all files, in order; files that cannot be read are left out with a warning."""
    files = list(files)
    with ThreadPoolExecutor(16) as pool:  # on S3, each file takes a few round trips
        faces_of_files = list(pool.map(_read_file, files))
    return [(file, face) for file, faces in zip(files, faces_of_files, strict=True) for face in faces]


@cache
def _read_file(file: FontFile) -> tuple[Face, ...]:
    try:
        with open_file(file.location) as stream:
            return parse_faces(io.BufferedReader(stream, 1 << 16))
    except UNREADABLE as error:
        log.warning("%s is left out, it is not usable because %s", file.uri, describe_error(error))
        return ()


def describe_error(error: Exception) -> str:
    """Return what fontTools or FreeType say of a file, with the type of a message that is not for readers."""
    is_message = isinstance(error, ValueError | OSError | TTLibError) and str(error)
    return str(error) if is_message else f"{type(error).__name__}: {error}".removesuffix(": ")


def parse_faces(stream: IO[bytes]) -> tuple[Face, ...]:
    """Return the faces of a font file or collection.

    Raises:
        one of UNREADABLE: it cannot be read, or has no outlines.
    """
    signature = stream.read(4)
    stream.seek(0)
    if signature in (b"wOFF", b"wOF2"):
        raise ValueError(explain_format("font.woff2" if signature == b"wOF2" else "font.woff"))
    is_collection = signature == b"ttcf"
    fonts = TTCollection(stream, lazy=True).fonts if is_collection else [TTFont(stream, lazy=True)]
    return tuple(_describe_face(index, font) for index, font in enumerate(fonts))


def _describe_face(index: int, font: Any) -> Face:
    if not any(table in font for table in ("glyf", "CFF ", "CFF2")):
        raise ValueError(f"it has no outlines, only the tables {' '.join(font.keys()[1:])}")
    table = font["name"] if "name" in font else newTable("name")
    name_ids = (_FAMILY, _FULL_NAME, _TYPOGRAPHIC_FAMILY)
    family = _read_name(table, _TYPOGRAPHIC_FAMILY, _FAMILY)
    family, variation = read_variation(font, family, _read_name(table, _FULL_NAME) or family)
    names = {family, *(str(record) for record in table.names if record.nameID in name_ids)}
    names.update(name for name, _ in variation.instances)
    licences = (KNOWN_LICENCES.get(family), _read_name(table, _LICENCE, _LICENCE_URL, _COPYRIGHT))
    regular = variation.name_instance(variation.choose())
    return Face(
        index=index,
        names=frozenset(map(fold_name, names)),
        family=family,
        full_name=regular or (family if variation.axes else _read_name(table, _FULL_NAME) or family),
        version=_read_name(table, _VERSION),
        licence="; ".join(filter(None, licences))[:MAX_LICENCE_LENGTH],
        style_distance=_measure_style_distance(font, variation),
        variation=variation,
    )


def _read_name(table: Any, *name_ids: int) -> str:
    """Return the first existing name, in English if possible, on one line."""
    names = (" ".join((table.getDebugName(name_id) or "").split()) for name_id in name_ids)
    return next(filter(None, names), "")


def _measure_style_distance(font: Any, variation: Variation) -> tuple[int, int, int]:
    """By OS/2; by head for a font without it, and for a bold one whose OS/2 says weight 400."""
    mac_style = font["head"].macStyle
    is_bold, is_italic, weight, width = mac_style & 1, mac_style & 2, REGULAR_WEIGHT, 5
    if "OS/2" in font:
        table = font["OS/2"]
        is_bold |= table.fsSelection & 1 << 5
        is_italic = table.fsSelection & (1 | 1 << 9)  # bit 9 is oblique
        width = table.usWidthClass
        weight = table.usWeightClass * (100 if table.usWeightClass < 10 else 1)  # old fonts have 1 to 9
    if is_bold and weight == REGULAR_WEIGHT:
        weight = BOLD_WEIGHT
    weight = dict(variation.choose()).get(WEIGHT, weight)
    return (int(is_italic > 0), abs(round(weight - REGULAR_WEIGHT)), abs(width - 5))

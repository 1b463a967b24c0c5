"""Finds fonts by name, on this machine or in a folder, and reads them.

A `Font` contains the file's content, because the path on the driver does not exist on a worker node.
"""

import hashlib
import io
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path

from fontTools.ttLib import TTFont

from ocr_ray.errors import InputError
from ocr_ray.render.fonts.files import (
    NOT_A_FONT,
    Face,
    FontFile,
    is_font_file,
    list_fonts,
    list_installed_fonts,
    parse_faces,
    read_faces,
    split_face,
)
from ocr_ray.render.fonts.names import SUBSTITUTES, Substitute, all_names, fold_name
from ocr_ray.storage.location import Location, exists, locate, read_bytes, require_folder

log = logging.getLogger(__name__)

DEFAULT_FONTS = ("바탕", "맑은 고딕", "굴림")

_FontIndex = list[tuple[FontFile, Face]]
"""Faces of one location. Locations are searched in order: the given folder, then this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Font:
    """A font file's content under the requested name."""

    name: str
    file_name: str
    content: bytes = field(repr=False, compare=False)
    face: int = 0
    """Index of the font in a collection (.ttc)."""
    is_substitute: bool = False
    """Whether it replaces the requested family, as listed in SUBSTITUTES."""
    sha256: str = field(init=False)
    """Hash of the content."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", hashlib.sha256(self.content).hexdigest())

    def characters(self) -> frozenset[str]:
        """Return the characters in the font's cmap."""
        return _characters(self.content, self.face)

    @property
    def family(self) -> str:
        """The font's own family name, in English if it has one."""
        return _parse_faces(self.content)[self.face].family

    @property
    def version(self) -> str:
        return _parse_faces(self.content)[self.face].version

    @property
    def licence(self) -> str:
        """One line of at most 200 characters; empty if the font names none."""
        return _parse_faces(self.content)[self.face].licence


@cache
def _characters(content: bytes, face: int) -> frozenset[str]:
    with TTFont(io.BytesIO(content), fontNumber=face, lazy=True) as font:
        return frozenset(map(chr, font.getBestCmap() or ()))


@cache
def _parse_faces(content: bytes) -> tuple[Face, ...]:
    return parse_faces(io.BytesIO(content))


def describe_font(font: Font) -> dict[str, str | int | bool]:
    """Return what a manifest records of a font; the file's path is left out, as it is valid only here."""
    return {
        "name": font.name,
        "family": font.family,
        "version": font.version,
        "licence": font.licence,
        "file": font.file_name,
        "face": font.face,
        "sha256": font.sha256,
        "stands_in": font.is_substitute,
    }


def find_fonts(names: Iterable[str], *, folder: Location | None = None) -> list[Font]:
    """Return the requested fonts, in order.

    A name is a family in any language (`굴림체`), a file (`batang.ttc`, or `batang.ttc#2` for one of its
    faces), `NAME=URI` of a file, or a folder with a final slash, for all its fonts, each under its family.
    Families and file names without a folder are searched in `folder` first, then on this machine. A missing
    family is replaced as listed in SUBSTITUTES, with a warning.

    Raises:
        InputError: a font is missing or invalid, or a name or font occurs twice; it says what to install.
    """
    indexes = _index_fonts(folder)
    fonts = [font for name in names for font in _find(name, indexes)]
    font_names = [font.name for font in fonts]
    if not font_names or len(set(font_names)) < len(font_names):
        raise InputError(f"--fonts must name at least one font and none twice, got {font_names}")
    seen: dict[tuple[str, int], Font] = {}
    for font in fonts:
        same = seen.setdefault((font.sha256, font.face), font)
        if same is not font:
            raise InputError(
                f"--fonts must be different fonts, {same.name!r} and {font.name!r} are both {font.family} "
                f"({font.file_name}); leave one out"
            )
    return fonts


def find_available_fonts(names: Iterable[str]) -> list[Font]:
    """Return the fonts that are installed, with a warning for each missing one.

    Raises:
        InputError: all of them are missing.
    """
    indexes = _index_fonts(None)
    fonts = []
    for name in names:
        try:
            fonts += _find(name, indexes)
        except InputError as error:
            log.warning("continuing without a font: %s", error)
    if not fonts:
        raise InputError(f"none of the fonts {list(names)} is installed; apt-get install fonts-nanum")
    return fonts


def shared_characters(fonts: Iterable[Font]) -> frozenset[str]:
    """Return the characters that every font has."""
    return frozenset.intersection(*(font.characters() for font in fonts))


def _index_fonts(folder: Location | None) -> list[_FontIndex]:
    in_folder = [list_fonts(folder)] if folder else []
    return [read_faces(files) for files in (*in_folder, list_installed_fonts())]


def _find(spec: str, indexes: Sequence[_FontIndex]) -> list[Font]:
    name, equals, uri = spec.partition("=")
    if equals and "/" not in name:  # otherwise the `=` is part of a path
        if not name:
            raise InputError(f"--fonts must be a name, a file, a folder/ or NAME=URI, got {spec!r}")
        path, face = split_face(uri)
        return [_read_font(locate(path), face, name=name)]
    path, face = split_face(spec)
    if is_font_file(path):
        stem = Path(path).stem
        return [_read_font(_find_file(path, indexes), face, name=stem if face is None else f"{stem}#{face}")]
    if "/" in spec:
        return _read_folder(require_folder(spec, "--fonts"))
    return [_find_family(spec, indexes)]


def _find_file(path: str, indexes: Sequence[_FontIndex]) -> Location:
    """Return the location of a file; a name without a folder is searched like a family."""
    as_given = locate(path)
    if "/" in path:
        return as_given
    *in_folder, installed = ([file.location for file, _ in index] for index in indexes)
    candidates = [*chain.from_iterable(in_folder), *[as_given] * exists(as_given), *installed]
    return next((file for file in candidates if file.name.casefold() == path.casefold()), as_given)


def _read_folder(folder: Location) -> list[Font]:
    """Return all fonts of a folder; the regular one of a family has the family's name, others their own."""
    index = read_faces(list_fonts(folder))
    if not index:
        raise InputError(f"--fonts must name a folder of .ttf, .ttc or .otf, there are none in {folder}")
    fonts = []
    for file, face in index:
        regular = min((entry for entry in index if entry[1].family == face.family), key=_style_distance)
        name = face.family if regular == (file, face) else face.full_name
        fonts.append(_read_font(file.location, face.index, name=name))
    return fonts


def _find_family(name: str, indexes: Sequence[_FontIndex]) -> Font:
    names = all_names(name)
    substitute = SUBSTITUTES.get(names[0])
    for family in (None, *(substitute.families if substitute else ())):
        entry = _match([family] if family else names, indexes)
        if not entry:
            continue
        file, face = entry
        if family:
            log.warning(
                "%s: replaced by %s (%s); for the original: --fonts '%s=/path'", name, family, file.uri, name
            )
        return _read_font(file.location, face.index, name=name, is_substitute=family is not None)
    raise InputError(_describe_missing(name, names, substitute))


def _match(names: Sequence[str], indexes: Sequence[_FontIndex]) -> tuple[FontFile, Face] | None:
    """Return the most regular font with one of the names, in the first location that has one."""
    folded_names = set(map(fold_name, names))
    for index in indexes:
        if entries := [entry for entry in index if folded_names & entry[1].names]:
            return min(entries, key=_style_distance)
    return None


def _style_distance(entry: tuple[FontFile, Face]) -> tuple[int, int, int]:
    return entry[1].style_distance


def _describe_missing(name: str, names: Sequence[str], substitute: Substitute | None) -> str:
    searched = ", ".join((*names, *(substitute.families if substitute else ())))
    remedies = [f"apt-get install {substitute.package}"] if substitute else []
    remedies.append(f"give its file: --fonts '{name}=/path/to/font.ttf'")
    if Path(name).is_dir():
        remedies.append(f"write the folder of this name as '{name}/'")
    return f"font {name!r} must be installed, none is called {searched}; {', or '.join(remedies)}"


def _read_font(location: Location, face: int | None, *, name: str, is_substitute: bool = False) -> Font:
    try:
        content = read_bytes(location)
    except OSError as error:
        raise InputError(f"font {name!r} must be a file, there is no file at {location}: {error}") from error
    try:
        faces = _parse_faces(content)
        index = _choose_face(faces, name) if face is None else face
        num_characters = len(_characters(content, index)) if index < len(faces) else 0
    except NOT_A_FONT as error:
        raise InputError(f"font {name!r} must be a .ttf, .ttc or .otf, {location} is not: {error}") from error
    if index >= len(faces):
        raise InputError(f"font {name!r} must be a face of {location}: {_list_faces(faces)}; got #{index}")
    log.info("font %s: %s in %s, %d characters", name, faces[index].full_name, location, num_characters)
    return Font(name=name, file_name=location.name, content=content, face=index, is_substitute=is_substitute)


def _choose_face(faces: Sequence[Face], name: str) -> int:
    """Return the face of a collection with the name, as batang.ttc also contains BatangChe and Gungsuh."""
    named = [face for face in faces if face.names & set(map(fold_name, all_names(name)))]
    if not named and len(faces) > 1:
        log.warning("font %s: no face has that name, using #0 of %s", name, _list_faces(faces))
    return min(named or faces[:1], key=lambda face: face.style_distance).index


def _list_faces(faces: Sequence[Face]) -> str:
    return ", ".join(f"#{face.index} {face.full_name}" for face in faces)

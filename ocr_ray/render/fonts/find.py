"""Fonts by name: found here or in a folder, read as bytes, their characters known.

The path of a font on the driver does not exist on a worker node, so that a `Font` carries the file's content.
"""

import hashlib
import io
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
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

_Shelf = list[tuple[FontFile, Face]]
"""The faces of one place. Places are searched in order: the folder given, then this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Font:
    """A font file's content under the name that was asked for."""

    name: str
    file_name: str
    content: bytes = field(repr=False, compare=False)
    face: int = 0
    """Which font of a collection (.ttc)."""
    stands_in: bool = False
    """Whether it is another family than the one asked for, after SUBSTITUTES."""
    sha256: str = field(init=False)
    """Of the content."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", hashlib.sha256(self.content).hexdigest())

    def characters(self) -> frozenset[str]:
        """Return the characters that the font has glyphs for, after its cmap."""
        return _characters(self.content, self.face)

    @property
    def family(self) -> str:
        """What the font calls itself, in English if it does."""
        return _parse_faces(self.content)[self.face].family

    @property
    def version(self) -> str:
        return _parse_faces(self.content)[self.face].version

    @property
    def licence(self) -> str:
        """One line, at most 200 characters; empty where the font says nothing."""
        return _parse_faces(self.content)[self.face].licence


@cache
def _characters(content: bytes, face: int) -> frozenset[str]:
    with TTFont(io.BytesIO(content), fontNumber=face, lazy=True) as font:
        return frozenset(map(chr, font.getBestCmap() or ()))


@cache
def _parse_faces(content: bytes) -> tuple[Face, ...]:
    return parse_faces(io.BytesIO(content))


def describe(font: Font) -> dict[str, str | int | bool]:
    """Return what a manifest records of a font; a file's path is of this machine alone and left out."""
    return {
        "name": font.name,
        "family": font.family,
        "version": font.version,
        "licence": font.licence,
        "file": font.file_name,
        "face": font.face,
        "sha256": font.sha256,
        "stands_in": font.stands_in,
    }


def find_fonts(names: Iterable[str], *, folder: Location | None = None) -> list[Font]:
    """Return the fonts asked for, in order.

    Each is a family in any language (`굴림체`), a file (`batang.ttc`, or `batang.ttc#2` for a face of it),
    `NAME=URI` of a file, or a folder, written with a slash: all its fonts, each under its family.
    Families and bare file names are looked for in `folder` first, then on this machine. A family that is
    in neither is replaced after SUBSTITUTES, with a warning.

    Raises:
        InputError: one is not found or no font, or a name or font comes twice; it says what to install.
    """
    shelves = _open_shelves(folder)
    fonts = [font for name in names for font in _find(name, shelves)]
    found = [font.name for font in fonts]
    if not found or len(set(found)) < len(found):
        raise InputError(f"--fonts must name at least one font and none twice, got {found}")
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
    """Return those of the fonts that are here, with a warning that names each missing one.

    Raises:
        InputError: none of them is.
    """
    shelves = _open_shelves(None)
    fonts = []
    for name in names:
        try:
            fonts += _find(name, shelves)
        except InputError as error:
            log.warning("going on without a font: %s", error)
    if not fonts:
        raise InputError(f"none of the fonts {list(names)} is installed; apt-get install fonts-nanum")
    return fonts


def shared_characters(fonts: Iterable[Font]) -> frozenset[str]:
    """Return the characters that every font has, so that text and font can be drawn independently."""
    return frozenset.intersection(*(font.characters() for font in fonts))


def _open_shelves(folder: Location | None) -> list[_Shelf]:
    places = [list_fonts(folder)] if folder else []
    return [read_faces(place) for place in (*places, list_installed_fonts())]


def _find(spec: str, shelves: Sequence[_Shelf]) -> list[Font]:
    name, equals, uri = spec.partition("=")
    if equals and "/" not in name:  # else the `=` is the path's
        if not name:
            raise InputError(f"--fonts must be a name, a file, a folder/ or NAME=URI, got {spec!r}")
        path, face = split_face(uri)
        return [_read_font(locate(path), face, name=name)]
    path, face = split_face(spec)
    if is_font_file(path):
        stem = Path(path).stem
        return [_read_font(_find_file(path, shelves), face, name=stem if face is None else f"{stem}#{face}")]
    if "/" in spec:
        return _read_folder(require_folder(spec, "--fonts"))
    return [_find_family(spec, shelves)]


def _find_file(path: str, shelves: Sequence[_Shelf]) -> Location:
    """Return where a file is: as given or, if without a folder, wherever fonts are looked for."""
    here = locate(path)
    if "/" in path:
        return here
    *folders, machine = ([file.location for file, _ in shelf] for shelf in shelves)
    places = [location for folder in folders for location in folder] + [here] * exists(here) + machine
    return next((place for place in places if place.name.casefold() == path.casefold()), here)


def _read_folder(folder: Location) -> list[Font]:
    """Return all fonts of a folder: the regular of a family by the family's name, others by their own."""
    shelf = read_faces(list_fonts(folder))
    if not shelf:
        raise InputError(f"--fonts must name a folder of .ttf, .ttc or .otf, there are none in {folder}")
    fonts = []
    for file, face in shelf:
        regular = min((other for other in shelf if other[1].family == face.family), key=_oddness)
        name = face.family if regular == (file, face) else face.full_name
        fonts.append(_read_font(file.location, face.index, name=name))
    return fonts


def _find_family(name: str, shelves: Sequence[_Shelf]) -> Font:
    names = all_names(name)
    substitute = SUBSTITUTES.get(names[0])
    for family in (None, *(substitute.families if substitute else ())):
        found = _match([family] if family else names, shelves)
        if not found:
            continue
        file, face = found
        if family:
            log.warning(
                "%s: %s stands in (%s); for the original: --fonts '%s=/path'", name, family, file.uri, name
            )
        return _read_font(file.location, face.index, name=name, stands_in=family is not None)
    raise InputError(_say_missing(name, names, substitute))


def _match(names: Sequence[str], shelves: Sequence[_Shelf]) -> tuple[FontFile, Face] | None:
    """Return the most regular font of these names in the first place that has one."""
    wanted = set(map(fold_name, names))
    for shelf in shelves:
        if found := [entry for entry in shelf if wanted & entry[1].names]:
            return min(found, key=_oddness)
    return None


def _oddness(entry: tuple[FontFile, Face]) -> tuple[int, int, int]:
    return entry[1].oddness


def _say_missing(name: str, names: Sequence[str], substitute: Substitute | None) -> str:
    looked_for = ", ".join((*names, *(substitute.families if substitute else ())))
    remedies = [f"apt-get install {substitute.package}"] if substitute else []
    remedies.append(f"give its file: --fonts '{name}=/path/to/font.ttf'")
    if Path(name).is_dir():
        remedies.append(f"write the folder of this name as '{name}/'")
    return f"font {name!r} must be installed, none is called {looked_for}; {', or '.join(remedies)}"


def _read_font(location: Location, face: int | None, *, name: str, stands_in: bool = False) -> Font:
    try:
        content = read_bytes(location)
    except OSError as error:
        raise InputError(f"font {name!r} must be a file, there is none at {location}: {error}") from error
    try:
        faces = _parse_faces(content)
        index = _choose_face(faces, name) if face is None else face
        num_characters = len(_characters(content, index)) if index < len(faces) else 0
    except NOT_A_FONT as error:
        raise InputError(f"font {name!r} must be a .ttf, .ttc or .otf, {location} is not: {error}") from error
    if index >= len(faces):
        raise InputError(f"font {name!r} must be a face of {location}: {_list_faces(faces)}; got #{index}")
    log.info("font %s: %s in %s, %d characters", name, faces[index].full_name, location, num_characters)
    return Font(name=name, file_name=location.name, content=content, face=index, stands_in=stands_in)


def _choose_face(faces: Sequence[Face], name: str) -> int:
    """Return the face of a collection that has the name: batang.ttc holds BatangChe and Gungsuh too."""
    named = [face for face in faces if face.names & set(map(fold_name, all_names(name)))]
    if not named and len(faces) > 1:
        log.warning("font %s: no face has the name, #0 is taken of %s", name, _list_faces(faces))
    return min(named or faces[:1], key=lambda face: face.oddness).index


def _list_faces(faces: Sequence[Face]) -> str:
    return ", ".join(f"#{face.index} {face.full_name}" for face in faces)

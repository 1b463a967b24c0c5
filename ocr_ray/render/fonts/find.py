"""Finds fonts by name, on this machine or in a folder, and reads them.

A `Font` contains the file's content, because the path on the driver does not exist on a worker node.
"""

import hashlib
import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from fontTools.ttLib import TTFont
from PIL import Image, ImageFont

from ocr_ray.errors import InputError
from ocr_ray.render.fonts.files import (
    UNREADABLE,
    Face,
    FontFile,
    describe_error,
    list_fonts,
    list_installed_fonts,
    parse_faces,
    read_faces,
)
from ocr_ray.render.fonts.names import SUBSTITUTES, Substitute, all_names, fold_name
from ocr_ray.render.fonts.request import (
    AxisValues,
    FontRequest,
    explain_format,
    is_font_file,
    parse_request,
)
from ocr_ray.render.fonts.variation import format_axes
from ocr_ray.storage.location import Location, exists, locate, read_bytes, require_folder

log = logging.getLogger(__name__)

DEFAULT_FONTS = ("바탕", "맑은 고딕", "굴림")
UNDRAWABLE = (ArithmeticError, MemoryError, OSError, ValueError, Image.DecompressionBombError)
"""Exceptions of FreeType and Pillow for a font or a glyph that they cannot draw."""
_TEST_SIZE_PX = 48

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
    axes: AxisValues = ()
    """The value of each axis of a variable font, in the order of the file; without them the default instance
    would be drawn."""
    is_substitute: bool = False
    """Whether it replaces the requested family, as listed in SUBSTITUTES."""
    sha256: str = field(init=False)
    """Hash of the content."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", hashlib.sha256(self.content).hexdigest())

    @property
    def key(self) -> str:
        """What identifies the pixels: the hash of the content, the face and the axes."""
        return f"{self.sha256}#{self.face}{self.axes}"

    def characters(self) -> frozenset[str]:
        """Return the characters in the font's cmap."""
        return _characters(self.content, self.face)

    def open(
        self, size_px: int, kind: type[ImageFont.FreeTypeFont] = ImageFont.FreeTypeFont
    ) -> ImageFont.FreeTypeFont:
        """Return the font for Pillow, at its axes; every drawing of a font uses this.

        Raises:
            one of UNDRAWABLE: FreeType cannot use it.
        """
        content = io.BytesIO(self.content)
        opened = kind(content, size_px, self.face, layout_engine=ImageFont.Layout.BASIC)
        if self.axes:
            opened.set_variation_by_axes([value for _, value in self.axes])
        return opened

    @property
    def family(self) -> str:
        """The font's own family name, in English if it has one."""
        return _parse_faces(self.content)[self.face].family

    @property
    def full_name(self) -> str:
        """The name of the face and, for a variable font, of the instance or else its axes."""
        face = _parse_faces(self.content)[self.face]
        instance = face.variation.name_instance(self.axes) or f"{face.family} {format_axes(self.axes)}"
        return instance if self.axes else face.full_name

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


def identify_font(font: Font) -> dict[str, Any]:
    """Return what determines the pixels of a font, for a plan; `axes` only if it is variable."""
    identity = {"sha256": font.sha256, "face": font.face}
    return {**identity, "axes": dict(font.axes)} if font.axes else identity


def describe_font(font: Font) -> dict[str, Any]:
    """Return what a manifest records of a font; the file's path is left out, as it is valid only here."""
    return {
        "name": font.name,
        "family": font.family,
        "full_name": font.full_name,
        "version": font.version,
        "licence": font.licence,
        "file": font.file_name,
        **identify_font(font),
        "stands_in": font.is_substitute,
    }


def find_fonts(names: Iterable[str], *, folder: Location | None = None) -> list[Font]:
    """Return the requested fonts, in order.

    A name is a family in any language (`굴림체`), a file (`batang.ttc`, or `batang.ttc#2` for one of its
    faces), `NAME=URI` of a file, or a folder with a final slash, for all its fonts, each under its family.
    Families and file names without a folder are searched in `folder` first, then on this machine. A missing
    family is replaced as listed in SUBSTITUTES, with a warning. Of several faces or weights the regular one
    is taken; `#wght=700` chooses another instance of a variable font.

    Raises:
        InputError: a font is missing or invalid, or a name or font occurs twice; it says what to install.
    """
    indexes = _index_fonts(folder)
    fonts = [font for name in names for font in _find(name, indexes)]
    if not fonts:
        raise InputError("--fonts must name at least one font, got none")
    by_name: dict[str, Font] = {}
    seen: dict[str, Font] = {}
    for font in fonts:
        other = by_name.setdefault(font.name, font)
        if other is not font:
            raise InputError(
                f"--fonts must name none twice, got {font.name!r} of {other.file_name} and {font.file_name}; "
                "leave one out, or give it another name: NAME=URI"
            )
        same = seen.setdefault(font.key, font)
        if same is not font:
            raise InputError(
                f"--fonts must be different fonts, {same.name!r} and {font.name!r} are both {font.family} "
                f"({font.file_name}); leave one out"
            )
    log.debug("fonts: %s", ", ".join(map(_describe_briefly, fonts)))
    return fonts


def _describe_briefly(font: Font) -> str:
    return f"{font.name} (replaced by {font.family})" if font.is_substitute else font.name


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


def _find(text: str, indexes: Sequence[_FontIndex]) -> list[Font]:
    request = parse_request(text)
    source = request.source
    if not source.endswith("/") and (advice := explain_format(source)):
        raise InputError(f"--fonts must name .ttf, .ttc, .otf or .otc files, got {text!r}: {advice}")
    if request.name is not None:
        return [_read_font(locate(source, "--fonts"), request, name=request.name)]
    if is_font_file(source):
        return [_read_font(_find_file(source, indexes), request, name=Path(source).stem + request.suffix)]
    if "/" in source:
        return _read_folder(require_folder(source, "--fonts"), request)
    return [_find_family(request, indexes)]


def _find_file(path: str, indexes: Sequence[_FontIndex]) -> Location:
    """Return the location of a file; a name without a folder is searched like a family."""
    as_given = locate(path, "--fonts")
    if "/" in path:
        return as_given
    *in_folder, installed = ([file.location for file, _ in index] for index in indexes)
    candidates = [*chain.from_iterable(in_folder), *[as_given] * exists(as_given), *installed]
    return next((file for file in candidates if file.name.casefold() == path.casefold()), as_given)


def _read_folder(folder: Location, request: FontRequest) -> list[Font]:
    """Return all usable fonts of a folder; the regular one of a family has its name, others their own."""
    index = read_faces(list_fonts(folder))
    fonts = []
    for file, face in index:
        regular = min((entry for entry in index if entry[1].family == face.family), key=_style_distance)
        name = face.family if regular == (file, face) else face.full_name
        name = name or Path(file.location.name).stem
        try:
            fonts.append(_read_font(file.location, replace(request, face=face.index), name=name))
        except InputError as error:
            log.warning("%s is left out: %s", file.uri, error)
    if not fonts:
        raise InputError(
            f"--fonts must name a folder of .ttf, .ttc or .otf, there are none in {folder} that can be used"
        )
    return fonts


def _find_family(request: FontRequest, indexes: Sequence[_FontIndex]) -> Font:
    """Return the first usable font of a family, or of its substitutes if there is none of that name."""
    family = request.source
    names = all_names(family)
    substitute = SUBSTITUTES.get(names[0])
    for replacement in (None, *(substitute.families if substitute else ())):
        errors = []
        for file, face in _match([replacement] if replacement else names, indexes):
            try:
                font = _read_font(
                    file.location,
                    replace(request, face=face.index),
                    name=family + request.suffix,
                    is_substitute=replacement is not None,
                )
            except InputError as error:
                errors.append(error)
                continue
            for left_out in errors:
                log.warning("a font is left out: %s", left_out)
            if replacement:
                log.warning(
                    "%s: replaced by %s (%s); for the original: --fonts '%s=/path'",
                    *(family, replacement, file.uri, family),
                    extra={"detail": True},
                )
            return font
        if errors:
            raise errors[0]
    raise InputError(_describe_missing(family, names, substitute))


def _match(names: Sequence[str], indexes: Sequence[_FontIndex]) -> Iterator[tuple[FontFile, Face]]:
    """Yield the fonts with one of the names, the most regular of the first location first."""
    folded_names = set(map(fold_name, names))
    for index in indexes:
        yield from sorted((entry for entry in index if folded_names & entry[1].names), key=_style_distance)


def _style_distance(entry: tuple[FontFile, Face]) -> tuple[int, int, int]:
    return entry[1].style_distance


def _describe_missing(name: str, names: Sequence[str], substitute: Substitute | None) -> str:
    searched = ", ".join((*names, *(substitute.families if substitute else ())))
    remedies = [f"apt-get install {substitute.package}"] if substitute else []
    remedies.append(f"give its file: --fonts '{name}=/path/to/font.ttf'")
    if Path(name).is_dir():
        remedies.append(f"write the folder of this name as '{name}/'")
    return f"font {name!r} must be installed, none is called {searched}; {', or '.join(remedies)}"


def _read_font(location: Location, request: FontRequest, *, name: str, is_substitute: bool = False) -> Font:
    """Return the font of a file, at the face and axes of the request or else the regular ones.

    Raises:
        InputError: the file is missing or not usable, or has no such face or axes.
    """
    try:
        content = read_bytes(location)
    except OSError as error:
        raise InputError(f"font {name!r} must be a file, there is no file at {location}: {error}") from error
    with _require_usable(name, location):
        faces = _parse_faces(content)
    index = _choose_face(faces, name) if request.face is None else request.face
    if index >= len(faces):
        raise InputError(f"font {name!r} must be a face of {location}: {_list_faces(faces)}; got #{index}")
    try:
        axes = faces[index].variation.choose(request.axes, name.removesuffix(request.suffix))
    except ValueError as error:
        raise InputError(f"font {name!r} must be within the axes of {location}, {error}") from error
    font = Font(
        name=name,
        file_name=location.name,
        content=content,
        face=index,
        axes=axes,
        is_substitute=is_substitute,
    )
    with _require_usable(name, location):
        num_characters = _count_usable(font)
    log.info(
        "font %s: %s in %s, %d characters",
        *(name, _describe_choice(font, faces), location, num_characters),
        extra={"detail": True},
    )
    return font


@contextmanager
def _require_usable(name: str, location: Location) -> Iterator[None]:
    """Turn whatever fontTools and FreeType raise for a file into an InputError."""
    try:
        yield
    except (*UNREADABLE, *UNDRAWABLE) as error:
        raise InputError(
            f"font {name!r} must be a .ttf, .ttc or .otf with outlines, {location} is not usable because "
            f"{describe_error(error)}"
        ) from error


def _count_usable(font: Font) -> int:
    """Return the number of characters of a font that FreeType can open; ValueError if there are none."""
    font.open(_TEST_SIZE_PX)
    if not (characters := font.characters()):
        raise ValueError("its cmap has no Unicode characters")
    return len(characters)


def _describe_choice(font: Font, faces: Sequence[Face]) -> str:
    """Return the name of a font and, if the file has others, which of them it is."""
    variation = faces[font.face].variation
    notes = [f"face #{font.face} of {len(faces)}"] * (len(faces) > 1)
    notes += [f"{format_axes(font.axes)}, its axes: {variation.describe_axes()}"] * bool(font.axes)
    return font.full_name + (f" ({'; '.join(notes)})" if notes else "")


def _choose_face(faces: Sequence[Face], name: str) -> int:
    """Return the face of a collection with the name, as batang.ttc also contains BatangChe and Gungsuh.

    Of several, and if none has the name, it is the most regular one.
    """
    named = [face for face in faces if face.names & set(map(fold_name, all_names(name)))]
    index = min(named or faces, key=lambda face: face.style_distance).index
    if not named and len(faces) > 1:
        log.warning("font %s: no face has that name, using #%d of %s", name, index, _list_faces(faces))
    return index


def _list_faces(faces: Sequence[Face]) -> str:
    return ", ".join(f"#{face.index} {face.full_name}" for face in faces)

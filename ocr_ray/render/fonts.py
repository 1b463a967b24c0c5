"""Fonts by name: found on this machine, read as bytes, their characters known.

The path of a font on the driver does not exist on a worker node, so that a `Font` carries the file's content.
"""

import hashlib
import io
import logging
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from fontTools.ttLib import TTCollection, TTFont, TTLibError

from ocr_ray.errors import InputError
from ocr_ray.storage import exists, locate, read_bytes

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFont:
    """A font that may be asked for by name, and the files that are it or stand in for it, best first."""

    families: tuple[str, ...]
    """The names it goes by; the first is also the family looked for in a collection."""
    files: tuple[str, ...]
    package: str
    """The Debian package that has the stand-in."""


# The Microsoft fonts are proprietary; the free stand-ins have all 11,172 Hangul syllables.
KNOWN_FONTS = (
    KnownFont(
        families=("Batang", "바탕"),
        files=("batang.ttc", "batang.ttf", "UnBatang.ttf"),
        package="fonts-baekmuk",
    ),
    KnownFont(
        families=("Malgun Gothic", "맑은 고딕"),
        files=("malgun.ttf", "NanumGothic.ttf", "NanumBarunGothic.ttf"),
        package="fonts-nanum",
    ),
    KnownFont(
        families=("Gulim", "굴림"),
        files=("gulim.ttc", "gulim.ttf"),
        package="fonts-baekmuk",
    ),
)
DEFAULT_FONTS = ("바탕", "맑은 고딕", "굴림")
_FONT_ENDINGS = (".ttf", ".ttc", ".otf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Font:
    """A font file's content under the name that was asked for."""

    name: str
    file_name: str
    content: bytes = field(repr=False)
    face: int = 0
    """Which font of a collection (.ttc)."""
    sha256: str = field(init=False)
    """Of the content."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", hashlib.sha256(self.content).hexdigest())

    def characters(self) -> frozenset[str]:
        """Return the characters that the font has glyphs for, after its cmap."""
        return _characters(self.content, self.face)


@cache
def _characters(content: bytes, face: int) -> frozenset[str]:
    with TTFont(io.BytesIO(content), fontNumber=face, lazy=True) as font:
        return frozenset(map(chr, font.getBestCmap()))


def find_fonts(names: Iterable[str]) -> list[Font]:
    """Return the fonts asked for, each `NAME` or `NAME=URI-of-a-.ttf-.ttc-or-.otf`.

    Raises:
        InputError: one is not found or no font, or a name comes twice; the message says what to install.
    """
    fonts = [_find_font(name) for name in names]
    found = [font.name for font in fonts]
    if not found or len(set(found)) < len(found):
        raise InputError(f"--fonts must name at least one font and none twice, got {found}")
    return fonts


def find_available_fonts(names: Iterable[str]) -> list[Font]:
    """Return those of the fonts that are here, with a warning that names each missing one.

    Raises:
        InputError: none of them is.
    """
    fonts = []
    for name in names:
        try:
            fonts.append(_find_font(name))
        except InputError as error:
            log.warning("going on without a font: %s", error)
    if not fonts:
        raise InputError(f"none of the fonts {list(names)} is installed; apt-get install fonts-nanum")
    return fonts


def shared_characters(fonts: Iterable[Font]) -> frozenset[str]:
    """Return the characters that every font has, so that text and font can be drawn independently."""
    return frozenset.intersection(*(font.characters() for font in fonts))


def _find_font(spec: str) -> Font:
    name, _, uri = spec.partition("=")
    if uri or name.lower().endswith(_FONT_ENDINGS):
        return _read_font(name if uri else Path(name).stem, uri or name)
    known = next((k for k in KNOWN_FONTS if name.casefold() in map(str.casefold, k.families)), None)
    files = _installed_fonts()
    candidates = known.files if known else [f"{name}{ending}" for ending in _FONT_ENDINGS]
    for file in candidates:
        if path := files.get(file.casefold()):
            return _read_font(name, str(path), families=known.families if known else (name,))
    hint = f"apt-get install {known.package}, or " if known else ""
    raise InputError(
        f"font {name!r} must be installed, none of {', '.join(candidates)} was found; "
        f"{hint}give its file: --fonts '{name}=/path/to/font.ttf'"
    )


def _read_font(name: str, uri: str, *, families: tuple[str, ...] = ()) -> Font:
    location = locate(uri)
    if not exists(location):
        raise InputError(f"font {name!r} must be a file, there is none at {location}")
    content = read_bytes(location)
    try:
        face = _find_face(content, families or (name,))
        font = Font(name=name, file_name=location.name, content=content, face=face)
        font.characters()
    except (TTLibError, struct.error, KeyError, AssertionError) as error:
        raise InputError(f"font {name!r} must be a .ttf, .ttc or .otf, {location} is not: {error}") from error
    log.info("font %s: %s", name, location)
    return font


def _find_face(content: bytes, families: tuple[str, ...]) -> int:
    """Return the index of a family in a collection: batang.ttc holds BatangChe and Gungsuh too."""
    if not content.startswith(b"ttcf"):
        return 0
    with TTCollection(io.BytesIO(content), lazy=True) as collection:
        for index, font in enumerate(collection):
            if {str(record) for record in font["name"].names if record.nameID == 1} & set(families):
                return index
    return 0


@cache
def _installed_fonts() -> dict[str, Path]:
    """Return the font files of this machine by their lower-case name; earlier folders win."""
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
    paths = (path for folder in folders if folder.is_dir() for path in sorted(folder.rglob("*.*")))
    fonts: dict[str, Path] = {}
    for path in paths:
        if path.suffix.casefold() in _FONT_ENDINGS:
            fonts.setdefault(path.name.casefold(), path)
    return fonts

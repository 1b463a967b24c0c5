"""What a value of `--fonts` asks for: a family, a file or a folder, and after a `#` a face or axes."""

import re
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from ocr_ray.errors import InputError
from ocr_ray.storage.uri import check_name

FONT_ENDINGS = (".ttf", ".ttc", ".otf", ".otc")
_FONTTOOLS = "fonttools ttLib -o {1} {0}"
_FONTFORGE = "convert it: fontforge -lang=ff -c 'Open($1); Generate($2)' {0} {1}"
_BITMAPS = "it has bitmaps only; choose a font with outlines"
_ARCHIVES = (".zip", ".7z", ".gz", ".tar", ".tgz", ".xz", ".bz2", ".rar", ".alz", ".egg")
OTHER_FORMATS = {
    ".woff2": f"convert it: pip install fonttools brotli; {_FONTTOOLS}",
    ".woff": f"convert it: {_FONTTOOLS}",
    ".eot": "convert it with eot2ttf of libeot, or take the .ttf that it was made from",
    **dict.fromkeys((".pfb", ".pfa", ".t1", ".svg", ".dfont", ".sfd"), _FONTFORGE),
    **dict.fromkeys((".pcf", ".bdf", ".fon", ".otb"), _BITMAPS),
    **dict.fromkeys((".pfm", ".afm"), "it has metrics only; take the .pfb"),
    **dict.fromkeys(_ARCHIVES, "unpack it, and give the files or their folder"),
}
"""Endings of font files that are not read, and what to do: {0} is the path, {1} the same with `.ttf`."""

_ENDINGS = "|".join(map(re.escape, (*FONT_ENDINGS, *OTHER_FORMATS)))
_FILE_WITH_CHOICE = re.compile(rf"(.+(?:{_ENDINGS}))#([^/#]*)", re.IGNORECASE)
_FAMILY_WITH_CHOICE = re.compile(r"([^/#]+)#([^/#]*=[^/#]*)")
_AXIS = re.compile(r"([!-~][ -~]{0,3})=([+-]?[0-9]{1,6}(?:\.[0-9]{1,6})?)")

AxisValues = tuple[tuple[str, float], ...]
"""Tags and values of axes of a variable font."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FontRequest:
    """A value of `--fonts` in its parts, `NAME=SOURCE#2,wght=700`."""

    name: str | None
    """The name before the `=`."""
    source: str
    """A family, a file or a folder."""
    suffix: str
    """The `#` and what follows it; empty if there is none."""
    face: int | None
    """The face of a collection that the suffix chooses."""
    axes: AxisValues
    """The axes of a variable font that the suffix chooses."""


def is_font_file(path: str) -> bool:
    """Return whether a path has the ending of a font file, in upper or lower case."""
    return path.casefold().endswith(FONT_ENDINGS)


def parse_request(text: str) -> FontRequest:
    """Return what a value of `--fonts` asks for.

    Files and folders can have a `#` in their names: a choice begins only after the ending of a font file, or
    in a family where an axis follows.

    Raises:
        InputError: the name before a `=` is empty, or what follows a `#` is neither a number nor axes.
    """
    match = None
    if not is_font_file(text):
        match = _FILE_WITH_CHOICE.fullmatch(text) or _FAMILY_WITH_CHOICE.fullmatch(text)
    named = match[1] if match else text
    face, axes = _parse_choice(match[2], text) if match else (None, ())
    name, equals, source = named.partition("=")
    if not equals or "/" in name:  # then the `=` is part of a path
        name, source = None, named
    if name == "":
        raise InputError(f"--fonts must be a name, a file, a folder/ or NAME=URI, got {text!r}")
    for part in (name, source):
        if part is not None and "/" not in part:
            check_name(part, "--fonts")
    return FontRequest(name=name, source=source, suffix=text[len(named) :], face=face, axes=axes)


def _parse_choice(choice: str, text: str) -> tuple[int | None, AxisValues]:
    """Return the face and the axes of a choice such as `2`, `wght=700` or `2,wght=700,wdth=75`."""
    first, *others = choice.split(",")
    is_face = first.isascii() and first.isdigit() and len(first) < 6
    axes = [_AXIS.fullmatch(item) for item in (others if is_face else [first, *others])]
    tags = [axis[1] for axis in axes if axis]
    if None in axes or len(set(tags)) < len(tags):
        raise InputError(
            "--fonts must have the number of a face after the #, or axes of a variable font, each once, such "
            f"as #2 or #wght=700,wdth=75, got {text!r}"
        )
    return int(first) if is_face else None, tuple((axis[1], float(axis[2])) for axis in axes if axis)


def explain_format(path: str) -> str:
    """Return what to do with a font file of another format; empty if the path has none of their endings.

    Of a path that is not local, the command has the name only, for a copy.
    """
    stem, dot, ending = path.rpartition(".")
    advice = OTHER_FORMATS.get((dot + ending).casefold(), "")
    paths = [Path(each).name if "://" in path else each for each in (path, f"{stem}.ttf")]
    return f"{dot}{ending} is not read; {advice.format(*map(quote, paths))}" if advice else ""

"""Fonts made for tests: of polygons, variable, and damaged."""

import io
from collections.abc import Mapping, Sequence
from random import Random

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont
from fontTools.ttLib.tables.TupleVariation import TupleVariation

Corners = Sequence[tuple[int, int]]
THIN, BLACK = 100, 900
STYLES = {"Thin": 100, "Regular": 400, "Bold": 700}


def draw_polygon(corners: Corners):
    pen = TTGlyphPen(None)
    for index, corner in enumerate(corners):
        (pen.lineTo if index else pen.moveTo)(corner)
    if corners:
        pen.closePath()
    return pen.glyph()


def start_font(
    outlines: Mapping[str, Corners],
    *,
    notdef: Corners = (),
    advances: Mapping[str, int] | None = None,
    units_per_em: int = 1000,
    names: Mapping[str, str] | None = None,
) -> FontBuilder:
    """Return a font with one polygon per character, to be changed and saved."""
    glyphs = {".notdef": notdef, **{f"g{ord(char)}": corners for char, corners in outlines.items()}}
    given = {f"g{ord(char)}": advance for char, advance in (advances or {}).items()}
    builder = FontBuilder(units_per_em)
    builder.setupGlyphOrder(list(glyphs))
    builder.setupCharacterMap({ord(char): f"g{ord(char)}" for char in outlines})
    builder.setupGlyf({name: draw_polygon(corners) for name, corners in glyphs.items()})
    builder.setupHorizontalMetrics(
        {
            name: (given.get(name, units_per_em * 7 // 10), min([x for x, _ in corners] or [0]))
            for name, corners in glyphs.items()
        }
    )
    builder.setupHorizontalHeader(ascent=units_per_em * 4 // 5, descent=-units_per_em // 5)
    builder.setupNameTable({"familyName": "Polygons", "styleName": "Regular", **(names or {})})
    builder.setupOS2()
    builder.setupPost()
    return builder


def save_font(builder: FontBuilder) -> bytes:
    content = io.BytesIO()
    builder.save(content)
    return content.getvalue()


def build_variable_font(
    characters: str,
    *,
    blank_when_thin: str = "",
    axes: Sequence[tuple[str, float, float, float, str]] = (("wght", THIN, THIN, BLACK, "Weight"),),
) -> bytes:
    """Return a font of the family Deep Sea whose default instance is Thin, as in Noto Sans KR.

    A character is a bar, 80 units wide at wght 100 and 880 at 900, that is lower at wdth 75. Of those in
    `blank_when_thin` the width is 0 at wght 100.
    """
    bars = {char: _bar(80, 700 - 7 * (number % 50)) for number, char in enumerate(characters)}
    bars |= dict.fromkeys(blank_when_thin, _bar(0, 500))
    names = {"familyName": "Deep Sea Thin", "fullName": "Deep Sea Thin"}
    builder = start_font(bars | ({" ": ()} if " " in characters else {}), names=names)
    styles = [
        {"stylename": style, "location": {tag: default for tag, _, default, _, _ in axes} | {"wght": weight}}
        for style, weight in STYLES.items()
        if any(tag == "wght" and low <= weight <= high for tag, low, _, high, _ in axes)
    ]
    builder.setupFvar(axes, styles)
    wider = [(0, 0), (0, 0), (800, 0), (800, 0), (0, 0), (100, 0), (0, 0), (0, 0)]
    lower = [(0, 0), (0, -200), (0, -200), (0, 0), *[(0, 0)] * 4]
    deltas = {"wght": ((0.0, 1.0, 1.0), wider), "wdth": ((-1.0, -1.0, 0.0), lower)}
    builder.setupGvar(
        {
            f"g{ord(char)}": [
                TupleVariation({tag: deltas[tag][0]}, deltas[tag][1]) for tag, *_ in axes if tag in deltas
            ]
            for char in characters + blank_when_thin
            if char != " "
        }
    )
    builder.font["OS/2"].usWeightClass = THIN
    return save_font(builder)


def _bar(width: int, height: int) -> Corners:
    return ((50, 0), (50, height), (50 + width, height), (50 + width, 0))


def damage_font(content: bytes, random: Random) -> bytes:
    """Return a font with wrong bytes in one of its tables, in its directory, or without its end."""
    tables = list(TTFont(io.BytesIO(content)).reader.tables.values())
    table = random.choice(tables)
    damaged = bytearray(content)
    match random.choice(["values", "values", "fields", "directory", "end"]):
        case "values":
            for _ in range(random.choice([1, 4, 32])):
                damaged[table.offset + random.randrange(table.length)] = random.randrange(256)
        case "fields":
            start = table.offset + random.randrange(min(24, table.length))
            damaged[start : start + 2] = b"\xff\xff"
        case "directory":
            damaged[random.randrange(12 + 16 * len(tables))] = random.randrange(256)
        case "end":
            del damaged[random.randrange(len(damaged)) :]
    return bytes(damaged)

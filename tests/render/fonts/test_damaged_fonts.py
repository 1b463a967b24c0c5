"""Fonts that FreeType or fontTools cannot use, wholly or in single glyphs."""

import gzip
import logging
import random
from collections import Counter
from pathlib import Path

import pytest
from builders.fonts import build_variable_font, damage_font, save_font, start_font
from fontTools.misc.psCharStrings import T2CharString
from fontTools.ttLib import TTFont, newTable

from ocr_ray.errors import InputError, RenderError
from ocr_ray.render import fast, trdg
from ocr_ray.render.fonts.coverage import find_drawable
from ocr_ray.render.fonts.find import find_fonts
from ocr_ray.render.style import StyleConfig, draw_style
from ocr_ray.storage.location import locate

BOX = ((100, 0), (100, 700), (400, 700), (400, 0))
TEXT = "가나다"
WITH_SPACE = {**dict.fromkeys(TEXT, BOX), " ": ()}


def write_bitmap_font(path: Path) -> None:
    """Write a font like Noto Color Emoji, whose glyphs are bitmaps."""
    font = start_font(WITH_SPACE).font
    for tag in ("glyf", "loca"):
        del font[tag]
    for tag in ("CBDT", "CBLC"):
        font[tag] = newTable(tag)
        font[tag].compile = lambda _: b"\0\3\0\0\0\0\0\0"
    font.save(path)


def write_small_em(path: Path) -> None:
    """Write a font of 16 units per em with the outlines of one of 1,000."""
    path.write_bytes(save_font(start_font(WITH_SPACE, units_per_em=16)))


def write_without_characters(path: Path) -> None:
    builder = start_font(WITH_SPACE)
    del builder.font["cmap"].tables[1:]
    (table,) = builder.font["cmap"].tables
    table.platformID, table.platEncID = 1, 3  # Macintosh Korean
    builder.save(path)


def write_web_font(path: Path) -> None:
    font = start_font(WITH_SPACE).font
    font.flavor = "woff"
    font.save(path)


def write_truncated(path: Path) -> None:
    content = save_font(start_font(WITH_SPACE))
    path.write_bytes(content[: len(content) // 2])


def write_without_metrics(path: Path) -> None:
    content = bytearray(save_font(start_font(WITH_SPACE)))
    start = content.index(b"hmtx")
    content[start : start + 4] = b"none"
    path.write_bytes(content)


def write_wrong_collection(path: Path) -> None:
    path.write_bytes(b"ttcf\0\1\0\0\xff\xff\xff\xff" + save_font(start_font(WITH_SPACE)))


def write_tiny_em(path: Path) -> None:
    path.write_bytes(save_font(start_font(WITH_SPACE, units_per_em=15)))


UNUSABLE = {
    "bitmaps": (write_bitmap_font, "it has no outlines, only the tables .*CBDT"),
    "truncated": (write_truncated, "is not usable because"),
    "15 units per em": (write_tiny_em, "is not usable because broken table"),
    "no Unicode": (write_without_characters, "its cmap has no Unicode characters"),
    "web font": (write_web_font, r"is not usable because \.woff is not read; convert it"),
    "empty": (Path.touch, "is not usable because"),
    "no metrics": (write_without_metrics, "is not usable because horizontal metrics"),
    "collection of 4 billion": (write_wrong_collection, "is not usable because error: unpack"),
    "gzip": (
        lambda path: path.write_bytes(gzip.compress(save_font(start_font(WITH_SPACE)))),
        "bad sfntVersion",
    ),
    "text": (lambda path: path.write_text("<html>404"), "is not usable because"),
}


@pytest.mark.parametrize(("write", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_file_is_refused_by_name_and_left_out_of_a_folder(
    write, reason: str, tmp_path, caplog
) -> None:
    write(tmp_path / "bad.ttf")
    with pytest.raises(InputError, match=f"'bad' must be a .ttf, .ttc or .otf with outlines, .*{reason}"):
        find_fonts([f"{tmp_path}/bad.ttf"])
    with pytest.raises(InputError, match=r"there are none in .* that can be used"):
        find_fonts([f"{tmp_path}/"])
    (tmp_path / "good.ttf").write_bytes(save_font(start_font(WITH_SPACE, names={"familyName": "Good"})))
    assert [font.name for font in find_fonts([f"{tmp_path}/"])] == ["Good"]
    assert "bad.ttf is left out" in caplog.text


def test_a_family_is_taken_from_the_file_that_can_be_used(tmp_path: Path, caplog) -> None:
    write_small_em(tmp_path / "1.ttf")
    damaged = TTFont(tmp_path / "1.ttf")
    damaged["head"].unitsPerEm = 15
    damaged.save(tmp_path / "1.ttf")
    folder = locate(str(tmp_path))
    with pytest.raises(InputError, match=r"'Polygons' must be .* is not usable because broken table"):
        find_fonts(["Polygons"], folder=folder)
    (tmp_path / "2.ttf").write_bytes(save_font(start_font(WITH_SPACE)))
    assert [font.file_name for font in find_fonts(["Polygons"], folder=folder)] == ["2.ttf"]
    assert "1.ttf is not usable because broken table" in caplog.text


def test_a_font_without_names_has_the_name_of_its_file(tmp_path: Path) -> None:
    builder = start_font(WITH_SPACE)
    del builder.font["name"]
    builder.save(tmp_path / "mine.ttf")
    assert [font.name for font in find_fonts([f"{tmp_path}/"])] == ["mine"]


@pytest.mark.parametrize(
    ("outline", "advance"),
    [
        (((100, 0), (100, 32_000), (32_000, 0)), 700),
        (((-16_000, -16_000), (-16_000, 16_000), (0, 0)), 700),
        (BOX, 65_535),
    ],
    ids=["wide", "left", "advance"],
)
@pytest.mark.parametrize("units_per_em", [64, 1000])
def test_a_glyph_that_cannot_be_drawn_is_outside_the_coverage_and_no_other(
    outline: tuple, advance: int, units_per_em: int, tmp_path: Path
) -> None:
    """At 64 units per em FreeType's raster overflows and Pillow refuses the image's size."""
    scale = units_per_em / 1000
    boxes = {char: tuple((round(x * scale), round(y * scale)) for x, y in BOX) for char in TEXT}
    wrong = outline if outline is not BOX else boxes["가"]
    builder = start_font(
        {**boxes, "나": wrong, " ": ()},
        units_per_em=units_per_em,
        advances={"가": units_per_em // 2, "다": units_per_em // 2, " ": units_per_em // 2, "나": advance},
    )
    builder.save(tmp_path / "x.ttf")
    (font,) = find_fonts([f"{tmp_path}/x.ttf"])
    assert find_drawable(font, TEXT) == {"가", "다"}
    fast.draw_line("가다", font, draw_style(None, 0, 0))


@pytest.mark.parametrize(
    "program",
    [
        ["rmoveto", "endchar"],
        [-107, "callsubr"],
        [30_000, 0, "rmoveto", 30_000, "vlineto", 30_000, "hlineto"],
    ],
    ids=["no arguments", "no subroutine", "far away"],
)
def test_a_postscript_glyph_that_cannot_be_drawn_is_outside_the_coverage(
    program: list[int | str], tmp_path: Path
) -> None:
    box = [100, 0, "rmoveto", 700, "vlineto", 300, "hlineto", -700, "vlineto", "endchar"]
    builder = start_font(WITH_SPACE)
    names = builder.font.getGlyphOrder()
    charstrings = {name: T2CharString(program=list(box)) for name in names}
    charstrings[".notdef"] = T2CharString(program=["endchar"])
    charstrings[f"g{ord('나')}"] = T2CharString(program=[*program, "endchar"])
    for tag in ("glyf", "loca"):
        del builder.font[tag]
    builder.font.sfntVersion, builder.isTTF = "OTTO", False
    builder.setupCFF("Polygons", {}, charstrings, {})
    builder.setupMaxp()
    builder.font.recalcBBoxes = False
    builder.save(tmp_path / "x.otf")
    (font,) = find_fonts([f"{tmp_path}/x.otf"])
    assert find_drawable(font, TEXT) == {"가", "다"}


def test_a_glyph_that_freetype_refuses_is_a_reject_in_both_renderers(tmp_path: Path) -> None:
    huge = ((0, 0), (0, 32_000), (32_000, 0))
    (tmp_path / "x.ttf").write_bytes(save_font(start_font({**WITH_SPACE, "나": huge}, units_per_em=64)))
    (font,) = find_fonts([f"{tmp_path}/x.ttf"])
    for draw in (fast.draw_line, trdg.draw_line):
        with pytest.raises(RenderError, match=r"invalid_glyph|clipped_glyph"):
            draw("나", font, draw_style(StyleConfig(), 1, 0))


def test_no_damage_to_a_font_raises_anything_but_an_error_of_input_or_of_a_line(tmp_path: Path) -> None:
    """120 fonts with changed bytes in one table, each always the same."""
    logging.disable(logging.WARNING)
    content = build_variable_font(TEXT + " ")
    results: Counter[str] = Counter()
    for number in range(120):
        path = tmp_path / f"{number}.ttf"
        path.write_bytes(damage_font(content, random.Random(number)))
        try:
            (font,) = find_fonts([str(path)])
        except InputError:
            results["refused"] += 1
            continue
        find_drawable(font, TEXT)
        for size in range(0, 20, 5):
            try:
                fast.draw_line(TEXT, font, draw_style(StyleConfig(), 1, size))
                results["drawn"] += 1
            except RenderError as error:
                results[error.reason] += 1
    logging.disable(logging.NOTSET)
    assert min(results["refused"], results["drawn"]) > 20

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTCollection, TTFont

from ocr_ray.errors import InputError
from ocr_ray.render.fonts import DEFAULT_FONTS, find_available_fonts, find_fonts, shared_characters


def build_font(path, family: str, characters: str) -> None:
    """Write a font of empty glyphs for the characters."""
    builder = FontBuilder(1000)
    names = [".notdef", *(f"g{ord(c)}" for c in characters)]
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(c): f"g{ord(c)}" for c in characters})
    builder.setupGlyf({name: TTGlyphPen(None).glyph() for name in names})
    builder.setupHorizontalMetrics(dict.fromkeys(names, (500, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)


def test_a_font_is_read_from_its_file_under_the_name_given(tmp_path) -> None:
    build_font(tmp_path / "mine.ttf", "Mine", "가나다")
    (font,) = find_fonts([f"바탕={tmp_path / 'mine.ttf'}"])
    assert (font.name, font.characters()) == ("바탕", frozenset("가나다"))
    (by_path,) = find_fonts([str(tmp_path / "mine.ttf")])
    assert (by_path.name, by_path.sha256) == ("mine", font.sha256)


def test_the_face_of_a_collection_is_chosen_by_its_family(tmp_path) -> None:
    build_font(tmp_path / "a.ttf", "BatangChe", "a")
    build_font(tmp_path / "b.ttf", "Batang", "b")
    collection = TTCollection()
    collection.fonts = [TTFont(tmp_path / "a.ttf"), TTFont(tmp_path / "b.ttf")]
    collection.save(tmp_path / "batang.ttc")
    (font,) = find_fonts([f"Batang={tmp_path / 'batang.ttc'}"])
    assert (font.face, font.characters()) == (1, frozenset("b"))


def test_only_what_all_fonts_have_is_shared(tmp_path) -> None:
    build_font(tmp_path / "a.ttf", "A", "가나")
    build_font(tmp_path / "b.ttf", "B", "나다")
    assert shared_characters(find_fonts([str(tmp_path / "a.ttf"), str(tmp_path / "b.ttf")])) == {"나"}


def test_a_font_that_is_missing_is_named_with_its_remedy(tmp_path) -> None:
    with pytest.raises(InputError, match=r"'궁서' must be installed.*--fonts '궁서=/path"):
        find_fonts(["궁서"])
    with pytest.raises(InputError, match=r"'바탕' must be a file, there is none at .*none.ttf"):
        find_fonts([f"바탕={tmp_path / 'none.ttf'}"])
    (tmp_path / "fake.ttf").write_bytes(b"not a font")
    with pytest.raises(InputError, match=r"'fake' must be a .ttf, .ttc or .otf"):
        find_fonts([str(tmp_path / "fake.ttf")])
    with pytest.raises(InputError, match="none twice"):
        find_fonts([f"x={tmp_path / 'fake.ttf'}"] * 0)


def test_the_demo_goes_on_with_the_fonts_that_are_there(caplog) -> None:
    fonts = find_available_fonts(["궁서", *DEFAULT_FONTS])
    assert "궁서" not in [font.name for font in fonts]
    assert "going on without a font: font '궁서'" in caplog.text
    with pytest.raises(InputError, match="none of the fonts"):
        find_available_fonts(["궁서"])


def test_every_font_has_all_hangul_and_the_signs_of_arithmetic(fonts) -> None:
    wanted = {*map(chr, range(0xAC00, 0xD7A4)), *"0123456789+-×÷=□()<>:%.…°"}
    assert wanted <= shared_characters(fonts)

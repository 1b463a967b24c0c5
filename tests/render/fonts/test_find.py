import pickle
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTCollection, TTFont

from ocr_ray.errors import InputError
from ocr_ray.render.fonts.find import (
    DEFAULT_FONTS,
    Font,
    describe_font,
    find_available_fonts,
    find_fonts,
    shared_characters,
)
from ocr_ray.render.fonts.names import FAMILIES, SUBSTITUTES, Substitute, fold_name
from ocr_ray.storage.location import copy_files, locate


def build_font(
    path: Path, family: str, characters: str, *, style: str = "Regular", weight: int = 400, **names: str
) -> Path:
    """Write a font of empty glyphs for the characters; `korean` is the Korean name of its family."""
    builder = FontBuilder(1000)
    glyphs = [".notdef", *(f"g{ord(c)}" for c in characters)]
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap({ord(c): f"g{ord(c)}" for c in characters})
    builder.setupGlyf({name: TTGlyphPen(None).glyph() for name in glyphs})
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (500, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    families = {"en": family, "ko": names.pop("korean", family)}
    full_names = {lang: f"{name} {style}".removesuffix(" Regular") for lang, name in families.items()}
    builder.setupNameTable({"familyName": families, "styleName": style, "fullName": full_names, **names})
    builder.setupOS2(usWeightClass=weight)
    builder.setupPost()
    path.parent.mkdir(parents=True, exist_ok=True)
    builder.save(path)
    return path


def build_collection(path: Path, *families: str) -> Path:
    """Write a collection of fonts with the letters a, ab, abc and so on."""
    collection = TTCollection()
    for number, family in enumerate(families, 1):
        part = build_font(path.with_name(f"part{number}.bin"), family, "abcdef"[:number])
        collection.fonts.append(TTFont(part))
    collection.save(path)
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for the user's fonts."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "home/.local/share/fonts"
    folder.mkdir(parents=True)
    return folder


def test_a_font_is_read_from_its_file_under_the_given_name(tmp_path) -> None:
    path = build_font(tmp_path / "a=b" / "mine.TTF", "Mine", "가나다")
    (font,) = find_fonts([f"바탕={path}"])
    assert (font.name, font.characters()) == ("바탕", frozenset("가나다"))
    (by_path,) = find_fonts([str(path)])
    assert (by_path.name, by_path.sha256) == ("mine", font.sha256)


@pytest.mark.parametrize("name", ["Deep Sea", "deepsea", "깊은 바다", "깊은바다", "DEEP SEA regular"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_family_is_found_in_any_language_and_under_any_file_name(home, name: str, form: str) -> None:
    build_font(home / "x1.OTF", "Deep Sea", "a", korean="깊은 바다", fullName="Deep Sea Regular")
    (font,) = find_fonts([unicodedata.normalize(form, name)])
    assert (font.file_name, font.family, font.is_substitute) == ("x1.OTF", "Deep Sea", False)


def test_the_regular_font_of_a_family_is_used_unless_another_is_named(home) -> None:
    for style, weight in (("Bold", 700), ("Regular", 400), ("Light", 300)):
        build_font(home / f"{style}.ttf", "Deep Sea", "a", style=style, weight=weight)
    assert [font.file_name for font in find_fonts(["Deep Sea", "Deep Sea Light"])] == [
        "Regular.ttf",
        "Light.ttf",
    ]


@pytest.mark.parametrize(
    ("other", "regular"),
    [
        ({"usWeightClass": 7}, {"usWeightClass": 4}),  # the scale of old fonts
        ({"fsSelection": 0x20}, {"fsSelection": 0x40}),  # bold, at the same weight
        ({"fsSelection": 0x200}, {"fsSelection": 0x40}),  # oblique, not italic
        ({"macStyle": 1}, {"macStyle": 0}),  # bold and italic without OS/2
        ({"macStyle": 2}, {"macStyle": 0}),
    ],
)
def test_the_regular_font_of_a_family_is_known_by_old_weights_and_flags(
    home: Path, other: dict[str, int], regular: dict[str, int]
) -> None:
    for name, values in (("1", other), ("2", regular)):
        font = TTFont(build_font(home / f"{name}.ttf", "Deep Sea", "a"))
        for field, value in values.items():
            setattr(font["head" if field == "macStyle" else "OS/2"], field, value)
        if "macStyle" in values:
            del font["OS/2"]
        font.save(home / f"{name}.ttf")
    assert [font.file_name for font in find_fonts(["Deep Sea"])] == ["2.ttf"]


@pytest.mark.parametrize("name", ["바탕", "batang"])
def test_a_substitute_is_logged_and_not_used_if_the_original_exists(
    home, tmp_path, name: str, caplog
) -> None:
    """Neither the location nor the file name of a substitute makes it the original."""
    near = build_font(tmp_path / "near/batang.ttf", "Baekmuk Batang", "가", korean="백묵 바탕").parent
    (font,) = find_fonts([name], folder=locate(str(near)))
    assert (font.family, font.characters(), font.is_substitute) == ("Baekmuk Batang", {"가"}, True)
    assert f"{name}: replaced by Baekmuk Batang ({near}/batang.ttf" in caplog.text
    build_font(home / "other.ttf", "Batang", "나")
    (font,) = find_fonts([name], folder=locate(str(near)))
    assert (font.family, font.characters(), font.is_substitute) == ("Batang", {"나"}, False)


def test_the_given_folder_is_searched_before_the_machine(home, tmp_path) -> None:
    build_font(home / "a.ttf", "Deep Sea", "a")
    folder = locate(str(build_font(tmp_path / "fonts/sub/b.ttf", "Deep Sea", "b").parent.parent))
    assert [font.characters() for font in find_fonts(["Deep Sea"], folder=folder)] == [{"b"}]
    assert [font.characters() for font in find_fonts(["Deep Sea"])] == [{"a"}]
    assert [font.name for font in find_fonts(["B.ttf"], folder=folder)] == ["B"]


def test_a_fixed_width_family_is_not_its_proportional_one(tmp_path, monkeypatch) -> None:
    folder = build_font(tmp_path / "fonts/gulim.ttf", "Gulim", "a", korean="굴림").parent
    monkeypatch.setitem(SUBSTITUTES, "GulimChe", Substitute(families=("No Such",), package="fonts-x"))
    remedy = r"'굴림체' must be installed, none is called .*No Such; apt-get install fonts-x.*'굴림체=/path"
    with pytest.raises(InputError, match=remedy):
        find_fonts(["굴림체"], folder=locate(str(folder)))


def test_a_substitute_has_another_name_than_the_family() -> None:
    for family, substitute in SUBSTITUTES.items():
        names = next(names for names in FAMILIES if names[0] == family)
        assert set(map(fold_name, names)).isdisjoint(map(fold_name, substitute.families))


def test_the_face_of_a_collection_is_chosen_by_family_or_number(tmp_path, caplog) -> None:
    path = build_collection(tmp_path / "fonts/batang.TTC", "BatangChe", "Gungsuh", "Batang")
    folder = locate(str(path.parent))
    chosen = {
        "바탕": (2, "abc"),
        "궁서": (1, "ab"),
        f"Batang={path}": (2, "abc"),
        f"글씨={path}#1": (1, "ab"),
        str(path): (2, "abc"),
        f"{path}#0": (0, "a"),
        "batang.ttc#1": (1, "ab"),
    }
    for spec, (face, characters) in chosen.items():
        (font,) = find_fonts([spec], folder=folder)
        assert (font.face, font.characters()) == (face, frozenset(characters)), spec
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    assert find_fonts([f"글씨={path}"])[0].face == 0
    assert "no face has that name, using #0 of #0 BatangChe, #1 Gungsuh, #2 Batang" in caplog.text
    with pytest.raises(InputError, match=r"'batang#3' must be a face of .*#2 Batang; got #3"):
        find_fonts([f"{path}#3"])


def test_a_folder_gives_all_fonts_under_their_family_names(tmp_path, caplog) -> None:
    build_font(tmp_path / "fonts/1.ttf", "Deep Sea", "a", style="Bold", weight=700)
    build_font(tmp_path / "fonts/sub/2.Ttf", "Deep Sea", "b")
    build_collection(tmp_path / "fonts/3.TTC", "One", "Two")
    (tmp_path / "fonts/broken.ttf").write_bytes(b"\0\1\0\0" * 9)
    fonts = find_fonts([f"{tmp_path}/fonts/"])
    assert [font.name for font in fonts] == ["Deep Sea Bold", "One", "Two", "Deep Sea"]
    assert [len(font.characters()) for font in fonts] == [1, 1, 2, 1]
    assert "broken.ttf is left out" in caplog.text
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"a folder of \.ttf, \.ttc or \.otf, there are none in .*empty"):
        find_fonts([f"{tmp_path}/empty/"])


@pytest.mark.skipif(not shutil.which("fc-list"), reason="fontconfig is not installed")
def test_the_folders_of_fontconfig_are_searched_too(tmp_path, monkeypatch) -> None:
    """Aliases do not count: fontconfig would report this font as GulimChe."""
    build_font(tmp_path / "far/x.ttf", "Deep Sea", "a")
    alias = (
        "<alias binding='same'><family>GulimChe</family><prefer><family>Deep Sea</family></prefer></alias>"
    )
    (tmp_path / "fonts.conf").write_text(
        f"<fontconfig><dir>{tmp_path}/far</dir><cachedir>{tmp_path}/cache</cachedir>{alias}</fontconfig>"
    )
    monkeypatch.setenv("FONTCONFIG_FILE", str(tmp_path / "fonts.conf"))
    assert find_fonts(["Deep Sea"])[0].file_name == "x.ttf"
    with pytest.raises(InputError, match="'GulimChe' must be installed"):
        find_fonts(["GulimChe"])


def test_a_pickled_font_keeps_its_names(tmp_path) -> None:
    names = {
        "version": "Version 1.5",
        "licenseDescription": "Free\nfor " + "all " * 99,
        "licenseInfoURL": "https://x",
    }
    path = build_font(tmp_path / "mine.ttf", "Mine", "a", korean="내 것", **names)
    (font,) = find_fonts([f"글씨={path}"])
    assert describe_font(pickle.loads(pickle.dumps(font))) == {
        "name": "글씨",
        "family": "Mine",
        "full_name": "Mine",
        "version": "Version 1.5",
        "licence": ("Free for " + "all " * 99)[:200],
        "file": "mine.ttf",
        "face": 0,
        "sha256": font.sha256,
        "stands_in": False,
    }


@pytest.mark.parametrize(
    ("names", "licence"),
    [
        ({"licenseInfoURL": "https://x", "copyright": "(c) N"}, "https://x"),
        ({"copyright": "(c) N"}, "(c) N"),
        ({}, ""),
    ],
    ids=["address", "copyright", "nothing"],
)
def test_a_missing_licence_is_replaced_by_its_url_or_the_copyright(
    tmp_path, names: dict[str, str], licence: str
) -> None:
    path = build_font(tmp_path / "mine.ttf", "Mine", "a", **names)
    assert Font(name="x", file_name="y", content=path.read_bytes()).licence == licence


def test_only_characters_of_all_fonts_are_shared(tmp_path) -> None:
    build_font(tmp_path / "a.ttf", "A", "가나")
    build_font(tmp_path / "b.ttf", "B", "나다")
    assert shared_characters(find_fonts([str(tmp_path / "a.ttf"), str(tmp_path / "b.ttf")])) == {"나"}


def test_a_missing_font_is_reported_with_a_remedy(tmp_path) -> None:
    with pytest.raises(InputError, match=r"'없는 글꼴' must be installed.*--fonts '없는 글꼴=/path"):
        find_fonts(["없는 글꼴"])
    with pytest.raises(InputError, match=r"'바탕' must be a file, there is no file at .*none.ttf"):
        find_fonts([f"바탕={tmp_path / 'none.ttf'}"])
    (tmp_path / "fake.ttf").write_bytes(b"not a font")
    with pytest.raises(InputError, match=r"'fake' must be a .ttf, .ttc or .otf"):
        find_fonts([str(tmp_path / "fake.ttf")])
    names = ["", "a" * 256, "줄" * 86, "굴\n림", "줄" * 86 + "=a.ttf"]
    for name in [*names, "A=" + "a" * 256, "A=gs://b/a.ttf", "~nobody-of-this-name/a.ttf"]:
        with pytest.raises(InputError, match="--fonts must be"):
            find_fonts([name])
    with pytest.raises(InputError, match="must be a name, a file, a folder/ or NAME=URI"):
        find_fonts([f"={tmp_path / 'fake.ttf'}"])
    with pytest.raises(InputError, match="at least one font"):
        find_fonts([])


@pytest.mark.parametrize(
    "spec",
    [
        "글꼴.woff2",
        "fonts/a.WOFF",
        "바탕=a.eot",
        "바탕=/fonts/a.pfb",
        "a.svg",
        "a.bdf",
        "a.zip",
        "/a.tgz",
        "a.sfd",
        "a.AFM",
    ],
)
def test_a_font_of_another_format_is_refused_by_its_ending(spec: str) -> None:
    ending = spec[spec.rindex(".") :]
    with pytest.raises(InputError, match=rf"must name \.ttf, .* got '{spec}': \{ending} is not read; "):
        find_fonts([spec])


def test_the_command_for_a_font_elsewhere_is_for_a_copy() -> None:
    with pytest.raises(InputError, match=r"convert it: fonttools ttLib -o a\.ttf a\.woff$"):
        find_fonts(["s3://fonts/a.woff"])


def test_the_command_that_a_message_gives_converts_a_web_font(tmp_path, caplog) -> None:
    web_font = TTFont(build_font(tmp_path / "made.bin", "Mine", "가나"))
    web_font.flavor = "woff"
    web_font.save(tmp_path / "it's $mine.woff")
    with pytest.raises(InputError, match="is not read; convert it") as caught:
        find_fonts([f"{tmp_path}/it's $mine.woff"])
    with pytest.raises(InputError, match="there are none in"):
        find_fonts([f"{tmp_path}/"])
    assert "are left out, 1, the first because .woff is not read" in caplog.text
    assert "mine.woff" in caplog.text
    command = str(caught.value).partition("convert it: ")[2]
    assert command.startswith("fonttools ")
    command = command.replace("fonttools", f"{sys.executable} -m fontTools", 1)
    subprocess.run(command, shell=True, check=True)
    assert find_fonts([f"{tmp_path}/it's $mine.ttf"])[0].characters() == set("가나")


def test_a_duplicate_font_or_name_is_rejected(tmp_path) -> None:
    one, two = build_font(tmp_path / "1.ttf", "One", "a"), build_font(tmp_path / "2.ttf", "Two", "a")
    with pytest.raises(InputError, match="none twice"):
        find_fonts([f"x={one}", f"x={two}"])
    (tmp_path / "more").mkdir()
    build_font(tmp_path / "more/3.otf", "One", "abc")
    with pytest.raises(InputError, match=r"none twice, got 'One' of 1\.ttf and 3\.otf; .* NAME=URI"):
        find_fonts([f"{tmp_path}/"])
    with pytest.raises(InputError, match=r"'x' and 'y' are both One \(1.ttf\)"):
        find_fonts([f"x={one}", f"y={one}"])


def test_the_quickstart_continues_with_the_available_fonts(caplog) -> None:
    fonts = find_available_fonts(["없는 글꼴", *DEFAULT_FONTS])
    assert "없는 글꼴" not in [font.name for font in fonts]
    assert "continuing without a font: font '없는 글꼴'" in caplog.text
    with pytest.raises(InputError, match="none of the fonts"):
        find_available_fonts(["없는 글꼴"])


def test_every_font_has_all_hangul_and_the_signs_of_arithmetic(fonts) -> None:
    expected = {*map(chr, range(0xAC00, 0xD7A4)), *"0123456789+-×÷=□()<>:%.…°"}
    assert expected <= shared_characters(fonts)


@pytest.mark.slow
def test_fonts_are_found_in_a_folder_on_s3(bucket, tmp_path) -> None:
    build_font(tmp_path / "fonts/x.ttf", "Deep Sea", "a")
    build_collection(tmp_path / "fonts/batang.ttc", "BatangChe", "Gungsuh")
    folder = locate(f"{bucket}/fonts")
    copy_files(locate(str(tmp_path / "fonts")), folder, ["x.ttf", "batang.ttc"])
    named = find_fonts(["Deep Sea", "궁서", f"바탕체={bucket}/fonts/batang.ttc#0"], folder=folder)
    assert [(font.file_name, font.face) for font in named] == [
        ("x.ttf", 0),
        ("batang.ttc", 1),
        ("batang.ttc", 0),
    ]
    assert [font.name for font in find_fonts([f"{bucket}/fonts"])] == ["BatangChe", "Gungsuh", "Deep Sea"]

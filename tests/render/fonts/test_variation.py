"""Variable fonts: the instance that is drawn, compared with the static font that fontTools makes of it."""

import io
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders.fonts import build_variable_font
from fontTools.ttLib import TTCollection, TTFont
from fontTools.varLib import instancer
from PIL import Image, ImageDraw, ImageFont

from ocr_ray.audit.recorded_config import build_config
from ocr_ray.errors import InputError
from ocr_ray.pages.synthetic.pages import make_page
from ocr_ray.render import fast, trdg
from ocr_ray.render.config import RenderConfig
from ocr_ray.render.fonts.coverage import find_drawable
from ocr_ray.render.fonts.find import Font, describe_font, find_fonts
from ocr_ray.render.job import plan_rendering
from ocr_ray.render.style import draw_style
from ocr_ray.storage.location import locate
from ocr_ray.textgen.sampler import CHARACTERS, REQUIRED_CHARACTERS

TEXT = "가 나다"
MAX_DIFFERENCE = 2
"""Grey values by which FreeType's own interpolation can differ, because outlines are rounded elsewhere."""


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    """A font whose default instance is Thin, with axes for weight and width."""
    axes = (("wght", 100, 100, 900, "Weight"), ("wdth", 75, 100, 100, "Width"))
    file = tmp_path_factory.mktemp("fonts") / "DeepSea[wdth,wght].ttf"
    file.write_bytes(build_variable_font("가나다 ", axes=axes))
    return file


def make_static(content: bytes, **axes: float) -> bytes:
    """Return the static font that fontTools makes of a variable one."""
    font = TTFont(io.BytesIO(content))
    static = instancer.instantiateVariableFont(
        font, {axis.axisTag: axis.defaultValue for axis in font["fvar"].axes} | axes
    )
    buffer = io.BytesIO()
    static.save(buffer)
    return buffer.getvalue()


def draw_with_pillow(font: ImageFont.FreeTypeFont) -> np.ndarray:
    canvas = Image.new("L", (400, 120))
    ImageDraw.Draw(canvas).text((40, 40), TEXT, fill=255, font=font)
    return np.asarray(canvas).astype(int)


@pytest.mark.parametrize(
    ("suffix", "wght", "wdth"),
    [("", 400, 100), ("#wght=700", 700, 100), ("#wdth=75", 400, 75), ("#wght=100,wdth=90", 100, 90)],
)
def test_both_renderers_draw_the_instance_that_is_asked_for_or_else_the_regular_one(
    path: Path, suffix: str, wght: int, wdth: int
) -> None:
    (font,) = find_fonts([f"바다={path}{suffix}"])
    static = Font(name="x", file_name="x", content=make_static(font.content, wght=wght, wdth=wdth))
    pillow_font = ImageFont.truetype(io.BytesIO(static.content), 48, layout_engine=ImageFont.Layout.BASIC)
    drawn, expected = draw_with_pillow(font.open(48)), draw_with_pillow(pillow_font)
    assert np.abs(drawn - expected).max() <= MAX_DIFFERENCE
    thin = draw_with_pillow(ImageFont.truetype(io.BytesIO(font.content), 48))
    assert (wght, wdth) == (100, 100) or np.abs(drawn - thin).max() > 100
    style = draw_style(None, 3, 0)
    for draw in (
        lambda each: fast.draw_line(TEXT, each, style)[0],
        lambda each: trdg.draw_line(TEXT, each, style),
    ):
        ours, other = (np.asarray(draw(each)).astype(int) for each in (font, static))
        assert np.abs(ours - other).max() <= MAX_DIFFERENCE


def test_trdg_draws_every_instance_and_face_of_a_file_as_itself(path: Path, tmp_path: Path) -> None:
    """trdg keeps fonts by name; two fonts of one file must not be the same there."""
    collection = TTCollection()
    for wght in (100, 900):
        collection.fonts.append(TTFont(io.BytesIO(make_static(path.read_bytes(), wght=wght))))
    collection.save(tmp_path / "two.ttc")
    style = replace(draw_style(None, 3, 0), noise=0.0)
    for specs in (
        [f"{path}#wght=100", f"{path}#wght=900"],
        [f"{tmp_path}/two.ttc#0", f"{tmp_path}/two.ttc#1"],
    ):
        light, heavy = (np.asarray(trdg.draw_line(TEXT, font, style)) < 128 for font in find_fonts(specs))
        assert heavy.sum() > 3 * light.sum()


def test_a_pickled_font_and_fonts_in_threads_draw_the_same_instance(path: Path) -> None:
    fonts = find_fonts([f"{path}#wght={wght}" for wght in (100, 400, 700)])
    expected = [draw_with_pillow(font.open(48)).tobytes() for font in fonts]
    assert len(set(expected)) == 3
    copies = [pickle.loads(pickle.dumps(font)) for font in fonts] * 8
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda font: draw_with_pillow(font.open(48)).tobytes(), copies))
    assert drawn == expected * 8


def test_the_instance_is_recorded_by_name_and_axes_and_said(path: Path, caplog) -> None:
    caplog.set_level("INFO")
    regular, odd = find_fonts([str(path), f"{path}#wght=650.5"])
    described = describe_font(regular)
    assert described["axes"] == {"wght": 400.0, "wdth": 100.0}
    assert (described["family"], described["full_name"]) == ("Deep Sea", "Deep Sea Regular")
    assert odd.full_name == "Deep Sea wght=650.5,wdth=100"
    assert (regular.name, odd.name) == ("DeepSea[wdth,wght]", "DeepSea[wdth,wght]#wght=650.5")
    assert "Deep Sea Regular (wght=400,wdth=100, its axes: wght 100 to 900, wdth 75 to 100)" in caplog.text


@pytest.mark.parametrize(
    ("name", "wght"),
    [("Deep Sea", 400), ("deepsea bold", 700), ("Deep Sea Thin", 100), ("Deep Sea#wght=500", 500)],
)
def test_a_family_or_named_instance_is_found_with_its_own_axes(path: Path, name: str, wght: int) -> None:
    (font,) = find_fonts([name], folder=locate(str(path.parent)))
    assert (font.name, font.axes) == (name, (("wght", wght), ("wdth", 100)))


@pytest.mark.parametrize(
    ("weights", "suffix", "wght"),
    [((600, 900, 900), "", 600), ((0.48, 1, 3.2), "", 1), ((0.48, 1, 3.2), "#wght=3.2", 3.2)],
)
def test_a_weight_that_does_not_reach_regular_is_the_nearest_or_the_default_of_another_scale(
    weights: tuple[float, ...], suffix: str, wght: float, tmp_path: Path
) -> None:
    """A font file has 3.2 as 3.19999; Skia of macOS has this scale."""
    content = build_variable_font("가", axes=(("wght", *weights, "Weight"),))
    (tmp_path / "x.ttf").write_bytes(content)
    assert find_fonts([f"{tmp_path}/x.ttf{suffix}"])[0].axes == (("wght", wght),)


@pytest.mark.parametrize(
    ("suffix", "message"),
    [
        ("#wght=1000", r"must be within the axes of .*, wght 100 to 900, wdth 75 to 100; got wght=1000"),
        ("#ital=1", r"wght 100 to 900, wdth 75 to 100; got ital=1"),
        ("#wght=heavy", "must have the number of a face after the #, or axes"),
        ("#bold", "must have the number of a face after the #, or axes"),
        ("#wght=500,wght=600", "each once"),
        ("#wght=nan", "or axes of a variable font"),
        ("#", "or axes of a variable font"),
        ("#1", r"must be a face of .*: #0 Deep Sea Regular; got #1"),
    ],
)
def test_axes_that_a_font_lacks_are_refused_with_their_ranges(path: Path, suffix: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_fonts([f"바다={path}{suffix}"])


def test_axes_of_a_static_font_are_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "static.ttf").write_bytes(make_static(path.read_bytes(), wght=400))
    with pytest.raises(InputError, match="none, because it is not a variable font; got wght=700"):
        find_fonts([f"{tmp_path}/static.ttf#wght=700"])


def test_the_same_instance_twice_is_refused_however_it_is_written(path: Path) -> None:
    with pytest.raises(InputError, match="must be different fonts"):
        find_fonts([str(path), f"바다={path}#wght=400.0"])


def test_files_and_folders_can_have_a_number_sign_or_equals_sign_in_their_names(path: Path, tmp_path) -> None:
    folder = tmp_path / "C# wght=700"
    folder.mkdir()
    for name in ("a#1.ttf", "b#wght=700.ttf"):
        (folder / name).write_bytes(path.read_bytes())
    specs = [f"{folder}/a#1.ttf", f"{folder}/b#wght=700.ttf#wght=300", f"바다={folder}/a#1.ttf#wght=200"]
    assert [(font.file_name, font.axes[0][1]) for font in find_fonts(specs)] == [
        ("a#1.ttf", 400),
        ("b#wght=700.ttf", 300),
        ("a#1.ttf", 200),
    ]


def test_coverage_is_that_of_the_drawn_instance(tmp_path: Path) -> None:
    """The character has no area in the default instance."""
    content = build_variable_font("가", blank_when_thin="나")
    (tmp_path / "x.ttf").write_bytes(content)
    regular, thin = find_fonts([f"{tmp_path}/x.ttf", f"{tmp_path}/x.ttf#wght=100"])
    assert find_drawable(regular, "가나") == set("가나")
    assert find_drawable(thin, "가나") == set("가")


def test_pages_of_the_quickstart_are_printed_in_the_instance_of_the_font() -> None:
    content = build_variable_font("".join(sorted(CHARACTERS - {" "})) + " ")
    page = make_page(1, 2, font_bytes=content, font_axes=(700,))
    expected = make_page(1, 2, font_bytes=make_static(content, wght=700))
    drawn, other = (
        np.asarray(Image.open(io.BytesIO(each.image_bytes)).convert("L")).astype(int)
        for each in (page, expected)
    )
    assert np.abs(drawn - other).max() <= MAX_DIFFERENCE
    assert page.image_bytes != make_page(1, 2, font_bytes=content).image_bytes


def test_the_plan_depends_on_the_axes_and_is_made_again_from_its_flags(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sea.ttf").write_bytes(build_variable_font("".join(sorted(REQUIRED_CHARACTERS | set("가나다")))))
    plans = []
    for font in ("sea.ttf", "sea=sea.ttf#wght=700", "sea=sea.ttf#wght=400"):
        plan, inputs = plan_rendering(RenderConfig(out_uri="x", num_lines=10, fonts=(font,)))
        again, _ = plan_rendering(build_config(RenderConfig, plan.flags))
        assert again.config_sha256 == plan.config_sha256
        assert plan.config["fonts"]["sea"]["axes"] == dict(inputs.fonts[0].axes)
        plans.append(plan)
    regular, bold, same = plans
    assert regular.config_sha256 == same.config_sha256 != bold.config_sha256
    assert bold.notes["fonts"][0]["axes"] == {"wght": 700.0}


def test_only_the_fonts_that_lack_a_required_character_are_named(fonts, tmp_path: Path) -> None:
    (tmp_path / "sea.ttf").write_bytes(build_variable_font("".join(sorted(REQUIRED_CHARACTERS - {"7"}))))
    config = RenderConfig(out_uri="x", num_lines=10, fonts=(fonts[0].name, f"{tmp_path}/sea.ttf"))
    with pytest.raises(InputError, match=r"must draw 7, .* these do not: font sea; choose others"):
        plan_rendering(config)


def test_the_regular_face_of_a_collection_of_weights_is_chosen_said_and_recorded(
    path: Path, tmp_path, caplog
) -> None:
    caplog.set_level("INFO")
    collection = TTCollection()
    for wght in (100, 900, 400):
        face = TTFont(io.BytesIO(make_static(path.read_bytes(), wght=wght)))
        face["OS/2"].usWeightClass = wght
        face["name"].setName(f"Deep Sea W{wght}", 4, 3, 1, 0x409)
        collection.fonts.append(face)
    collection.save(tmp_path / "sea.ttc")
    for spec in (f"{tmp_path}/sea.ttc", f"바다={tmp_path}/sea.ttc"):
        (font,) = find_fonts([spec])
        assert (font.face, describe_font(font)["full_name"]) == (2, "Deep Sea W400")
    assert "using #2 of #0 Deep Sea W100, #1 Deep Sea W900, #2 Deep Sea W400" in caplog.text
    assert "font 바다: Deep Sea W400 (face #2 of 3) in" in caplog.text
    (heavy,) = find_fonts([f"{tmp_path}/sea.ttc#1"])
    assert heavy.face == 1

import hashlib
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont
from trdg.data_generator import FakeTextDataGenerator

from ocr_ray.errors import RenderError
from ocr_ray.render.fonts.find import DEFAULT_FONTS, Font, find_available_fonts, find_fonts, shared_characters
from ocr_ray.render.style import StyleConfig, draw_style
from ocr_ray.render.trdg import draw_line
from ocr_ray.textgen.arithmetic.expressions import CHARACTERS
from ocr_ray.textgen.corpus import read_corpus
from ocr_ray.textgen.sampler import TextConfig, TextInputs, TextSampler

FONTS = find_available_fonts(DEFAULT_FONTS)
WORDS = read_corpus(None).words
SAMPLER = TextSampler(TextInputs(words=WORDS, characters=shared_characters(FONTS)), TextConfig())
DRAWN = sorted({*CHARACTERS, *"".join(WORDS)} - {" "})
PAGES = StyleConfig()
PLAIN = replace(
    draw_style(None, 0, 0),
    noise=0.0,
    ink=0,
    margins_px=(2, 2, 2, 2),
    text_height_px=44,
)
numbers = st.integers(0, 10**8)


@pytest.mark.parametrize("font", FONTS, ids=lambda font: font.name)
def test_no_character_is_drawn_as_notdef(font: Font, tmp_path) -> None:
    (tmp_path / font.file_name).write_bytes(font.content)
    path = str(tmp_path / font.file_name)
    glyph_names = TTFont(path, fontNumber=font.face).getBestCmap()
    pillow_font = ImageFont.truetype(path, 48, index=font.face)
    notdef = bytes(pillow_font.getmask("\U0010ffff"))
    for character in DRAWN:
        assert glyph_names[ord(character)] != ".notdef"
        assert bytes(pillow_font.getmask(character)) != notdef, character


def measure_ink(image: Image.Image) -> tuple[int, int]:
    """Return width and height of the ink in px."""
    left, top, right, bottom = image.point(lambda grey: 255 * (grey < 128)).getbbox()
    return right - left, bottom - top


@pytest.mark.parametrize("font", FONTS, ids=lambda font: font.name)
def test_every_glyph_keeps_its_ink(font: Font) -> None:
    """A line of one glyph has the same ink as the glyph drawn by Pillow on a large canvas."""
    pillow_font = ImageFont.truetype(io.BytesIO(font.content), 48, index=font.face)
    for character in DRAWN[::7]:
        canvas = Image.new("L", (150, 150), 255)
        ImageDraw.Draw(canvas).text((50, 50), character, fill=0, font=pillow_font)
        width_px, height_px = measure_ink(canvas)
        scale = 44 / pillow_font.getbbox(character)[3]  # trdg fits the glyph between margins of 2 px
        drawn_width_px, drawn_height_px = measure_ink(draw_line(character, font, PLAIN))
        assert abs(drawn_width_px - width_px * scale) <= 2 + scale, character
        assert abs(drawn_height_px - height_px * scale) <= 2 + scale, character


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 100), numbers, st.sampled_from(FONTS))
def test_the_ink_stays_inside_every_edge(seed: int, number: int, font: Font) -> None:
    style = replace(draw_style(PAGES, seed, number), noise=0.0, ink=0)
    pixels = np.asarray(draw_line(SAMPLER.draw(seed, number).text, font, style))
    assert pixels.shape[0] == style.height_px
    assert pixels.min() < 128
    edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert edges.min() > 128  # lighter pixels are the soft edge of blurred ink


@settings(deadline=None, max_examples=30)
@given(numbers, st.sampled_from(FONTS), st.sampled_from([0.0, 8.0]))
def test_a_line_is_drawn_the_same_after_other_lines(number: int, font: Font, noise: float) -> None:
    style = replace(draw_style(PAGES, 3, number), noise=noise)
    first = draw_line("나눗셈식 3 × 8 = 24", font, style).tobytes()
    draw_line("다른 줄", font, draw_style(PAGES, 3, number + 1))
    assert draw_line("나눗셈식 3 × 8 = 24", font, style).tobytes() == first


def test_a_line_is_drawn_the_same_in_another_process() -> None:
    program = (
        "import hashlib\n"
        "from ocr_ray.render.fonts.find import DEFAULT_FONTS, find_available_fonts\n"
        "from ocr_ray.render.style import StyleConfig, draw_style\n"
        "from ocr_ray.render.trdg import draw_line\n"
        "font = find_available_fonts(DEFAULT_FONTS)[0]\n"
        "styles = [draw_style(StyleConfig(), 7, i) for i in range(20)]\n"
        "images = [draw_line('탁자 7개', font, style).tobytes() for style in styles]\n"
        "print(hashlib.sha256(b''.join(images)).hexdigest())\n"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    images = [draw_line("탁자 7개", FONTS[0], draw_style(PAGES, 7, i)).tobytes() for i in range(20)]
    assert other.strip() == hashlib.sha256(b"".join(images)).hexdigest()


def test_a_missing_glyph_is_rejected_by_name() -> None:
    assert "−" not in shared_characters(FONTS)
    with pytest.raises(RenderError, match=r"missing_glyph: .* lacks −"):
        draw_line("3 − 1", FONTS[0], PLAIN)


def build_font(folder: Path, boxes: dict[str, tuple[int, int, int, int]]) -> Font:
    """Write a font of rectangles, 1,000 units per em, and return it."""
    glyphs = {".notdef": TTGlyphPen(None).glyph()}
    for character, (x0, y0, x1, y1) in boxes.items():
        pen = TTGlyphPen(None)
        for index, corner in enumerate([(x0, y0), (x0, y1), (x1, y1), (x1, y0)]):
            (pen.lineTo if index else pen.moveTo)(corner)
        pen.closePath()
        glyphs[f"g{ord(character)}"] = pen.glyph()
    builder = FontBuilder(1000)
    builder.setupGlyphOrder(list(glyphs))
    builder.setupCharacterMap({ord(character): f"g{ord(character)}" for character in boxes})
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics({name: (500, getattr(glyph, "xMin", 0)) for name, glyph in glyphs.items()})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Boxes", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(folder / "boxes.ttf")
    return find_fonts([str(folder / "boxes.ttf")])[0]


def test_a_glyph_is_rejected_only_where_it_would_be_clipped(tmp_path) -> None:
    font = build_font(tmp_path, {"i": (50, 0, 450, 700), "l": (-200, 0, 300, 700), "t": (50, 0, 450, 950)})
    draw_line("il", font, PLAIN)
    with pytest.raises(RenderError, match="clipped_glyph: boxes at 48 px: l"):
        draw_line("li", font, PLAIN)
    with pytest.raises(RenderError, match="clipped_glyph: boxes at 48 px: t"):
        draw_line("iti", font, PLAIN)


def test_a_missing_image_of_trdg_is_rejected(monkeypatch) -> None:
    monkeypatch.setattr(FakeTextDataGenerator, "generate", lambda *_: None)
    with pytest.raises(RenderError, match="no_image"):
        draw_line("가나다", FONTS[0], PLAIN)


def test_a_line_has_the_same_crop_of_a_background_each_time() -> None:
    backgrounds = []
    for grey in (200, 230):
        buffer = io.BytesIO()
        Image.new("RGB", (900, 90), (grey, grey, grey)).save(buffer, "PNG")
        backgrounds.append(buffer.getvalue())
    greys = set()
    for seed in range(6):
        style = replace(PLAIN, seed=seed)
        pixels = np.asarray(draw_line("식 24÷8", FONTS[0], style, backgrounds))
        assert np.array_equal(np.asarray(draw_line("식 24÷8", FONTS[0], style, backgrounds)), pixels)
        greys.add(int(pixels[0, 0]))
    assert greys == {200, 230}

"""The renderer compared with trdg for the same lines, with Pillow for the same glyphs, and with itself."""

import hashlib
import io
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont
from skimage.metrics import structural_similarity

from ocr_ray.dataset.images import ImageConfig, encode_image
from ocr_ray.errors import RenderError
from ocr_ray.randomness import keyed_generator
from ocr_ray.render import fast, trdg
from ocr_ray.render.fonts.find import DEFAULT_FONTS, Font, find_available_fonts, shared_characters
from ocr_ray.render.style import LineStyle, StyleConfig, draw_style
from ocr_ray.textgen.corpus import read_corpus
from ocr_ray.textgen.sampler import CHARACTERS, TextConfig, TextInputs, TextSampler

FONTS = find_available_fonts(DEFAULT_FONTS)
SAMPLER = TextSampler(
    TextInputs(words=read_corpus(None).words, characters=shared_characters(FONTS)), TextConfig()
)
PAGES = StyleConfig()
PLAIN = LineStyle(
    text_height_px=44,
    font_size_px=48,
    margins_px=(2, 2, 2, 2),
    ink=0,
    paper=255,
    skew_deg=0.0,
    blur_px=0.0,
    noise=0.0,
    space_width=1.0,
    letter_spacing=0.0,
    neighbour="",
    neighbour_px=0,
    seed=0,
)
numbers = st.integers(0, 10**8)


def draw_trdg_style(number: int) -> LineStyle:
    """Return a style that trdg can draw: font size equal to the height, whole degrees, white paper."""
    random = keyed_generator(5, "trdg", number)
    size_px = int(random.integers(32, 65))
    top, left, bottom, right = (int(margin) for margin in random.integers(2, 9, 4))
    return replace(
        PLAIN,
        text_height_px=size_px - top - bottom,
        font_size_px=size_px,
        margins_px=(top, left, bottom, right),
        ink=int(random.integers(0, 81)),
        skew_deg={3: -1.0, 8: 1.0}.get(number % 10, 0.0),
        blur_px=round(float(random.uniform(0, 0.8)), 2),
        space_width=round(float(random.uniform(0.7, 1.3)), 2),
        letter_spacing=int(random.integers(0, 3)) / size_px,
    )


def find_ink(pixels: npt.NDArray[np.uint8], *, below: int = 200) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the pixels darker than `below`."""
    rows, columns = np.nonzero(pixels < below)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


Pair = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], LineStyle]


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    """The final squares of 300 lines, by trdg with Pillow and by the renderer, with their styles."""

    def draw_pairs() -> Iterator[Pair]:
        number = 0
        while number < 300:
            text, style = SAMPLER.draw(11, number).text, draw_trdg_style(number)
            font = FONTS[number % len(FONTS)]
            number += 1
            expected = trdg.draw_line(text, font, style).resize((384, 384), Image.Resampling.BILINEAR)
            yield np.asarray(expected), fast.draw_line(text, font, style, square=True)[0], style

    return list(draw_pairs())


def test_lines_look_like_those_of_trdg(pairs: list[Pair]) -> None:
    similarities = [structural_similarity(expected, drawn) for expected, drawn, _ in pairs]
    assert np.median(similarities) >= 0.97
    assert np.percentile(similarities, 1) >= 0.92


def test_ink_is_where_trdg_draws_it(pairs: list[Pair]) -> None:
    for expected, drawn, _ in pairs:
        assert np.abs(np.subtract(find_ink(expected), find_ink(drawn))).max() <= 0.03 * 384


def test_ink_is_as_dark_as_that_of_trdg(pairs: list[Pair]) -> None:
    differences = []
    for expected, drawn, style in pairs:
        ink = expected < (style.ink + style.paper) / 2
        differences.append(np.abs(expected[ink].astype(int) - drawn[ink]).mean())
    assert np.mean(differences) <= 8


@pytest.mark.parametrize("font", FONTS, ids=lambda font: font.name)
def test_every_glyph_keeps_its_ink(font: Font) -> None:
    """A line of one glyph has the same ink as the glyph drawn by Pillow on a large canvas."""
    pillow_font = ImageFont.truetype(io.BytesIO(font.content), 48, index=font.face)
    for character in sorted(CHARACTERS & font.characters() - {" "})[::17]:
        canvas = Image.new("L", (200, 200), 255)
        ImageDraw.Draw(canvas).text((50, 50), character, fill=0, font=pillow_font)
        left, top, right, bottom = find_ink(np.asarray(canvas), below=220)
        lowest = max(pillow_font.getbbox(character)[3], int(0.6 * 48)) - min(
            0, pillow_font.getbbox(character)[1]
        )
        scale = 44 / lowest
        drawn = find_ink(fast.draw_line(character, font, PLAIN)[0], below=220)
        assert abs(drawn[2] - drawn[0] - (right - left) * scale) <= 2 + scale, character
        assert abs(drawn[3] - drawn[1] - (bottom - top) * scale) <= 2 + scale, character


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 100), numbers, st.sampled_from(FONTS))
def test_the_text_does_not_touch_any_edge(seed: int, number: int, font: Font) -> None:
    style = replace(draw_style(PAGES, seed, number), noise=0.0, neighbour="", ink=0, paper=255, blur_px=0.0)
    pixels, width_px = fast.draw_line(SAMPLER.draw(seed, number).text, font, style)
    assert pixels.shape == (style.height_px, width_px)
    assert pixels.min() < 128
    assert min(edge.min() for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])) > 128


@settings(deadline=None, max_examples=40)
@given(numbers, st.sampled_from(FONTS))
def test_a_neighbour_adds_ink_at_its_edge_and_does_not_change_the_text(number: int, font: Font) -> None:
    config = replace(PAGES, neighbour_share=1.0, noise_share=0.0, blur=(0.0, 0.0))
    style, text = draw_style(config, 3, number), SAMPLER.draw(3, number).text
    alone, _ = fast.draw_line(text, font, replace(style, neighbour="", neighbour_px=0))
    with_neighbour, _ = fast.draw_line(text, font, style)
    rows = slice(0, style.neighbour_px) if style.neighbour == "top" else slice(-style.neighbour_px, None)
    changed = np.nonzero((alone != with_neighbour).any(axis=1))[0]
    assert set(changed) <= set(np.arange(style.height_px)[rows])
    assert with_neighbour[rows].min() < style.paper


@settings(deadline=None, max_examples=40)
@given(numbers, st.sampled_from(FONTS), st.booleans())
def test_a_line_is_drawn_the_same_after_other_lines(number: int, font: Font, square: bool) -> None:
    style, text = draw_style(PAGES, 3, number), "나눗셈식 3 × 8 = 24"
    first, width_px = fast.draw_line(text, font, style, square=square)
    fast.draw_line("다른 줄", font, draw_style(PAGES, 3, number + 1))
    again, same_width_px = fast.draw_line(text, font, style, square=square)
    assert np.array_equal(first, again)
    assert width_px == same_width_px


def test_a_line_is_drawn_the_same_after_the_glyph_cache_was_cleared(monkeypatch) -> None:
    style = replace(PLAIN, skew_deg=0.4, noise=4.0)
    before, _ = fast.draw_line("분모가 같은 분수", FONTS[0], style, square=True)
    monkeypatch.setattr(fast, "MAX_GLYPHS", 3)
    for number in range(20):
        fast.draw_line(SAMPLER.draw(1, number).text, FONTS[0], style)
        assert sum(map(len, fast._caches.values())) <= 3
    assert np.array_equal(fast.draw_line("분모가 같은 분수", FONTS[0], style, square=True)[0], before)


def test_a_line_is_drawn_the_same_in_another_process() -> None:
    program = (
        "import hashlib\n"
        "from ocr_ray.dataset.images import ImageConfig\n"
        "from ocr_ray.render import fast\n"
        "from ocr_ray.render.fonts.find import DEFAULT_FONTS, find_available_fonts\n"
        "from ocr_ray.render.style import StyleConfig, draw_style\n"
        "font = find_available_fonts(DEFAULT_FONTS)[0]\n"
        "styles = [draw_style(StyleConfig(), 7, number) for number in range(40)]\n"
        "files = [fast.encode_line('탁자 7개', font, style, ImageConfig())[0] for style in styles]\n"
        "print(hashlib.sha256(b''.join(files)).hexdigest())\n"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    namespace: dict = {}
    exec(program.replace("print(", "digest = ("), namespace)
    assert other.strip() == namespace["digest"]


def test_noise_has_the_requested_strength_and_is_stretched_with_the_line() -> None:
    style = replace(PLAIN, noise=8.0, paper=200, margins_px=(40, 300, 40, 300))
    native, width_px = fast.draw_line("가", FONTS[0], style)
    paper = native[:, :200].astype(float)
    assert paper.mean() == pytest.approx(200, abs=0.5)
    assert paper.std() == pytest.approx(8, rel=0.05)
    square, _ = fast.draw_line("가", FONTS[0], style, square=True)
    reduced = np.asarray(Image.fromarray(native).resize((384, 384), Image.Resampling.BILINEAR))
    assert square[:, :90].std() == pytest.approx(reduced[:, :90].std(), rel=0.1)
    assert width_px > 384


def test_skew_rotates_anticlockwise() -> None:
    style = replace(PLAIN, skew_deg=3.0)
    pixels, _ = fast.draw_line("---------", FONTS[0], style)
    middle = pixels.shape[1] // 2
    assert find_ink(pixels[:, :middle])[1] > find_ink(pixels[:, middle:])[1]


def test_jpegs_equal_those_of_pillow_and_pngs_keep_every_pixel() -> None:
    pixels, _ = fast.draw_line("식 24÷8", FONTS[0], PLAIN, square=True)
    jpeg, png = ImageConfig(format="jpeg"), ImageConfig(format="png")
    assert fast.encode_canvas(pixels, jpeg) == encode_image(Image.fromarray(pixels), jpeg)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(fast.encode_canvas(pixels, png)))), pixels)


def test_a_glyph_left_of_its_origin_keeps_its_ink(tmp_path) -> None:
    font = build_boxes(tmp_path)
    box = fast.draw_line("l", font, replace(PLAIN, margins_px=(2, 6, 2, 6)))[0]
    assert (box[:, 0] == 255).all()
    left, _, right, _ = find_ink(box)
    assert left == pytest.approx(6, abs=1)
    assert right < box.shape[1] - 6


def build_boxes(folder) -> Font:
    from render.test_trdg import build_font

    return build_font(folder, {"l": (-200, 0, 300, 700), " ": (0, 0, 0, 0)})


def test_lines_that_cannot_be_drawn_are_rejected_with_a_reason() -> None:
    with pytest.raises(RenderError, match=r"missing_glyph: .* lacks −"):
        fast.draw_line("3 − 1", FONTS[0], PLAIN)
    with pytest.raises(RenderError, match=r"no_ink: '  ' has no visible ink"):
        fast.draw_line("  ", FONTS[0], PLAIN)


def test_every_style_changes_the_image() -> None:
    digests = {
        hashlib.sha256(fast.draw_line("탁자 7개", FONTS[0], replace(PLAIN, **change))[0]).hexdigest()
        for change in (
            {},
            {"ink": 60},
            {"paper": 220},
            {"skew_deg": 0.5},
            {"blur_px": 0.6},
            {"noise": 3.0},
            {"space_width": 1.4},
            {"letter_spacing": 0.1},
            {"neighbour": "top", "neighbour_px": 1, "margins_px": (4, 2, 2, 2)},
            {"text_height_px": 20},
        )
    }
    assert len(digests) == 10

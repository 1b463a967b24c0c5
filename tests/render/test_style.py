from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocr_ray.dataset.lines import FIRST_NUMBERS
from ocr_ray.render.style import (
    FONT_SIZES_PX,
    LineStyle,
    StyleConfig,
    choose_font,
    draw_style,
    restrict_to_trdg,
)

FONTS = ("바탕", "맑은 고딕", "굴림")
PAGES = StyleConfig()
SEEDS = st.integers(0, 2**63 - 1)
NUMBERS = st.integers(0, 900_000_000)


def draw_many(config: StyleConfig, count: int = 4_000) -> list[LineStyle]:
    return [draw_style(config, 7, number) for number in range(count)]


@given(SEEDS, NUMBERS)
def test_every_value_of_a_style_is_in_its_range(seed: int, number: int) -> None:
    style = draw_style(PAGES, seed, number)
    assert style == draw_style(PAGES, seed, number)
    assert 12 <= style.text_height_px <= 64
    assert style.font_size_px in FONT_SIZES_PX
    assert style.font_size_px >= style.text_height_px
    assert all(1 <= margin <= max(3, round(0.4 * 64)) for margin in style.margins_px)
    assert style.height_px == style.margins_px[0] + style.text_height_px + style.margins_px[2]
    assert 0 <= style.ink <= 96 < 208 <= style.paper <= 255
    assert abs(style.skew_deg) <= 1
    assert 0 <= style.blur_px <= 0.025 * 64 + 0.005
    assert style.noise == 0 or 2 <= style.noise <= 10
    assert 0.7 <= style.space_width <= 1.4
    assert -0.02 <= style.letter_spacing <= 0.12


@given(SEEDS, NUMBERS)
def test_a_neighbour_leaves_a_pixel_of_paper_before_the_text(seed: int, number: int) -> None:
    style = draw_style(replace(PAGES, neighbour_share=1.0, margin=(0.01, 0.5)), seed, number)
    margin = style.margins_px[0 if style.neighbour == "top" else 2]
    assert 1 <= style.neighbour_px <= min(margin - 2, max(1, 0.2 * style.text_height_px + 0.5))


def test_shares_are_as_requested() -> None:
    styles = draw_many(PAGES)
    assert sum(style.skew_deg != 0 for style in styles) / 4_000 == pytest.approx(0.2, abs=0.03)
    assert sum(style.noise > 0 for style in styles) / 4_000 == pytest.approx(0.2, abs=0.03)
    assert sum(style.neighbour != "" for style in styles) / 4_000 == pytest.approx(0.1, abs=0.02)
    level = draw_many(replace(PAGES, skew_share=0.0, noise_share=0.0, neighbour_share=0.0), 500)
    assert {(style.skew_deg, style.noise, style.neighbour) for style in level} == {(0.0, 0.0, "")}


def test_heights_are_log_uniform() -> None:
    """Half of the lines are below 28 px, because 28/12 is about 64/28."""
    heights = [style.text_height_px for style in draw_many(PAGES)]
    assert sum(height < 27.7 for height in heights) / 4_000 == pytest.approx(0.5, abs=0.03)
    assert min(heights) == 12
    assert max(heights) == 64


def test_a_range_of_one_value_is_that_value() -> None:
    config = StyleConfig(text_height_px=(15, 15), ink=(30, 30), paper=(250, 250), blur=(0.0, 0.0))
    for style in draw_many(config, 50):
        assert (style.text_height_px, style.ink, style.paper, style.blur_px) == (15, 30, 250, 0.0)


def test_without_a_config_the_style_is_trdgs_default() -> None:
    first, second = draw_style(None, 7, 0), draw_style(None, 7, 1)
    assert replace(first, seed=0) == replace(second, seed=0)
    assert (first.height_px, first.margins_px, first.ink, first.skew_deg) == (32, (5, 5, 5, 5), 0x28, 0.0)
    assert restrict_to_trdg(first) == first


def test_trdg_draws_whole_degrees_and_no_neighbour() -> None:
    style = replace(
        draw_style(PAGES, 7, 0), skew_deg=0.6, neighbour="top", neighbour_px=2, letter_spacing=-0.02
    )
    drawn = restrict_to_trdg(style)
    assert (drawn.skew_deg, drawn.neighbour, drawn.neighbour_px, drawn.letter_spacing) == (1.0, "", 0, 0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text_height_px": (64, 12)}, r"style.text_height_px must be two values from 6 to 256, the smaller"),
        ({"margin": (0.0, 0.3)}, r"style.margin must be two values from 0.01 to 2"),
        ({"skew_share": 1.5}, r"style.skew_share must be from 0 to 1, got 1.5"),
        (
            {"ink": (0, 200)},
            r"style.ink must be at least 32 grey values below style.paper, got ink up to 200",
        ),
        ({"noise": (float("nan"), 2.0)}, r"style.noise must be two values"),
    ],
)
def test_invalid_ranges_are_rejected(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StyleConfig(**options)


@given(SEEDS, st.sampled_from(sorted(FIRST_NUMBERS.values())), st.integers(0, 30_000_000))
def test_each_run_of_lines_has_every_font_once(seed: int, first: int, run: int) -> None:
    fonts = [choose_font(FONTS, seed, first + 3 * run + offset) for offset in range(3)]
    assert sorted(fonts) == sorted(FONTS)


def test_the_font_is_independent_of_the_position_in_the_run() -> None:
    firsts = Counter(choose_font(FONTS, 7, 3 * run) for run in range(3_000))
    assert all(850 < firsts[font] < 1_150 for font in FONTS)

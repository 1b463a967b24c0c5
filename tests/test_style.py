from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ocr_ray.lines import FIRST_NUMBERS
from ocr_ray.render.style import choose_font, draw_style

FONTS = ("바탕", "맑은 고딕", "굴림")


@given(st.integers(0, 2**63 - 1), st.integers(0, 900_000_000))
def test_a_style_leaves_room_for_the_text(seed: int, number: int) -> None:
    style = draw_style(seed, number)
    assert style == draw_style(seed, number)
    top, left, bottom, right = style.margins_px
    assert style.height_px - top - bottom >= 16
    assert min(top, left, bottom, right) >= 1
    assert 0 <= style.ink <= 80


@given(st.integers(0, 2**63 - 1), st.sampled_from(sorted(FIRST_NUMBERS.values())), st.integers(0, 30_000_000))
def test_each_run_of_as_many_lines_as_fonts_has_every_font_once(seed: int, first: int, turn: int) -> None:
    fonts = [choose_font(FONTS, seed, first + turn * 3 + place) for place in range(3)]
    assert sorted(fonts) == sorted(FONTS)


def test_the_font_is_not_tied_to_the_place_in_the_run() -> None:
    firsts = Counter(choose_font(FONTS, 7, 3 * turn) for turn in range(3_000))
    assert all(850 < firsts[font] < 1_150 for font in FONTS)

import io
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from ocr_ray.dataset.ink import find_ink
from ocr_ray.pages.files.page_image import open_page
from ocr_ray.pages.layout.text_rows import find_bands, pad_bands, trim_columns
from ocr_ray.pages.synthetic.pages import SyntheticPage, make_page
from ocr_ray.render.fonts.find import Font
from ocr_ray.textgen.corpus import read_corpus

ROWS = ["다음을 계산해 보세요.", "÷ (3 + 5) = □", "① 12 ② 240 ③ 7"]


def face(font: Font, size_px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(io.BytesIO(font.content), size_px, font.face)


def draw(rows: list[str], font: Font, size_px: int = 15, pitch: float = 1.6) -> Image.Image:
    """Return rows of print below each other; the pitch is in font sizes."""
    page = Image.new("L", (420, round(size_px * pitch * len(rows)) + 20), 255)
    for rank, text in enumerate(rows):
        y_px = 5 + round(rank * pitch * size_px)
        ImageDraw.Draw(page).text((6, y_px), text, 26, font=face(font, size_px))
    return page


def count_rows(image: Image.Image, num_lines: int = 1) -> int:
    return len(find_bands(find_ink(np.asarray(image)), num_lines))


@pytest.fixture(scope="module")
def pages(fonts: list[Font]) -> list[tuple[SyntheticPage, Image.Image]]:
    """Seventy pages in each of the fonts."""
    drawn = [
        make_page(11, number, font_bytes=font.content, font_index=font.face)
        for font in fonts
        for number in range(70)
    ]
    return [(page, open_page(page.image_bytes)) for page in drawn]


def test_a_line_of_a_page_is_one_row(pages: list[tuple[SyntheticPage, Image.Image]]) -> None:
    for drawn, page in pages:
        for line in drawn.lines:
            assert count_rows(page.crop(line.box)) == 1, (drawn.page_id, line.text)


def test_boxes_of_several_lines_are_cut_between_the_lines(
    pages: list[tuple[SyntheticPage, Image.Image]],
) -> None:
    assert sum(len(drawn.lines) > 1 for drawn, _ in pages) > 60
    for drawn, page in pages:
        x0s, y0s, x1s, y1s = zip(*(line.box for line in drawn.lines), strict=True)
        left, top, right, bottom = min(x0s), min(y0s), max(x1s), max(y1s)
        bands = find_bands(find_ink(np.asarray(page.crop((left, top, right, bottom)))), len(drawn.lines))
        for line, (y0, y1) in zip(drawn.lines, pad_bands(bands, bottom - top), strict=True):
            assert y0 + top <= line.ink[1], line.text
            assert line.ink[3] <= y1 + top, line.text


@pytest.mark.parametrize("size_px", [12, 15, 20])
def test_words_whose_syllables_have_gaps_at_one_height_are_one_row(fonts: list[Font], size_px: int) -> None:
    words = [word for word in read_corpus(None).words if len(word) == 2][:300]
    for font in fonts:
        wrong = [
            word
            for word in [*words, "두부", "수수", "구두", "극"]
            if count_rows(draw([word], font, size_px)) > 1
        ]
        assert not wrong, font.name


@pytest.mark.parametrize(
    "text", ["=", "÷", ":", "…", "%", "i", "ㅡ", "_", "②", "3:4=6:8", "6÷2", "30° ~ 45°"]
)
def test_signs_of_several_strokes_are_one_row(fonts: list[Font], text: str) -> None:
    assert [count_rows(draw([text], font, size)) for font in fonts for size in (15, 20)] == [1] * 2 * len(
        fonts
    )


@pytest.mark.parametrize("gaps_px", [(2, 2), (3, 3), (6, 4)])
@pytest.mark.parametrize("num_lines", [1, 2])
def test_a_stacked_fraction_alone_is_one_row(
    fonts: list[Font], gaps_px: tuple[int, int], num_lines: int
) -> None:
    for font in fonts:
        page = Image.new("L", (60, 60), 255)
        pen = ImageDraw.Draw(page)
        pen.text((10, 24 - gaps_px[0]), "3", 0, font=face(font, 15), anchor="lb")
        pixels = np.asarray(page)
        bottom = int(np.flatnonzero((pixels < 128).any(axis=1))[-1]) + 1
        bar_y = bottom + gaps_px[0]
        pen.line((8, bar_y, 22, bar_y), 0)
        digit = Image.new("L", (60, 60), 255)
        ImageDraw.Draw(digit).text((10, 10), "4", 0, font=face(font, 15))
        digit = digit.crop(ImageOps.invert(digit).getbbox())
        page.paste(digit, (10, bar_y + 1 + gaps_px[1]))
        assert count_rows(page, num_lines) == 1, font.name


@pytest.mark.parametrize("pitch", [1.4, 1.6, 2.0, 3.0])
@pytest.mark.parametrize("size_px", [12, 15, 20, 30])
def test_rows_of_common_pitches_and_sizes_are_separated(
    fonts: list[Font], pitch: float, size_px: int
) -> None:
    for font in fonts:
        assert count_rows(draw(ROWS, font, size_px, pitch), len(ROWS)) == len(ROWS), font.name


def test_rows_that_are_clearly_apart_are_separated_even_if_the_text_has_one_line(fonts: list[Font]) -> None:
    for font in fonts:
        assert count_rows(draw([ROWS[0], ROWS[2]], font, 15, 1.8), 1) == 2


def as_jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return Image.open(buffer)


def in_frame(image: Image.Image) -> Image.Image:
    framed = ImageOps.expand(image, 3, 255)
    ImageDraw.Draw(framed).rectangle((2, 2, framed.width - 3, framed.height - 3), outline=60)
    return framed


def make_faint(image: Image.Image) -> Image.Image:
    return image.point([200 + grey // 8 * 2 - 10 if grey < 255 else 245 for grey in range(256)])


def add_noise(image: Image.Image) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, 8, (image.height, image.width))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


def blur(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.BoxBlur(1))


@pytest.mark.parametrize(
    "damage",
    [as_jpeg, in_frame, ImageOps.invert, make_faint, add_noise, blur],
)
def test_rows_are_found_in_other_kinds_of_print(
    fonts: list[Font], damage: Callable[[Image.Image], Image.Image]
) -> None:
    for font in fonts:
        assert count_rows(damage(draw(ROWS, font, 18, 1.8)), len(ROWS)) == len(ROWS), font.name


def test_remains_of_another_row_at_the_edge_are_not_a_row(fonts: list[Font]) -> None:
    for font in fonts:
        image = draw(["가나다라마바", "다음 수를 쓰세요."], font, 16, 1.8)
        (_, y1), (_, end) = find_bands(find_ink(np.asarray(image)), 2)
        assert count_rows(image.crop((0, y1 - 3, image.width, end))) == 1


def test_blank_and_nearly_blank_paper_has_no_rows() -> None:
    assert count_rows(Image.new("L", (50, 20), 255)) == 0
    assert count_rows(Image.effect_noise((50, 20), 4)) == 0


INKS = st.tuples(st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**32), st.floats(0, 1))


@settings(deadline=None)
@given(INKS, st.integers(1, 4))
def test_bands_are_in_order_contain_all_ink_and_do_not_overlap_with_padding(
    shape: tuple[int, int, int, float], num_lines: int
) -> None:
    height, width, seed, share = shape
    rng = np.random.default_rng(seed)
    ink: npt.NDArray[np.bool_] = (rng.random((height, 1)) < share) & (rng.random((height, width)) < 0.4)
    bands = find_bands(ink, num_lines)
    covered = np.zeros(height, bool)
    for y0, y1 in bands:
        assert 0 <= y0 < y1 <= height
        covered[y0:y1] = True
    assert all(upper[1] < lower[0] for upper, lower in pairwise(bands))
    inside = ink[:, ink.mean(axis=0) < 0.9]
    assert (covered | ~(inside if inside.any() else ink).any(axis=1)).all()
    padded = pad_bands(bands, height) if bands else []
    assert all(upper[1] <= lower[0] for upper, lower in pairwise(padded))
    for (y0, y1), (top, bottom) in zip(bands, padded, strict=True):
        assert 0 <= top <= y0
        assert y1 <= bottom <= height
        assert max(y0 - top, bottom - y1) <= 2


def test_columns_are_trimmed_to_the_ink_and_two_pixels_of_paper() -> None:
    ink = np.zeros((5, 30), bool)
    assert trim_columns(ink) == (0, 30)
    ink[2, 10:15] = True
    assert trim_columns(ink) == (8, 17)
    ink[0, 29] = True
    assert trim_columns(ink) == (8, 30)

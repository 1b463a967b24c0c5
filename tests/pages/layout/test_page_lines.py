"""Lines of whole pages: every printed line, in order, and nothing of figures, frames and rules."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ocr_ray.pages.files.page_image import open_page
from ocr_ray.pages.layout.page_lines import find_lines
from ocr_ray.pages.synthetic.pages import make_page
from ocr_ray.render.fonts.find import Font
from ocr_ray.render.one_line import render_line

Corners = tuple[int, int, int, int]


class Sheet:
    """A page that remembers where its lines are printed."""

    def __init__(self, font: Font, width_px: int = 760, height_px: int = 900) -> None:
        self.font = font
        self.image = Image.new("L", (width_px, height_px), 255)
        self.draw = ImageDraw.Draw(self.image)
        self.lines: list[Corners] = []

    def print(self, text: str, x_px: int, y_px: int, size_px: int = 18) -> None:
        face = ImageFont.truetype(io.BytesIO(self.font.content), size_px, self.font.face)
        before = self.image.copy()
        self.draw.text((x_px, y_px), text, 20, font=face)
        changed = np.argwhere(np.asarray(before) != np.asarray(self.image))
        (top, left), (bottom, right) = changed.min(axis=0), changed.max(axis=0)
        self.lines.append((int(left), int(top), int(right) + 1, int(bottom) + 1))

    def assert_found(self, without: int = 0) -> None:
        """Check that the lines are found in their order, each with at most 6 px around its ink."""
        wanted = self.lines[: len(self.lines) - without]
        found = find_lines(np.asarray(self.image))
        assert len(found) == len(wanted)
        for (x0, y0, x1, y1), (left, top, right, bottom) in zip(found, wanted, strict=True):
            margins = (left - x0, top - y0, x1 - right, y1 - bottom)
            assert all(-1 <= margin <= 6 for margin in margins), margins  # -1: a faint edge


def print_problem(sheet: Sheet) -> None:
    sheet.print("단원 평가", 300, 30, size_px=30)
    for rank, text in enumerate(
        ["1. 다음 그림을 보고 물음에 답하세요.", "사각형의 둘레는 몇 cm입니까?", "두부 소수 승부"]
    ):
        sheet.print(text, 40, 100 + 34 * rank)
    for rank, text in enumerate(["① 3 × 8 = 24", "② 12 ÷ 4 = 3", "③ □ + 5 = 11", "④ 240", "⑤ 없음"]):
        sheet.print(text, 40, 360 + 30 * rank)


def test_a_page_of_paragraphs_choices_and_a_figure_gives_its_lines_in_order(fonts: list[Font]) -> None:
    for font in fonts:
        sheet = Sheet(font)
        print_problem(sheet)
        sheet.draw.polygon([(540, 330), (700, 330), (610, 210)], outline=20, width=2)
        sheet.print("5 cm", 600, 300, size_px=14)  # inside the figure, which is left out
        sheet.assert_found(without=1)


def test_frames_and_rules_are_no_lines_and_the_print_in_a_frame_is(fonts: list[Font]) -> None:
    sheet = Sheet(fonts[0])
    print_problem(sheet)
    sheet.draw.line((40, 80, 720, 80), fill=20, width=2)
    sheet.draw.rectangle((30, 560, 720, 660), outline=20, width=2)
    sheet.print("보기: 3, 8, 24, 31", 60, 580)
    sheet.print("가장 큰 수와 가장 작은 수", 60, 620)
    sheet.print("- 7 -", 360, 850, size_px=14)
    sheet.draw.point((300, 880), 20)
    sheet.draw.rectangle((300, 770, 302, 772), fill=20)  # a speck far from print
    sheet.assert_found()


@pytest.mark.parametrize("schema", ["71716", "71859"])
def test_every_line_of_a_synthetic_page_is_found_in_order(fonts: list[Font], schema) -> None:
    num_figures = 0
    for number in range(15):
        font = fonts[number % len(fonts)]
        page = make_page(5, number, font_bytes=font.content, font_index=font.face, schema=schema)
        found = find_lines(np.asarray(open_page(page.image_bytes)))
        assert len(found) == len(page.lines)
        for (x0, y0, x1, y1), line in zip(found, page.lines, strict=True):
            left, top, right, bottom = line.ink
            assert (x0 <= left, y0 <= top, x1 >= right, y1 >= bottom) == (True,) * 4, line.text
        num_figures += page.figure is not None
    assert num_figures


@pytest.mark.parametrize("text", ["두부", "승", "호", "3 × 8 = 24", "다음을 계산해 보세요."])
def test_the_image_of_a_line_is_one_line_as_it_is(text: str) -> None:
    image = render_line(text)
    assert find_lines(np.asarray(image)) == [(0, 0, image.width, image.height)]


def test_short_lines_below_each_other_are_not_the_parts_of_a_syllable(fonts: list[Font]) -> None:
    texts = ["탁자 7개", "3 × 8 = 24", "모두 몇 개인지"]
    for font in fonts:
        image = Image.new("L", (400, 160), 255)
        face = ImageFont.truetype(io.BytesIO(font.content), 20, font.face)
        for rank, text in enumerate(texts):
            ImageDraw.Draw(image).text((20, 20 + 40 * rank), text, 0, font=face)
        assert len(find_lines(np.asarray(image))) == len(texts), font.name


def test_a_blank_page_has_no_lines_and_a_nearly_blank_one_its_only_line(fonts: list[Font]) -> None:
    assert find_lines(np.full((300, 200), 255, np.uint8)) == []
    sheet = Sheet(fonts[0])
    sheet.print("탁자 7개", 100, 500)
    sheet.assert_found()

"""Boxes cut into rows of print without knowing their texts: the same rows as where they are known."""

import io

import numpy as np
import pytest
from fakes.perfect_reader import NATIVE, forget_texts, make_pages
from PIL import Image, ImageDraw, ImageFont

from ocr_ray.errors import CropError
from ocr_ray.pages.crop import crop_page, cut_strips
from ocr_ray.pages.labels.read import Box, read_label
from ocr_ray.pages.page_image import open_page


def make_box(x0: float, y0: float, x1: float, y1: float) -> Box:
    return Box(index=3, x0=x0, y0=y0, x1=x1, y1=y1, markup="")


@pytest.mark.parametrize("margin_px", [0, 2])
def test_rows_are_those_that_are_cropped_where_the_texts_are_known(fonts, margin_px: int) -> None:
    num_rows = 0
    for page in (page for font in fonts for page in make_pages(font.content, 8)):
        image = open_page(page.image_bytes)
        strips = []
        for box in read_label(forget_texts(page.label_bytes), page.page_id).boxes:
            strips += cut_strips(image, box, order=len(strips), margin_px=margin_px)
        style = type(NATIVE)(image=NATIVE.image, margin_px=margin_px)
        lines = crop_page(read_label(page.label_bytes, page.page_id), image, style).lines
        assert [(f"{page.page_id}#{strip.name}", strip.order) for strip in strips] == [
            (line.line_id, line.page_order) for line in lines
        ]
        for strip, line in zip(strips, lines, strict=True):
            pixels = np.asarray(Image.open(io.BytesIO(line.image_bytes)))
            assert np.array_equal(np.asarray(strip.image), pixels)
            assert strip.has_ink
        num_rows += sum("." in strip.name for strip in strips)
    assert num_rows > 20


def test_two_rows_are_two_strips_in_order_and_paper_is_one_without_ink() -> None:
    page = Image.new("L", (100, 60), 255)
    ImageDraw.Draw(page).rectangle((10, 10, 89, 19), fill=0)
    ImageDraw.Draw(page).rectangle((20, 35, 59, 44), fill=0)
    strips = cut_strips(page, make_box(5.5, 5.5, 95, 50), order=4, margin_px=0)
    assert [(strip.name, strip.order, strip.box_index) for strip in strips] == [("3.0", 4, 3), ("3.1", 5, 3)]
    assert [strip.image.size for strip in strips] == [(84, 14), (44, 14)]  # the ink and 2 px around it
    (blank,) = cut_strips(page, make_box(0, 46, 100, 60), order=0, margin_px=0)
    assert (blank.name, blank.has_ink, blank.image.size) == ("3", False, (100, 14))


def test_a_lone_syllable_whose_parts_stand_apart_is_one_row(fonts) -> None:
    font = ImageFont.truetype(io.BytesIO(fonts[0].content), 40, index=fonts[0].face)
    page = Image.new("L", (60, 60), 255)
    ImageDraw.Draw(page).text((8, 4), "승", fill=0, font=font)
    (strip,) = cut_strips(page, make_box(0, 0, 60, 60), order=0, margin_px=0)
    assert strip.image.size == (60, 60)


@pytest.mark.parametrize(
    ("corners", "reason"),
    [
        ((10, 10, 10, 20), "empty_box"),
        ((200, 0, 220, 20), "box_outside_page"),
        ((10, 10, 12, 20), "box_too_small"),
    ],
)
def test_a_box_that_cannot_be_cut_says_why(corners: tuple[float, float, float, float], reason: str) -> None:
    with pytest.raises(CropError) as error:
        cut_strips(Image.new("L", (100, 60), 255), make_box(*corners), order=0, margin_px=0)
    assert error.value.reason == reason

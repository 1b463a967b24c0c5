import io

import pytest
from builders.labelled_boxes import NATIVE, draw_rows, make_box, make_label, pixels_of, reasons_of
from PIL import Image, ImageDraw, ImageFont

from ocr_ray.pages.crop import crop_page
from ocr_ray.pages.crop_config import CropStyle
from ocr_ray.render.fonts.find import Font


@pytest.mark.parametrize("markup", ["$1$ 가\n나\n다", "$1$ 가<br>나<br/>다", " $1$ 가 \r\n\n나\r\n다\n"])
def test_a_box_of_several_lines_is_cut_into_them(markup: str) -> None:
    label = make_label(
        make_box(0, 0, 50, 9, "$1$ 가", index=3),
        make_box(0, 0, 190, 75, markup, index=4),
        make_box(0, 0, 50, 9, "나", index=5),
    )
    page = draw_rows(3)
    crops = crop_page(label, page, NATIVE)
    assert [(line.line_id, line.page_order, line.text, line.markup) for line in crops.lines] == [
        ("P3_1#3", 0, "1 가", "$1$ 가"),
        ("P3_1#4.0", 1, "1 가", "$1$ 가"),
        ("P3_1#4.1", 2, "나", "나"),
        ("P3_1#4.2", 3, "다", "다"),
        ("P3_1#5", 4, "나", "나"),
    ]
    for row, line in enumerate(crops.lines[1:4]):
        expected = page.crop((8 + 5 * row, 8 + 20 * row, 102, 22 + 20 * row))
        assert pixels_of(line.image_bytes).tobytes() == expected.tobytes()
        assert (line.width_px, line.height_px) == expected.size


@pytest.mark.parametrize(
    ("num_rows", "markup", "found"),
    [
        (3, "가나 다라", "rows of print: 3, lines in the text: 1"),
        (3, "가\n나", "rows of print: 3, lines in the text: 2"),
        (1, "가\n나", "rows of print: 1, lines in the text: 2"),
        (0, "가\n나", "rows of print: 0, lines in the text: 2"),
    ],
)
def test_a_box_whose_print_has_other_lines_than_its_text_is_a_reject(
    num_rows: int, markup: str, found: str
) -> None:
    label = make_label(make_box(0, 0, 190, 90, markup), make_box(0, 0, 190, 9, "다"))
    crops = crop_page(label, draw_rows(num_rows), NATIVE)
    assert [(reject.reason, reject.detail) for reject in crops.rejects] == [("multi_line_box", found)]
    assert crops.lines[0].page_order == len(markup.split("\n")), "a rejected box leaves a gap"


def test_a_syllable_alone_is_a_line_however_far_apart_its_parts_are(fonts: list[Font]) -> None:
    for font in fonts:
        face = ImageFont.truetype(io.BytesIO(font.content), 20, font.face)
        for syllable in "귿는솜숟승큰슷두극":
            page = Image.new("L", (60, 80), 255)
            ImageDraw.Draw(page).text((20, 10), syllable, 0, font=face)
            label = make_label(make_box(15, 5, 45, 40, syllable))
            assert crop_page(label, page, NATIVE).rejects == []
            ImageDraw.Draw(page).text((20, 45), syllable, 0, font=face)
            label = make_label(make_box(15, 5, 45, 75, syllable))
            assert reasons_of(crop_page(label, page, NATIVE)) == ["multi_line_box"]


def test_a_box_gives_all_of_its_lines_or_none() -> None:
    crops = crop_page(make_label(make_box(0, 0, 190, 75, "가\n\\x\n다")), draw_rows(3), NATIVE)
    assert (crops.lines, reasons_of(crops)) == ([], ["unsupported_markup"])


def test_a_margin_reaches_around_boxes_and_cut_lines_as_far_as_the_page_does() -> None:
    style = CropStyle(image=NATIVE.image, margin_px=6)
    page = draw_rows(2)
    crops = crop_page(make_label(make_box(3, 9, 150, 20), make_box(3, 5, 197, 60, "가\n나")), page, style)
    corners = [(0, 3, 156, 26), (2, 2, 108, 28), (7, 22, 108, 48)]
    assert [pixels_of(line.image_bytes).tobytes() for line in crops.lines] == [
        page.crop(corner).tobytes() for corner in corners
    ]


def test_a_margin_saves_no_box_and_joins_no_lines() -> None:
    style = CropStyle(image=NATIVE.image, margin_px=30)
    label = make_label(make_box(5, 5, 8, 8), make_box(-20, 5, -1, 30), make_box(5, 28, 100, 42, "가나"))
    crops = crop_page(label, draw_rows(3), style)
    assert reasons_of(crops) == ["box_too_small", "box_outside_page"]
    assert [line.text for line in crops.lines] == ["가나"]

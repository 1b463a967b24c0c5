"""Long lines cut at their gaps: nothing lost, nothing cut through, words apart and letters together."""

import io
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from ocr_ray.model.line_reading import LineReading
from ocr_ray.model.long_lines import Piece, cut_pieces, join_pieces, read_in_pieces
from ocr_ray.pages.files.page_image import open_page
from ocr_ray.pages.synthetic.pages import make_page

HEIGHT = 20
LETTER, NARROW, WIDE = 10, 2, 9
"""Widths of a drawn block that stands for a letter, and of the gaps between letters and words."""


def draw_blocks(words: list[int], *, height: int = HEIGHT) -> Image.Image:
    """Return a line of words that have so many letters, each a box; 5 px of paper at the ends."""
    image = Image.new("L", (2000, height), 255)
    x = 5
    for letters in words:
        for _ in range(letters):
            ImageDraw.Draw(image).rectangle((x, 2, x + LETTER - 1, height - 3), outline=0)
            x += LETTER + NARROW
        x += WIDE - NARROW
    return image.crop((0, 0, x - WIDE + 5, height))


def count_letters(image: Image.Image) -> int:
    is_ink = (np.asarray(image) < 128).any(axis=0)
    return int((np.diff(is_ink.astype(int), prepend=0) == 1).sum())


def encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def read_letters(images: Sequence[bytes]) -> list[LineReading]:
    """Read each box as a letter, with a space where the gap is nearly as wide; many are read with doubt."""
    readings = []
    for content in images:
        is_ink = (np.asarray(Image.open(io.BytesIO(content))) < 128).any(axis=0)
        edges = np.flatnonzero(np.diff(is_ink, prepend=False, append=False))
        gaps = (edges[2:-1:2] - edges[1:-1:2]) / (edges[1] - edges[0])
        text = "가" + "".join(" 가" if gap > 0.5 else "가" for gap in gaps)
        readings.append(LineReading(text, 1 / (len(gaps) + 2), reached_limit=len(text) == 4))
    return readings


def test_a_line_that_is_not_too_wide_stays_whole() -> None:
    line = draw_blocks([3, 2])
    (piece,) = cut_pieces(line, line.width / HEIGHT)
    assert (piece.image, piece.x0, piece.x1, piece.is_word) == (line, 0, line.width, False)


def test_words_stay_whole_where_each_is_narrow_enough() -> None:
    pieces = cut_pieces(draw_blocks([3, 4, 2, 4, 3]), 6)
    assert [count_letters(piece.image) for piece in pieces] == [7, 2 + 4, 3]
    assert [piece.is_word for piece in pieces] == [False, True, True]


def test_pieces_are_of_much_the_same_width_and_no_more_than_needed() -> None:
    pieces = cut_pieces(draw_blocks([2] * 6), 5.4)  # three words would just fit, four do not
    assert [count_letters(piece.image) for piece in pieces] == [6, 6]
    pieces = cut_pieces(draw_blocks([2] * 8), 5.4)  # 6, 6 and 4, or as good 6, 4 and 6
    assert sorted(count_letters(piece.image) for piece in pieces) == [4, 6, 6]
    assert [count_letters(piece.image) for piece in cut_pieces(draw_blocks([2] * 8), 10)] == [8, 8]


def test_a_word_that_is_too_wide_is_cut_between_letters_and_joined_without_a_space() -> None:
    line = draw_blocks([2, 9, 2])
    pieces = cut_pieces(line, 3.5)
    assert all((piece.x1 - piece.x0) <= 3.5 * HEIGHT for piece in pieces)
    readings = read_letters([encode(piece.image) for piece in pieces])
    assert join_pieces(pieces, [reading.text for reading in readings]) == "가가 가가가가가가가가가 가가"
    assert [piece.is_word for piece in pieces].count(True) == 2


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.floats(1, 30))
def test_pieces_cover_the_line_and_no_letter_is_cut(words: list[int], max_aspect: float) -> None:
    line = draw_blocks(words)
    pieces = cut_pieces(line, max_aspect)
    joined = np.concatenate([np.asarray(piece.image) for piece in pieces], axis=1)
    assert (joined == np.asarray(line)).all()
    assert [pieces[0].x0, *(piece.x1 for piece in pieces)] == [*(p.x0 for p in pieces), line.width]
    assert sum(count_letters(piece.image) for piece in pieces) == sum(words)
    for piece in pieces:
        assert piece.x1 - piece.x0 <= max_aspect * HEIGHT or count_letters(piece.image) == 1


def test_light_on_dark_is_cut_at_the_same_places() -> None:
    line = draw_blocks([3, 4, 2, 4, 3])
    inverse = Image.fromarray(255 - np.asarray(line))
    assert [p.x0 for p in cut_pieces(inverse, 6)] == [p.x0 for p in cut_pieces(line, 6)]


@pytest.mark.parametrize("underlined", [True, False])
def test_a_line_without_gaps_is_not_cut(underlined: bool) -> None:
    line = draw_blocks([3, 4, 2]) if underlined else Image.new("L", (400, HEIGHT), 200)
    if underlined:
        ImageDraw.Draw(line).line((0, HEIGHT - 2, line.width, HEIGHT - 2), fill=0)
    assert len(cut_pieces(line, 3)) == 1


def test_a_line_stored_as_a_square_is_cut_by_the_shape_it_had() -> None:
    line = draw_blocks([3, 4, 2, 4, 3])
    square = line.resize((384, 384), Image.Resampling.BILINEAR)
    assert len(cut_pieces(square, 6)) == 1
    pieces = cut_pieces(square, 6, size_px=line.size)
    assert [count_letters(piece.image) for piece in pieces] == [7, 6, 3]
    assert {piece.image.height for piece in pieces} == {384}


def test_cuts_of_made_lines_lie_between_words_and_are_known_to(fonts) -> None:
    cuts, wrong = 0, 0
    for font in fonts:
        for number in range(12):
            page = make_page(5, number, font_bytes=font.content, font_index=font.face)
            image = open_page(page.image_bytes)
            for line in page.lines:
                gaps = [
                    (left[2] - line.box[0], right[0] - line.box[0])
                    for left, right in zip(line.words, line.words[1:], strict=False)
                ]
                for piece in cut_pieces(image.crop(line.box), 10)[1:]:
                    cuts += 1
                    wrong += not any(x0 - 1 <= piece.x0 <= x1 + 1 for x0, x1 in gaps)
                    wrong += not piece.is_word
    assert cuts > 100
    assert wrong <= 0.02 * cuts


def test_a_piece_that_says_nothing_takes_no_letter_and_loses_no_space() -> None:
    image = Image.new("L", (1, 1))
    pieces = [
        Piece(image=image, x0=0, x1=1, is_word=is_word) for is_word in (False, True, False, False, True)
    ]
    assert join_pieces(pieces, ["가", " ", "나 ", "다", ""]) == "가 나다"
    assert join_pieces(pieces, ["", "가", "나", "", "다"]) == "가나 다"
    with pytest.raises(ValueError, match="zip"):
        join_pieces(pieces, ["가"])


def test_lines_are_read_in_one_call_and_confidences_weighted_by_characters() -> None:
    calls: list[list[bytes]] = []

    def read(images: Sequence[bytes]) -> list[LineReading]:
        calls.append(list(images))
        return read_letters(images)

    short, long = encode(draw_blocks([2])), encode(draw_blocks([4, 2, 4]))
    texts, confidences, reached_limit = zip(*read_in_pieces(read, [short, long, short], 5), strict=True)
    assert texts == ("가가", "가가가가 가가 가가가가", "가가")
    assert reached_limit == (False, True, False)  # by the first of two pieces
    assert len(calls) == 1
    assert calls[0][0] == calls[0][-1] == short  # not encoded again
    # Two pieces, one of a word of 4, one of 2 and 4 with a space: (5 x 1/5 + 8 x 1/7) / 13.
    assert confidences == pytest.approx([1 / 3, (1 + 8 / 7) / 13, 1 / 3])
    assert read_in_pieces(read, [], 5) == []


def test_a_line_joined_from_long_readings_is_cut_where_a_dataset_ends_it() -> None:
    def repeat(images: Sequence[bytes]) -> list[LineReading]:
        return [LineReading("가" * 1_500, 1.0)] * len(images)

    (reading,) = read_in_pieces(repeat, [encode(draw_blocks([4, 2, 4]))], 5)
    assert reading == LineReading("가" * 1_500 + " " + "가" * 499, 1.0, reached_limit=True)


def test_squares_are_read_by_the_shapes_given() -> None:
    line = draw_blocks([4, 2, 4])
    square = encode(line.resize((384, 384), Image.Resampling.BILINEAR))
    (reading,) = read_in_pieces(read_letters, [square], 5, sizes_px=[line.size])
    assert reading.text == "가가가가 가가 가가가가"


def test_pieces_narrower_than_high_are_refused() -> None:
    with pytest.raises(ValueError, match=r"max_aspect must be at least 1, got 0\.5"):
        cut_pieces(draw_blocks([1]), 0.5)


def test_print_in_a_real_font_is_cut_at_its_spaces(fonts) -> None:
    font = ImageFont.truetype(io.BytesIO(fonts[0].content), 18, index=fonts[0].face)
    words = ["학생들이", "탁자", "7개에", "똑같이", "나누어", "앉으려고", "합니다.", "탁자", "한"]
    line = Image.new("L", (round(font.getlength(" ".join(words))) + 6, 24), 255)
    ImageDraw.Draw(line).text((3, 2), " ".join(words), fill=0, font=font)
    pieces = cut_pieces(line, 8)
    assert len(pieces) > 1
    spaces = [font.getlength(" ".join(words[:rank])) + 3 for rank in range(1, len(words))]
    for piece in pieces[1:]:
        assert piece.is_word
        assert min(abs(piece.x0 - space) for space in spaces) < 9

import io
import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from builders.words import cut_synthetic_words
from PIL import Image

from ocr_ray.dataset.images import ImageConfig
from ocr_ray.dataset.lines import Reject, TextLine
from ocr_ray.pages.layout.splice import SpliceConfig, WordPool, splice_line
from ocr_ray.pages.layout.words import WordImage
from ocr_ray.render.fonts.find import Font
from ocr_ray.text.markup import to_text

NATIVE = SpliceConfig(image=ImageConfig(size="native"))
NUM_LINES = 150


@pytest.fixture(scope="module")
def words(fonts: list[Font]) -> list[WordImage]:
    return cut_synthetic_words(fonts[0].content, 60)


@pytest.fixture(scope="module")
def pool(words: list[WordImage]) -> WordPool:
    return WordPool(words)


@pytest.fixture(scope="module")
def lines(pool: WordPool) -> list[TextLine]:
    results = [splice_line(pool, seed=3, number=number, config=NATIVE) for number in range(NUM_LINES)]
    return [line for line in results if isinstance(line, TextLine)]


def words_of(line: TextLine, pool: WordPool) -> list[WordImage]:
    by_origin = {(word.line_id, word.index): word for word in pool.words}
    return [by_origin[origin] for origin in line.spliced_from or ()]


def make_word(text: str, *, page_id: str, height_px: int = 16, paper: int = 255) -> WordImage:
    """Return a black block as wide as its text."""
    pixels = np.full((height_px, 8 * len(text)), paper, np.uint8)
    pixels[:, 1:-1] = 20
    return WordImage(
        text=text,
        pixels=pixels,
        page_id=page_id,
        line_id=f"{page_id}#0",
        index=0,
        height_px=height_px,
        baseline_px=height_px,
        gap_px=6,
        paper=paper,
        ink=20,
    )


def test_nearly_every_number_gives_a_line(lines: list[TextLine]) -> None:
    assert len(lines) >= 0.97 * NUM_LINES


def test_lines_have_5_to_30_characters_of_every_length(lines: list[TextLine]) -> None:
    lengths = [len(line.text) for line in lines]
    assert 5 <= min(lengths) <= 8
    assert 26 <= max(lengths) <= 30


def test_adjacent_words_come_from_different_pages(lines: list[TextLine], pool: WordPool) -> None:
    for line in lines:
        words = words_of(line, pool)
        assert line.text == " ".join(word.text for word in words)
        assert all(left.page_id != right.page_id for left, right in pairwise(words))
        assert len({word.page_id for word in words}) >= 2
        assert len({word.text for word in words}) == len(words)


def test_words_of_a_line_differ_in_height_by_at_most_two_pixels(
    lines: list[TextLine], pool: WordPool
) -> None:
    assert len({word.height_px for word in pool.words}) > 3
    for line in lines:
        heights = [word.height_px for word in words_of(line, pool)]
        assert max(heights) - min(heights) <= 2


def test_a_spliced_line_has_the_columns_of_any_line(lines: list[TextLine]) -> None:
    for line in lines:
        assert line.source == "spliced"
        assert line.line_id.startswith("spliced#")
        assert (line.page_id, line.page_order, line.font) == (None, None, None)
        assert to_text(line.markup) == line.text
        assert Image.open(io.BytesIO(line.image_bytes)).size == (line.width_px, line.height_px)


def test_a_line_has_exactly_the_ink_of_its_words(lines: list[TextLine], pool: WordPool) -> None:
    for line in lines:
        words = words_of(line, pool)
        pixels = np.asarray(Image.open(io.BytesIO(line.image_bytes))).astype(int)
        assert (255 - pixels).sum() == sum((255 - word.pixels.astype(int)).sum() for word in words)
        border = [pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]
        assert all((side == 255).all() for side in border)


def test_gaps_between_words_are_like_those_in_print(lines: list[TextLine], pool: WordPool) -> None:
    for line in lines:
        words = words_of(line, pool)
        paper_px = line.width_px - sum(word.pixels.shape[1] for word in words)
        gaps = [word.gap_px for word in words]
        assert min(gaps) * (len(words) - 1) + 2 <= paper_px <= (max(gaps) + 1) * (len(words) - 1) + 6


def test_a_line_depends_only_on_seed_number_and_words(words: list[WordImage], lines: list[TextLine]) -> None:
    shuffled = random.Random(1).sample(words, len(words))
    again = WordPool(shuffled)
    for line in lines[:20]:
        number = int(line.line_id.removeprefix("spliced#"))
        assert splice_line(again, seed=3, number=number, config=NATIVE) == line
        assert splice_line(again, seed=4, number=number, config=NATIVE) != line
    assert len({line.image_bytes for line in lines}) == len(lines)


@pytest.mark.parametrize(
    "words",
    [
        [],
        [make_word("하나", page_id="a")],
        [make_word(text, page_id="a") for text in ("하나", "둘이서", "셋이서")],
        [make_word("여럿이서", page_id="a"), make_word("여럿이서", page_id="b")],
        [make_word("하나", page_id="a"), make_word("둘이서", page_id="b", height_px=24)],
        [make_word("하나", page_id="a"), replace(make_word("둘이서", page_id="b"), ink=120)],
        [make_word("가" * 20, page_id="a"), make_word("나" * 20, page_id="b")],
        [make_word("가", page_id="a"), make_word("나", page_id="b")],
        [replace(make_word(text, page_id=text), gap_px=70_000) for text in ("하나", "둘이서")],
        [make_word(text, page_id=text, height_px=2_000_000) for text in ("하나", "둘이서")],
    ],
    ids=[
        *("none", "one", "one page", "one text", "two sizes", "two inks", "too long", "too short"),
        *("too wide", "too high"),
    ],
)
def test_words_that_cannot_be_joined_give_a_reject(words: list[WordImage]) -> None:
    result = splice_line(WordPool(words), seed=3, number=8, config=NATIVE)
    assert isinstance(result, Reject)
    assert (result.reason, result.number) == ("no_words_fit", 8)


def test_words_on_different_papers_are_put_on_one() -> None:
    pool = WordPool([make_word("하나", page_id="a", paper=200), make_word("둘이서", page_id="b", paper=240)])
    result = splice_line(pool, seed=3, number=0, config=NATIVE)
    assert isinstance(result, TextLine)
    pixels = np.asarray(Image.open(io.BytesIO(result.image_bytes)))
    assert set(np.unique(pixels[pixels > 100])) == {220}


@pytest.mark.parametrize("lengths", [(2, 30), (10, 9)])
def test_impossible_lengths_are_refused(lengths: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="min_length must be from 3 to max_length"):
        SpliceConfig(min_length=lengths[0], max_length=lengths[1])


def test_a_negative_difference_in_height_is_refused() -> None:
    with pytest.raises(ValueError, match="max_height_difference_px must not be negative, got -1"):
        SpliceConfig(max_height_difference_px=-1)

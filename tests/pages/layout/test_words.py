import io
import random
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from builders.words import CroppedLine, crop_lines
from PIL import Image

from ocr_ray.dataset.ink import Pixels
from ocr_ray.pages.layout.words import cut_words, find_words
from ocr_ray.render.fonts.find import Font


@pytest.fixture(scope="module")
def lines_by_font(fonts: list[Font]) -> dict[str, list[CroppedLine]]:
    return {
        font.name: [
            *crop_lines(font.content, 30),
            *crop_lines(font.content, 12, schema="71859"),
        ]
        for font in fonts
    }


@pytest.fixture(scope="module")
def lines(lines_by_font: dict[str, list[CroppedLine]]) -> list[CroppedLine]:
    return [line for font_lines in lines_by_font.values() for line in font_lines]


def store_as_jpeg(pixels: Pixels) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer))


def scan(pixels: Pixels) -> Pixels:
    """Return the pixels on grey paper with grain."""
    grain = np.random.default_rng(3).normal(0, 5, pixels.shape)
    return (pixels * 0.85 + grain).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("damage", [np.asarray, store_as_jpeg, scan], ids=["as drawn", "JPEG", "scan"])
def test_every_cut_is_between_words(lines: list[CroppedLine], damage: Callable[[Pixels], Pixels]) -> None:
    num_cut = 0
    for line in lines:
        spans = find_words(damage(line.pixels), line.text)
        if spans is None:
            continue
        num_cut += 1
        assert len(spans) == len(line.words)
        for (x0, x1), (true_x0, true_x1) in zip(spans, line.words, strict=True):
            assert x0 <= true_x0 + 1, f"{line.text}: a word begins later than its ink"
            assert x1 >= true_x1 - 1, f"{line.text}: a word ends before its ink"
        for left, right in pairwise(spans):
            assert left[1] <= right[0]
        for (_, x1), (true_x0, _) in zip(spans[:-1], line.words[1:], strict=True):
            assert x1 <= true_x0, f"{line.text}: a word holds ink of the next"
    assert num_cut >= 0.7 * len(lines)


def test_most_lines_of_every_font_can_be_cut(lines_by_font: dict[str, list[CroppedLine]]) -> None:
    for name, font_lines in lines_by_font.items():
        num_cut = sum(find_words(line.pixels, line.text) is not None for line in font_lines)
        assert num_cut >= 0.75 * len(font_lines), name


def remove_space(text: str, rng: random.Random) -> str:
    at = rng.choice([index for index, char in enumerate(text) if char == " "])
    return text[:at] + text[at + 1 :]


def add_space(text: str, rng: random.Random) -> str:
    at = rng.choice([index for index in range(1, len(text)) if " " not in text[index - 1 : index + 1]])
    return f"{text[:at]} {text[at:]}"


def remove_word(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    del words[rng.randrange(len(words))]
    return " ".join(words)


@pytest.mark.parametrize("damage", [remove_space, add_space, remove_word])
def test_a_line_whose_text_has_other_words_than_its_print_is_rarely_cut(
    lines: list[CroppedLine], damage: Callable[[str, random.Random], str]
) -> None:
    rng = random.Random(5)
    long_lines = [line for line in lines if len(line.words) > 3]
    num_cut = sum(find_words(line.pixels, damage(line.text, rng)) is not None for line in long_lines)
    assert num_cut <= 0.08 * len(long_lines)


def test_lines_without_gaps_between_words_are_not_cut(lines: list[CroppedLine]) -> None:
    blank = np.full((20, 300), 255, np.uint8)
    assert find_words(blank, "두 낱말") is None
    assert find_words(blank - blank, "두 낱말") is None
    framed = lines[0].pixels.copy()
    framed[-2] = 0
    assert find_words(framed, lines[0].text) is None
    assert find_words(lines[0].pixels, lines[0].text.replace(" ", "")) is None
    assert find_words(lines[0].pixels, " ".join("가" * 200)) is None


def test_words_have_the_original_pixels_and_all_ink(lines: list[CroppedLine]) -> None:
    for line in lines:
        words = cut_words(line.pixels, line.text, page_id=line.page_id, line_id=line.line_id)
        assert [word.text for word in words] in ([], line.text.split(" "))
        for word, (x0, x1) in zip(words, line.words, strict=False):
            assert (word.page_id, word.line_id) == (line.page_id, line.line_id)
            height, width = word.pixels.shape
            windows = np.lib.stride_tricks.sliding_window_view(line.pixels, (height, width))
            offsets = windows[:, max(x0 - 3, 0) : x0 + 3].reshape(-1, height, width)
            assert (offsets == word.pixels).all(axis=(1, 2)).any(), "part of the line, near the word"
            dark = (line.pixels[:, x0:x1] < 100).sum()
            assert (word.pixels < 100).sum() == dark > 0


def test_words_of_one_height_have_the_same_baseline(
    lines_by_font: dict[str, list[CroppedLine]],
) -> None:
    for name, font_lines in lines_by_font.items():
        bottoms: dict[int, list[int]] = {}
        for line in font_lines:
            if not line.line_id.endswith("#0"):
                continue  # the first line of each page is drawn at the same height
            for word in cut_words(line.pixels, line.text, page_id="", line_id=""):
                bottoms.setdefault(word.height_px, []).append(line.tops[word.index] + word.baseline_px)
        assert len(bottoms) > 3
        for values in bottoms.values():
            middle = np.median(values)
            assert np.abs(np.array(values) - middle).max() <= 2, name
            assert (np.abs(np.array(values) - middle) <= 1).mean() >= 0.95, name


def test_a_line_without_syllables_gives_no_words(fonts: list[Font]) -> None:
    line = next(iter(crop_lines(fonts[0].content, 3)))
    assert cut_words(line.pixels, "1 + 2 = 3", page_id="", line_id="") == []

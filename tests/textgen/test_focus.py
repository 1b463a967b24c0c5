"""Focused lines: more misread characters, within limits, and still enough of everything else."""

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.dataset.lines import FIRST_NUMBERS
from ocr_ray.errors import InputError
from ocr_ray.text.canonical import canonical
from ocr_ray.text.hangul import KS_X_1001
from ocr_ray.text.markup import to_text
from ocr_ray.textgen import focus
from ocr_ray.textgen.corpus import read_corpus, read_maths_words
from ocr_ray.textgen.focus import find_focusable, keep_focusable
from ocr_ray.textgen.holdout import find_misplaced
from ocr_ray.textgen.misreadings import Misreading
from ocr_ray.textgen.sampler import CHARACTERS, LineText, TextConfig, TextInputs, TextSampler

WORDS = read_corpus(None).words
REPORT = (
    Misreading("갊", "갈", 300),
    Misreading("6", "8", 200),
    Misreading("×", "+", 100),
    Misreading("을", "를", 80),
    Misreading(" ", "", 50),
)
SYMBOLS = "①②③④⑤㉠㉡㉢㉣㉤㉥㉮㉯㉰㉱ㄱㄴㄷㄹㅁㅂ□○△☆×÷=<>(){}→°℃%:~…·.,?!'\""
UNITS = ("mm", "cm", "m", "km", "cm²", "m²", "cm³", "g", "kg", "t", "mL", "L", "시", "분", "초")
PHRASES = ("(1)", "〈보기〉", "식 ____", "답 ____개", "1,000")
ONLY_WORDS: dict[str, Any] = {"arithmetic_share": 0, "mixed_share": 0, "cut_share": 0, "punctuation_share": 0}


def make_sampler(
    *misreadings: Misreading,
    words: tuple[str, ...] = WORDS,
    characters: frozenset[str] = CHARACTERS,
    **options: Any,
) -> TextSampler:
    inputs = TextInputs(words=words, characters=characters.union(*words), misreadings=misreadings)
    return TextSampler(inputs, TextConfig(**options))


def draw_all(sampler: TextSampler, count: int) -> list[LineText]:
    return [sampler.draw(1, number) for number in range(count)]


def count_shares(lines: list[LineText]) -> dict[str, float]:
    """Return each character's share of all characters."""
    counts = Counter("".join(line.text for line in lines))
    return {char: count / counts.total() for char, count in counts.items()}


@pytest.fixture(scope="module")
def usual() -> dict[str, float]:
    return count_shares(draw_all(make_sampler(), 20_000))


@pytest.fixture(scope="module")
def many() -> list[LineText]:
    return draw_all(make_sampler(*REPORT), 100_000)


def test_lines_without_a_focus_have_not_changed() -> None:
    sampler = make_sampler(words=("가", "나비", "사과를"))
    numbers = (*range(2000), *range(800_000_000, 800_000_200))
    texts = "\n".join(sampler.draw(7, number).text for number in numbers)
    digest = hashlib.sha256(texts.encode()).hexdigest()
    assert digest == "237b36eaf62a6f317f3c6410f4783ce7b0fe2fd43203b942dee085fbdd2ed30a"


def test_focused_lines_are_the_same_in_every_process_and_order() -> None:
    program = (
        "import hashlib; from textgen.test_focus import *\n"
        "s = make_sampler(*REPORT, holdout_word_share=0.2)\n"
        "texts = {n: s.draw(7, n).text for n in (5, 800_000_001, *range(300))}\n"
        "print(hashlib.sha256(repr(sorted(texts.items())).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join([*sys.path, "tests"])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
    sampler = make_sampler(*REPORT, holdout_word_share=0.2)
    backwards = {n: sampler.draw(7, n).text for n in reversed((5, 800_000_001, *range(300)))}
    assert digests == {hashlib.sha256(repr(sorted(backwards.items())).encode()).hexdigest() + "\n"}


def test_misread_characters_are_more_frequent_but_within_the_limits(
    usual: dict[str, float], many: list[LineText]
) -> None:
    shares = count_shares(many)
    for char in "갊갈":  # rare: many times as frequent, but less than the twenty most frequent syllables
        assert 5 * usual[char] < shares[char] < 0.0035
    for char in "을를68":  # frequent: more frequent, but less than twice
        assert 1.1 * usual[char] < shares[char] < 2 * usual[char]
    for char in "×+":
        assert 1.05 * usual[char] < shares[char] < 2 * usual[char]
    assert 1.005 * usual[" "] < shares[" "] < 1.1 * usual[" "]


def test_everything_else_stays_above_the_minimum_counts(many: list[LineText]) -> None:
    texts = [line.text for line in many]
    counts = Counter("".join(texts))
    assert min(counts[symbol] for symbol in SYMBOLS) >= 200
    assert min(sum(text.count(phrase) for text in texts) for phrase in PHRASES) >= 200
    for unit in UNITS:
        pattern = re.compile(rf"[0-9] ?{unit}(?![A-Za-z²³가-힣])")
        assert sum(len(pattern.findall(text)) for text in texts) >= 200
    assert min(counts[syllable] for syllable in KS_X_1001) >= 100 / 3  # of 300,000 lines
    assert {grade for line in many for grade in line.grades} == {1, 2, 3, 4, 5, 6}
    sources = Counter(line.source for line in many)
    assert [sources[name] / 100_000 for name in ("words", "arithmetic", "mixed")] == pytest.approx(
        [0.5, 0.3, 0.2], abs=0.01
    )


def test_half_of_the_lines_are_not_focused() -> None:
    # Novel words show a misread space; this config has no others.
    options = ONLY_WORDS | {"novel_share": 0, "maths_share": 0, "min_length": 59, "max_length": 59}
    lines = draw_all(make_sampler(Misreading(" ", "", 1), words=("가나",), **options), 4000)
    num_unfocused = sum(set(line.text) <= set("가나 ") for line in lines)
    assert num_unfocused / len(lines) == pytest.approx(0.5, abs=0.03)


def test_no_word_exceeds_its_limit(many: list[LineText]) -> None:
    words = Counter(
        word for line in many if line.source == "words" for word in re.findall("[가-힣]+", line.text)[1:-1]
    )
    limit = (focus.WORD_LIMIT + 0.65 / len(WORDS) + 0.15 / len(read_maths_words())) * 1.1
    assert max(words.values()) / words.total() < limit


def test_confused_syllables_are_adjacent_between_random_ones(many: list[LineText]) -> None:
    words = [word for line in many for word in re.findall("[가-힣]*(?:갊갈|갈갊)[가-힣]*", line.text)]
    assert len(words) > 800
    assert len(set(words)) > 0.95 * len(words)
    first = sum(word.find("갊") < word.find("갈") for word in words)
    assert first / len(words) == pytest.approx(0.5, abs=0.05)


def test_numbers_contain_the_confused_digits_without_leading_zero() -> None:
    options: dict[str, Any] = {"mixed_share": 1, "arithmetic_share": 0}
    plain, focused = (
        [
            number
            for line in draw_all(make_sampler(*misreadings, **options), 6000)
            for number in re.findall("(?<![0-9.,])[0-9]{2,}(?![0-9.,])", line.text)
        ]
        for misreadings in ((), (Misreading("0", "8", 3),))
    )
    adjacent, leading_zeros = (
        [sum(bool(re.search(form, number)) for number in numbers) / len(numbers) for numbers in pair]
        for form, pair in (("08|80|88", (plain, focused)), ("^0", (plain, focused)))
    )
    assert adjacent[1] > 1.5 * adjacent[0]
    assert leading_zeros == [0, 0]


@pytest.mark.parametrize("char", "①℃→ㄱ?'·()□%m")
def test_any_sign_of_words_or_quantities_becomes_more_frequent(char: str, usual: dict[str, float]) -> None:
    shares = count_shares(draw_all(make_sampler(Misreading(char, "", 3)), 10_000))
    assert shares[char] > (1.9 if char in "①℃→ㄱ?'·" else 1.3) * usual[char]


def count_words(sampler: TextSampler, char: str) -> Counter[str]:
    lines = draw_all(sampler, 10_000)
    return Counter(word for line in lines for word in line.text.split() if char in word)


def test_listed_words_are_preferred_and_made_up_words_fill_the_rest() -> None:
    holding = tuple(f"갊{a}{b}" for a in "가나다라마바사" for b in "아자차카타파하")
    rich = count_words(make_sampler(Misreading("갊", "", 3), words=(*WORDS, *holding), **ONLY_WORDS), "갊")
    assert sum(rich[word] for word in holding) > 0.9 * rich.total()
    few = count_words(make_sampler(Misreading("갊", "", 3), words=(*WORDS, *holding[:2]), **ONLY_WORDS), "갊")
    assert 0.05 * few.total() < sum(few[word] for word in holding[:2]) < 0.2 * few.total()
    none = count_words(make_sampler(Misreading("갊", "", 3), **ONLY_WORDS), "갊")
    assert none.total() == pytest.approx(few.total(), rel=0.15)
    assert max(none.values()) < 0.02 * none.total()


def test_a_more_frequent_misreading_is_in_more_words() -> None:
    known = set("".join((*WORDS, *read_maths_words())))
    rare = [char for char in KS_X_1001 if char not in known][:30]
    misreadings = [Misreading(char, "", 2**rank) for rank, char in enumerate(rare[:11])]
    misreadings += [Misreading(char, "", 500) for char in rare[11:]]
    counts = Counter("".join(line.text for line in draw_all(make_sampler(*misreadings), 20_000)))
    drawn = [counts[char] for char in rare[5:11]]
    assert drawn == sorted(drawn)
    assert drawn[-1] > 10 * drawn[0]


def test_a_character_of_many_misreadings_has_one_limit() -> None:
    others = [char for char in KS_X_1001[::50] if char != "갊"]
    misreadings = [Misreading("갊", char, 10) for char in others]
    shares = count_shares(draw_all(make_sampler(*misreadings), 10_000))
    assert 0.0005 < shares["갊"] < 0.0045


CHARS = st.sampled_from("갊갈68×+을를 ①㉠.,·'℃m□힝0") | st.sampled_from(KS_X_1001)


@given(
    st.lists(st.builds(Misreading, CHARS, CHARS | st.just(""), st.integers(1, 999)), min_size=1, max_size=6),
    st.sets(st.text("가나다갊", min_size=1, max_size=5), min_size=1, max_size=5),
    st.sampled_from([0.0, 0.01, 0.5]),
    st.sampled_from([0.0, 0.2, 1.0]),
    st.booleans(),
    st.integers(0, 10**6),
)
@settings(max_examples=40, deadline=None)
def test_focused_lines_have_the_properties_of_all_lines(
    misreadings: list[Misreading],
    words: set[str],
    held_out: float,
    novel: float,
    lacks_characters: bool,
    seed: int,
) -> None:
    characters = CHARACTERS - (set(KS_X_1001[15:]) | set("①·'")) if lacks_characters else CHARACTERS
    options: dict[str, Any] = {"novel_share": novel, "maths_share": 0.0, "holdout_word_share": held_out}
    try:
        sampler = make_sampler(*misreadings, words=tuple(words), characters=characters, **options)
    except InputError:
        return
    for first in FIRST_NUMBERS.values():
        for number in range(first, first + 5):
            line = sampler.draw(seed, number)
            assert 5 <= len(line.text) <= 30
            assert line.text == " ".join(line.text.split()) == canonical(line.text) == to_text(line.markup)
            assert set(line.text) <= characters.union(*words)
            is_test = first == FIRST_NUMBERS["test"]
            assert not held_out or not find_misplaced(line.text, held_out=is_test, share=held_out)


def test_characters_that_no_line_can_contain_are_counted_and_left_out() -> None:
    focusable = find_focusable(["가3A"], (CHARACTERS | set("가3A뷁%⅔")) - set("℃"))
    assert {"뷁", "A", "%", " ", "·", "①", "3"} <= focusable
    assert not focusable & set("⅔℃B")
    kept, ignored = keep_focusable(
        [
            Misreading("가", "나", 9),
            Misreading("℃", "가", 8),  # no font draws the reference
            Misreading("가", "℃", 7),  # no font draws the prediction
            Misreading("", "⅔", 6),
            Misreading("", "1", 5),
            Misreading("가", "", 4),
        ],
        focusable,
    )
    assert kept == (Misreading("가", "", 11), Misreading("가", "나", 9), Misreading("", "1", 5))
    assert ignored == {"℃": 15, "⅔": 6}


@pytest.mark.soak
@pytest.mark.parametrize("pair", ["68", "×+", "갊갈", " ·", "이다", "①②", ".,", "cm", "0="])
def test_the_minimum_counts_hold_for_any_single_misreading(pair: str) -> None:
    counts: Counter[str] = Counter()
    sampler = make_sampler(Misreading(*pair, 1000))
    for number in range(300_000):
        counts.update(sampler.draw(1, number).text)
    assert min(counts[syllable] for syllable in KS_X_1001) >= 100
    assert min(counts[symbol] for symbol in SYMBOLS) >= 600

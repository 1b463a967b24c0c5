import re
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.textgen.arithmetic.expressions import ArithmeticConfig
from ocr_ray.textgen.holdout import HoldoutSplit
from ocr_ray.textgen.quantities import CHARACTERS, make_quantities
from ocr_ray.textgen.sources import ArithmeticLines, MixedLines, SentenceLines, WordLines
from ocr_ray.textgen.words import Vocabulary

WORDS = ("가마", "나비", "다람쥐", "라디오", "마차", "바구니", "사과", "아버지를")
VOCABULARY = Vocabulary(
    lists=((WORDS, 1.0),), novel_share=0, punctuation_share=0, characters=frozenset(), holdout=HoldoutSplit()
)
ARITHMETIC = ArithmeticLines(ArithmeticConfig(), HoldoutSplit(), 60)
SEEDS = st.integers(0, 2**32)


def make_word_lines(cut_share: float) -> WordLines:
    return WordLines(
        VOCABULARY.make_words(),
        VOCABULARY.make_endings(),
        VOCABULARY.make_beginnings(),
        cut_share=cut_share,
        middle_dot_share=0,
        max_length=40,
    )


def test_a_third_of_cut_lines_each_start_end_or_do_both_inside_a_word() -> None:
    lines, random = make_word_lines(0.6), Random(1).random
    cuts: Counter[tuple[bool, bool]] = Counter()
    for _ in range(5000):
        first, *middle, last = lines.draw(20, random).text.split()
        assert set(middle) <= set(WORDS)
        starts_inside, ends_inside = first not in WORDS, last not in WORDS
        assert not starts_inside or any(word.endswith(first) for word in WORDS)
        assert not ends_inside or any(word.startswith(last) for word in WORDS)
        cuts[starts_inside, ends_inside] += 1
    assert [cuts[True, False], cuts[False, True], cuts[True, True]] == pytest.approx([1000] * 3, abs=150)


@pytest.mark.parametrize(("cut_share", "num_whole"), [(0.0, 500), (1.0, 0)])
def test_no_line_is_cut_at_share_0_and_every_line_at_share_1(cut_share: float, num_whole: int) -> None:
    lines, random = make_word_lines(cut_share), Random(1).random
    whole = [set(lines.draw(20, random).text.split()) <= set(WORDS) for _ in range(500)]
    assert sum(whole) == num_whole


@given(st.integers(1, 60), SEEDS)
@settings(deadline=None)
def test_arithmetic_has_any_exact_length_and_the_grades_of_its_expressions(length: int, seed: int) -> None:
    text, grades = ARITHMETIC.draw(length, Random(seed).random)
    assert len(text) == length
    parts = text.split(", ")
    assert all(part == part.strip() != "" for part in parts)
    num_numbers = sum(part.isdigit() for part in parts)
    assert len(grades) == len(parts) - num_numbers
    assert set(grades) <= set(range(1, 7))


def test_arithmetic_lines_consist_of_expressions_where_one_is_short_enough() -> None:
    random = Random(1).random
    for length in range(5, 31):
        lines = [ARITHMETIC.draw(length, random) for _ in range(200)]
        with_numbers = sum(any(part.isdigit() for part in line.text.split(", ")) for line in lines)
        assert with_numbers < 10
        assert len({line.text for line in lines}) > 120


@pytest.mark.parametrize("grades", [(1,), (6,), (2, 4)])
def test_only_the_requested_grades_are_drawn(grades: tuple[int, ...]) -> None:
    lines, random = ArithmeticLines(ArithmeticConfig(grades=grades), HoldoutSplit(), 30), Random(1).random
    assert {grade for length in range(5, 31) for grade in lines.draw(length, random).grades} == set(grades)


@given(st.integers(3, 60), SEEDS)
@settings(deadline=None)
def test_a_mixed_line_has_a_word_and_another_token(length: int, seed: int) -> None:
    lines = MixedLines(
        VOCABULARY.make_words(),
        make_quantities(CHARACTERS),
        ARITHMETIC,
        holdout=HoldoutSplit(),
        max_length=60,
    )
    assert lines.lengths == set(range(4, 61))
    if length in lines.lengths:
        line = lines.draw(length, Random(seed).random)
        assert len(line.text) == length
        tokens = line.text.split(" ")
        assert set(WORDS) & set(tokens)
        assert not set(WORDS).issuperset(tokens)


def test_quantities_of_a_mixed_line_are_separated_while_there_are_words_to_separate_them() -> None:
    lines = MixedLines(
        VOCABULARY.make_words(),
        make_quantities(frozenset("0123456789")),
        ArithmeticLines(ArithmeticConfig(grades=(1,)), HoldoutSplit(), 40),
        holdout=HoldoutSplit(),
        max_length=40,
    )
    random = Random(1).random
    for _ in range(500):
        line = lines.draw(40, random)
        if line.grades:
            continue
        kinds = "".join("w" if token in WORDS else "f" for token in line.text.split(" "))
        assert "ff" not in kinds or kinds.count("f") > kinds.count("w") + 1


PASSAGES = st.lists(
    st.lists(st.text("가나다.", min_size=1, max_size=6), min_size=1, max_size=6).map(" ".join), max_size=5
)


@given(PASSAGES, st.integers(1, 25), SEEDS)
@settings(deadline=None)
def test_running_text_occurs_in_a_passage_or_the_length_is_impossible(
    passages: list[str], length: int, seed: int
) -> None:
    parts = {
        passage[start : start + length]
        for passage in passages
        for start in range(len(passage) - length + 1)
        if passage[start : start + length].strip() == passage[start : start + length]
    }
    lines = SentenceLines(passages, [length, 1000])
    assert lines.lengths == ({length} if parts else set())
    if parts:
        drawn = {lines.draw(length, Random(seed + extra).random).text for extra in range(20)}
        assert drawn <= parts


def test_every_position_in_the_passages_is_about_equally_likely() -> None:
    passages = [
        "".join(chr(ord("가") + 40 * index + offset) for offset in range(20 + 10 * index))
        for index in range(3)
    ]
    lines, random = SentenceLines([*passages, "너무 짧다"], [11]), Random(1).random
    firsts = Counter(lines.draw(11, random).text[0] for _ in range(30_000))
    assert firsts.keys() == {char for passage in passages for char in passage[:-10]}
    assert list(firsts.values()) == pytest.approx([500] * 60, rel=0.25)


def test_running_text_can_be_cut_inside_a_word() -> None:
    lines = SentenceLines(["사과나무를 심었습니다. 그리고"], [6])
    texts = {lines.draw(6, Random(seed).random).text for seed in range(300)}
    assert {"사과나무를", "나무를 심었", "었습니다."} & texts == {"나무를 심었"}
    assert all(re.fullmatch(r"\S.{4}\S", text) for text in texts)

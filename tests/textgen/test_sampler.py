from collections import Counter
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.dataset.lines import FIRST_NUMBERS
from ocr_ray.errors import InputError
from ocr_ray.text.canonical import canonical
from ocr_ray.text.markup import to_markup, to_text
from ocr_ray.textgen.arithmetic.expressions import ArithmeticConfig
from ocr_ray.textgen.corpus import read_corpus
from ocr_ray.textgen.holdout import find_misplaced, find_tokens
from ocr_ray.textgen.sampler import (
    CHARACTERS,
    REQUIRED_CHARACTERS,
    LineText,
    TextConfig,
    TextInputs,
    TextSampler,
)

WORDS = read_corpus(None).words
PASSAGES = ("사과나무를 심었습니다. 그리고 물을 주었다.", "세 사람이 걸어서 왔다")
SEEDS = st.integers(0, 2**63 - 1)
NUMBERS = st.integers(0, 999_999_999)


def make_sampler(
    words: tuple[str, ...] = WORDS,
    passages: tuple[str, ...] = (),
    *,
    characters: frozenset[str] = CHARACTERS,
    length_weights: tuple[tuple[int, float], ...] = (),
    **options: Any,
) -> TextSampler:
    inputs = TextInputs(
        words=words,
        passages=passages,
        characters=characters.union(*words, *passages),
        length_weights=length_weights,
    )
    return TextSampler(inputs, TextConfig(**options))


make_shared_sampler = cache(make_sampler)
"""For examples that differ only in the seed."""


def draw_all(sampler: TextSampler, seed: int, count: int, first: int = 0) -> list[LineText]:
    return [sampler.draw(seed, number) for number in range(first, first + count)]


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    low = draw(st.integers(1, 40))
    left = 1.0
    shares = {}
    for name in ("arithmetic_share", "mixed_share", "sentence_share"):
        shares[name] = draw(st.sampled_from([0.0, 0.2, 1.0])) * left
        left -= shares[name]
    novel = draw(st.sampled_from([0.0, 0.2, 1.0]))
    return shares | {
        "min_length": low,
        "max_length": draw(st.integers(low, low + 30)),
        "novel_share": novel,
        "maths_share": draw(st.sampled_from([0.0, 0.5])) * (1 - novel),
        "cut_share": draw(st.sampled_from([0.0, 0.3, 1.0])),
        "punctuation_share": draw(st.sampled_from([0.0, 0.16, 1.0])),
        "holdout_word_share": 0 if shares["sentence_share"] else draw(st.sampled_from([0, 0.01, 0.5])),
        "arithmetic": ArithmeticConfig(grades=draw(st.sampled_from([(1,), (3, 4), (5, 6)]))),
    }


@given(
    options(), st.sets(st.text("가나다", min_size=1, max_size=12), max_size=8), SEEDS, NUMBERS, st.booleans()
)
@settings(max_examples=150, deadline=None)
def test_every_line_of_any_config_and_words_is_valid(
    options: dict[str, Any], words: set[str], seed: int, first: int, lacks_characters: bool
) -> None:
    characters = REQUIRED_CHARACTERS | set("가나다라마①.(") if lacks_characters else CHARACTERS
    try:
        sampler = make_sampler(tuple(words), PASSAGES, characters=characters, **options)
    except InputError:
        return
    for number in range(first, first + 5):
        line = sampler.draw(seed, number)
        assert options["min_length"] <= len(line.text) <= options["max_length"]
        assert line.text == " ".join(line.text.split())
        assert line.text == canonical(line.text)
        assert set(line.text) <= characters.union(*words, *PASSAGES)
        assert to_markup(line.text) == line.markup
        assert to_text(line.markup) == line.text
        assert line.source in ("words", "mixed", "sentence") or not words & set(line.text.split())


def reach(words: set[str], max_length: int) -> set[int]:
    lengths = set(map(len, words))
    reached = {length for length in lengths if length <= max_length}
    while more := {a + 1 + b for a in reached for b in lengths if a + 1 + b <= max_length} - reached:
        reached |= more
    return reached


PLAIN: dict[str, Any] = {"arithmetic_share": 0, "mixed_share": 0, "novel_share": 0, "maths_share": 0}


@given(st.sets(st.text("가나", min_size=1, max_size=9), max_size=4), st.integers(1, 25), st.integers(0, 10))
@settings(deadline=None)
def test_words_are_rejected_only_if_no_sequence_of_them_has_a_requested_length(
    words: set[str], low: int, extra: int
) -> None:
    options = PLAIN | {"min_length": low, "max_length": low + extra, "punctuation_share": 0, "cut_share": 0}
    possible = reach(words, low + extra) & set(range(low, low + extra + 1))
    if not possible:
        with pytest.raises(InputError, match="must have words that make a words line"):
            make_sampler(tuple(words), **options)
        return
    sampler = make_sampler(tuple(words), **options)
    assert {len(line.text) for line in draw_all(sampler, 1, 30 * len(possible))} == possible


@given(SEEDS, st.lists(NUMBERS, min_size=2, max_size=6, unique=True))
@settings(deadline=None)
def test_a_line_depends_only_on_its_seed_and_number(seed: int, numbers: list[int]) -> None:
    one, other = make_shared_sampler(), make_shared_sampler(tuple(reversed(WORDS)))
    forwards = {number: one.draw(seed, number) for number in numbers}
    assert {number: other.draw(seed, number) for number in reversed(numbers)} == forwards


def test_the_line_of_a_seed_and_number_has_not_changed() -> None:
    sampler = make_sampler(("가", "나비", "사과를"), **PLAIN)
    assert [sampler.draw(7, number).text for number in (0, 1, 2, 700_000_000)] == [
        "사과를 '나비' 가 나비 가 사과를 사과를",
        '사과를 사과를. 나비 나비 가 "가" 사과를',
        "나비 사과를 사과를",
        "가 가 나비 나비",
    ]


def test_length_weights_override_the_lengths_of_the_config() -> None:
    weights = ((3, 1.0), (12, 2.5), (70, 0.5), (200, 1.0))
    lines = draw_all(make_sampler(length_weights=weights, min_length=8, max_length=9), 1, 5000)
    lengths = Counter(len(line.text) for line in lines)
    assert lengths == {length: pytest.approx(1000 * weight, rel=0.15) for length, weight in weights}


def test_distinct_words_are_equally_likely_for_any_length() -> None:
    sampler = make_sampler(min_length=20, cut_share=0, punctuation_share=0, **PLAIN)
    drawn = [word for line in draw_all(sampler, 6, 4000) for word in line.text.split()]
    expected = Counter(map(len, WORDS))
    for length, num in Counter(map(len, drawn)).items():
        if length <= 4:
            assert num / len(drawn) == pytest.approx(expected[length] / len(WORDS), rel=0.25)
    assert max(Counter(drawn).values()) < 40


def test_a_share_of_lines_of_words_starts_or_ends_inside_a_word() -> None:
    words = ("가마솥", "나비를", "다람쥐", "라디오를", "마차")
    sampler = make_sampler(words, punctuation_share=0, **PLAIN)
    lines = [line.text.split() for line in draw_all(sampler, 1, 6000)]
    cut = [tokens for tokens in lines if not {tokens[0], tokens[-1]} <= set(words)]
    assert len(cut) / len(lines) == pytest.approx(0.3, abs=0.03)
    for first, *middle, last in filter(lambda tokens: len(tokens) > 1, cut):
        assert any(word.endswith(first) for word in words)
        assert set(middle) <= set(words)
        assert any(word.startswith(last) for word in words)


def test_lines_of_running_text_have_their_share_and_words_the_rest() -> None:
    sampler = make_sampler(passages=PASSAGES, sentence_share=0.5, arithmetic_share=0.1, max_length=20)
    num_by_source = Counter(line.source for line in draw_all(sampler, 3, 4000))
    assert num_by_source["sentence"] == pytest.approx(2000, abs=150)
    assert num_by_source["words"] == pytest.approx(800, abs=120)


def test_running_text_comes_from_the_passages() -> None:
    sampler = make_sampler(passages=PASSAGES, sentence_share=1, arithmetic_share=0, mixed_share=0)
    for line in draw_all(sampler, 1, 500):
        assert line.source == "sentence"
        assert any(line.text in passage for passage in PASSAGES)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
@given(seed=SEEDS, number=NUMBERS)
@settings(deadline=None)
def test_no_line_contains_a_word_or_number_of_another_split(share: float, seed: int, number: int) -> None:
    sampler = make_shared_sampler(holdout_word_share=share)
    for offset in range(10):
        text = sampler.draw(seed, number + offset).text
        is_test = number + offset >= FIRST_NUMBERS["test"]
        assert not find_misplaced(text, held_out=is_test, share=share)


def test_the_splits_have_no_word_or_long_number_in_common() -> None:
    sampler = make_sampler(holdout_word_share=0.2)
    train, validation, test = (
        {token for line in draw_all(sampler, 1, 3000, first) for token in find_tokens(line.text)}
        for first in FIRST_NUMBERS.values()
    )
    assert not (train | validation) & test
    assert len(train & validation) > 1000 < len(test)


def test_the_test_split_has_the_same_lengths_and_kinds_of_lines() -> None:
    lines = draw_all(make_sampler(holdout_word_share=0.1), 1, 10_000, FIRST_NUMBERS["test"])
    lengths = Counter(len(line.text) for line in lines)
    assert set(lengths) == set(range(5, 31))
    assert all(num == pytest.approx(10_000 / 26, abs=100) for num in lengths.values())
    assert Counter(line.source for line in lines)["words"] == pytest.approx(5000, abs=250)


def test_without_held_out_words_the_test_split_is_like_the_others() -> None:
    assert any(
        find_misplaced(line.text, held_out=True, share=0.1)
        for line in draw_all(make_shared_sampler(), 1, 100, FIRST_NUMBERS["test"])
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_length": 0}, "min_length must be at least 1 and at most max_length, got 0 and 30"),
        ({"min_length": 9, "max_length": 8}, "at most max_length, got 9 and 8"),
        ({"arithmetic_share": -0.1}, "must be at least 0 and together at most 1, got -0.1, 0.2 and 0.0"),
        (
            {"arithmetic_share": 0.9},
            "arithmetic_share, mixed_share and sentence_share must be .* got 0.9, 0.2",
        ),
        ({"sentence_share": 0.6}, "together at most 1, got 0.3, 0.2 and 0.6"),
        ({"mixed_share": float("nan")}, "together at most 1, got 0.3, nan and 0.0"),
        ({"novel_share": 0.9}, "novel_share and maths_share must .* together at most 1, got 0.9 and 0.15"),
        ({"cut_share": 1.2}, "cut_share must be at least 0 and at most 1, got 1.2"),
        ({"punctuation_share": -1}, "punctuation_share must be at least 0 and at most 1, got -1"),
        ({"holdout_word_share": 0.6}, "holdout_word_share must be 0 or from 0.01 to 0.5, got 0.6"),
        ({"holdout_word_share": 0.001}, "holdout_word_share must be 0 or from 0.01 to 0.5, got 0.001"),
        ({"holdout_word_share": float("nan")}, "holdout_word_share must be 0 or from"),
        (
            {"holdout_word_share": 0.1, "sentence_share": 0.2},
            "must be 0 with a sentence_share, .* 0.1 and 0.2",
        ),
    ],
)
def test_an_invalid_config_is_rejected_with_its_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextConfig(**options)


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        ([], {}, r"make a mixed line of 5 to 30 characters, got words of \[\] characters"),
        ([], PLAIN, r"make a words line of 5 to 30 characters, got words of \[\] characters"),
        (
            ["가나다라마바"],
            PLAIN | {"max_length": 5},
            r"make a words line of 5 to 5 characters, got words of \[6\]",
        ),
        (["가나다"], {"min_length": 1, "max_length": 2, "mixed_share": 0.7}, "make a mixed line of 1 to 2"),
        (["개나리"], {"holdout_word_share": 0.01}, "must have held-out words that make"),
        (["가 나"], {}, "a word must not be empty or contain white space"),
        ([""], {}, "a word must not be empty or contain white space"),
        (
            ["가"],
            {"sentence_share": 0.5},
            "--sentence-share above 0 needs running text of 5 to 30 characters",
        ),
        (
            ["가"],
            {"sentence_share": 0.5},
            "got none in 0 passages: give files with --corpus-uri or --texts-uri",
        ),
        (["가"], {"length_weights": ((0, 1.0),)}, "must be of distinct lengths from 1 to 200, got .0."),
        (["가"], {"length_weights": ((5, 1.0), (5, 2.0))}, "must be of distinct lengths"),
        (["가"], {"length_weights": ((201, 1.0),)}, "must be of distinct lengths from 1 to 200"),
        (["가"], {"length_weights": ((5, -1.0),)}, "length_weights must be above 0"),
    ],
)
def test_inputs_that_make_no_line_are_rejected(
    words: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make_sampler(tuple(words), **options)


def test_fonts_without_the_signs_of_arithmetic_are_rejected_with_the_missing_signs() -> None:
    with pytest.raises(InputError, match="every font must have the signs of arithmetic, got none for '7÷'"):
        make_sampler(("가",), characters=CHARACTERS - set("÷7"))


def test_words_and_passages_that_cannot_be_printed_are_rejected() -> None:
    with pytest.raises(InputError, match=r"words must contain only printable characters, .* got '나'"):
        TextInputs(words=("가나",), characters=frozenset("가"))
    with pytest.raises(InputError, match=r"passages must contain only printable characters, .* got '다라'"):
        TextInputs(words=("가",), passages=("가 라 다",), characters=frozenset("가"))
    with pytest.raises(InputError, match=r"neither \$ nor a backslash, got '\$'"):
        TextInputs(words=("가",), passages=("5$ 가",), characters=frozenset("가5$"))

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.errors import InputError
from ocr_ray.text.arithmetic import PRODUCTIONS, ArithmeticConfig
from ocr_ray.text.corpus import read_corpus
from ocr_ray.text.hangul import nfc
from ocr_ray.text.markup import to_markup, to_text
from ocr_ray.text.sampler import CHARACTERS, LineText, TextConfig, TextSampler, _cut

WORDS = read_corpus(None).words
SAMPLER = TextSampler(WORDS, TextConfig())
SEEDS = st.integers(0, 2**63 - 1)
NUMBERS = st.integers(0, 999_999_999)


@st.composite
def configs(draw: st.DrawFn) -> TextConfig:
    low = draw(st.integers(1, 40))
    arithmetic = draw(st.sampled_from([0.0, 0.1, 0.3, 0.7, 1.0]))
    mixed = draw(st.sampled_from([0.0, 0.2, 1.0])) * (1 - arithmetic)
    return TextConfig(
        min_length=low,
        max_length=draw(st.integers(low, low + 30)),
        arithmetic_share=arithmetic,
        mixed_share=mixed,
        arithmetic=ArithmeticConfig(grades=tuple(draw(st.sets(st.integers(1, 6), min_size=1)))),
    )


def draw_all(sampler: TextSampler, seed: int, count: int) -> list[LineText]:
    return [sampler.draw(seed, number) for number in range(count)]


@given(configs(), st.sets(st.text("가나다", min_size=1, max_size=12), max_size=8), SEEDS, NUMBERS)
@settings(max_examples=300, deadline=None)
def test_every_line_of_any_config_and_words_keeps_its_promises(
    config: TextConfig, words: set[str], seed: int, first: int
) -> None:
    try:
        sampler = TextSampler(words, config)
    except InputError:
        return
    for number in range(first, first + 5):
        line = sampler.draw(seed, number)
        assert config.min_length <= len(line.text) <= config.max_length
        assert line.text == " ".join(line.text.split()) == nfc(line.text)
        assert set(line.text) <= CHARACTERS | set("".join(words))
        assert to_markup(line.text) == line.markup
        assert to_text(line.markup) == line.text
        if line.source == "words":
            assert set(line.text.split()) <= words


def reachable_lengths(words: set[str], longest: int) -> set[int]:
    lengths = set(map(len, words))
    reached = {length for length in lengths if length <= longest}
    while more := {a + 1 + b for a in reached for b in lengths if a + 1 + b <= longest} - reached:
        reached |= more
    return reached


@given(st.sets(st.text("가나", min_size=1, max_size=9), max_size=4), st.integers(1, 25), st.integers(0, 10))
@settings(deadline=None)
def test_words_are_refused_only_where_no_sequence_of_them_has_a_length_asked_for(
    words: set[str], low: int, extra: int
) -> None:
    config = TextConfig(min_length=low, max_length=low + extra, arithmetic_share=0, mixed_share=0)
    possible = reachable_lengths(words, low + extra) & set(range(low, low + extra + 1))
    if not possible:
        with pytest.raises(InputError, match="must have words that make a words line"):
            TextSampler(words, config)
        return
    sampler = TextSampler(words, config)
    assert {len(line.text) for line in draw_all(sampler, 1, 30 * len(possible))} <= possible
    assert len({len(line.text) for line in draw_all(sampler, 2, 30 * len(possible))}) == len(possible)


@given(SEEDS, st.lists(NUMBERS, min_size=2, max_size=6, unique=True))
@settings(deadline=None)
def test_a_line_depends_on_its_seed_and_number_and_not_on_what_was_drawn_before(
    seed: int, numbers: list[int]
) -> None:
    forwards = {number: SAMPLER.draw(seed, number) for number in numbers}
    other = TextSampler(reversed(WORDS), TextConfig())
    assert {number: other.draw(seed, number) for number in reversed(numbers)} == forwards


def test_a_line_of_a_seed_and_number_is_the_one_that_was_always_drawn() -> None:
    sampler = TextSampler(["가", "나비", "사과를"], TextConfig())
    assert [sampler.draw(7, number).text for number in (0, 1, 11, 700_000_000)] == [
        "나비 사과를 나비 사과를 사과를 가 사과를",
        "6.09×24 = □, 48303119<48495989",
        "510 가 5×5=25",
        "나비 가 가 나비",
    ]


def test_other_seeds_and_numbers_give_other_lines() -> None:
    texts = [line.text for seed in range(4) for line in draw_all(SAMPLER, seed, 500)]
    assert len(set(texts)) > 0.97 * len(texts)


def test_each_source_has_its_share_of_the_lines() -> None:
    num_by_source = Counter(line.source for line in draw_all(SAMPLER, 3, 5000))
    assert set(num_by_source) == {"words", "arithmetic", "mixed"}
    assert num_by_source["words"] == pytest.approx(2500, abs=150)
    assert num_by_source["arithmetic"] == pytest.approx(1500, abs=150)
    assert num_by_source["mixed"] == pytest.approx(1000, abs=150)


@pytest.mark.parametrize("source", ["words", "mixed"])
def test_lengths_are_even_from_the_shortest_to_the_longest(source: str) -> None:
    lengths = Counter(len(line.text) for line in draw_all(SAMPLER, 4, 12_000) if line.source == source)
    mean = lengths.total() / 26
    assert set(lengths) == set(range(5, 31))
    assert all(abs(num - mean) < 5 * mean**0.5 for num in lengths.values())


def test_arithmetic_spreads_over_lengths_and_is_whole_where_it_fits() -> None:
    lines = [line.text for line in draw_all(SAMPLER, 5, 6000) if line.source == "arithmetic"]
    lengths = Counter(map(len, lines))
    assert min(lengths[length] for length in range(8, 31)) > 10
    assert not any(text[-1] in "+-×÷:,(." for text in lines)


def test_words_are_drawn_over_types_whatever_their_length() -> None:
    config = TextConfig(min_length=20, arithmetic_share=0, mixed_share=0)
    sampler = TextSampler(WORDS, config)
    drawn = [word for line in draw_all(sampler, 6, 4000) for word in line.text.split()]
    wanted = Counter(map(len, WORDS))
    for length, num in Counter(map(len, drawn)).items():
        if length <= 4:
            assert num / len(drawn) == pytest.approx(wanted[length] / len(WORDS), rel=0.25)
    assert max(Counter(drawn).values()) < 40


def test_a_mixed_line_holds_a_word_and_a_number() -> None:
    words = set(WORDS)
    for line in draw_all(SAMPLER, 8, 3000):
        if line.source == "mixed":
            assert words & set(line.text.split())
            assert any(char.isdigit() for char in line.text)
            assert "$" in line.markup


def test_no_text_holds_a_dollar_or_a_backslash() -> None:
    assert not any(set(line.text) & set("$\\") for line in draw_all(SAMPLER, 9, 3000))


def test_only_the_grades_asked_for_are_drawn() -> None:
    sampler = TextSampler(
        [], TextConfig(arithmetic_share=1, mixed_share=0, arithmetic=ArithmeticConfig(grades=(1,)))
    )
    assert not set("×÷:%().…") & set("".join(line.text for line in draw_all(sampler, 1, 500)))


@pytest.mark.parametrize(
    ("text", "low", "high", "cut"),
    [
        ("3 × 8 = 24", 5, 7, "3 × 8 ="),
        ("3 × 8 = 24", 5, 6, "3 × 8"),
        ("3 × 8 = 24", 6, 6, "3 × 8="),
        ("1+1, 12 + 5", 3, 5, "1+1"),
        ("1+1, 12 + 5", 5, 5, "1+112"),
    ],
)
def test_a_cut_line_ends_in_a_character_of_an_expression(text: str, low: int, high: int, cut: str) -> None:
    assert _cut(text, low, high) == cut


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_length": 0}, "min_length must be at least 1 and at most max_length, got 0 and 30"),
        ({"min_length": 9, "max_length": 8}, "at most max_length, got 9 and 8"),
        ({"arithmetic_share": -0.1}, "must be at least 0 and together at most 1, got -0.1 and 0.2"),
        ({"arithmetic_share": 0.9}, "together at most 1, got 0.9 and 0.2"),
        ({"mixed_share": float("nan")}, "together at most 1, got 0.3 and nan"),
    ],
)
def test_a_config_that_cannot_be_is_refused_with_what_was_got(
    options: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        TextConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        ([], {}, "make a words line of 5 to 30 characters, got words of .. characters"),
        (["가나다라마바"], {"max_length": 5}, "make a words line of 5 to 5 characters"),
        (["가나다"], {"min_length": 1, "max_length": 4, "mixed_share": 0.7}, "make a mixed line of 1 to 4"),
        (["가 나"], {}, "a word must not be empty or hold white space"),
        ([""], {}, "a word must not be empty or hold white space"),
    ],
)
def test_words_that_make_no_line_are_refused(
    words: list[str], options: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        TextSampler(words, TextConfig(**options))  # type: ignore[arg-type]


def test_every_grade_has_productions() -> None:
    assert sorted(PRODUCTIONS) == [1, 2, 3, 4, 5, 6]

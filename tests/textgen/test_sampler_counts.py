"""Statistics of 100,000 lines with the default config."""

import re
from collections import Counter

import pytest

from ocr_ray.text.hangul import KS_X_1001
from ocr_ray.textgen.corpus import read_corpus, read_maths_words
from ocr_ray.textgen.sampler import (
    CHARACTERS,
    REQUIRED_CHARACTERS,
    LineText,
    TextConfig,
    TextInputs,
    TextSampler,
)

WORDS = read_corpus(None).words
SAMPLER = TextSampler(TextInputs(words=WORDS, characters=CHARACTERS), TextConfig())
SYMBOLS = "①②③④⑤㉠㉡㉢㉣㉤㉥㉮㉯㉰㉱ㄱㄴㄷㄹㅁㅂ□○△☆×÷=<>(){}→°℃%:~…·.,?!'\""
UNITS = ("mm", "cm", "m", "km", "cm²", "m²", "cm³", "g", "kg", "t", "mL", "L", "시", "분", "초")
PHRASES = ("(1)", "〈보기〉", "식 ____", "답 ____개", "1,000")


@pytest.fixture(scope="module")
def many() -> list[LineText]:
    return [SAMPLER.draw(1, number) for number in range(100_000)]


def test_other_seeds_and_numbers_give_other_lines(many: list[LineText]) -> None:
    for source, share in {"words": 0.99, "arithmetic": 0.85, "mixed": 0.99}.items():
        texts = [line.text for line in many if line.source == source]
        assert len(set(texts)) > share * len(texts)
    assert not any(SAMPLER.draw(2, number).text == many[number].text for number in range(50))


def test_each_source_has_its_share_of_the_lines(many: list[LineText]) -> None:
    num_by_source = Counter(line.source for line in many)
    assert num_by_source == {
        "words": pytest.approx(50_000, abs=800),
        "arithmetic": pytest.approx(30_000, abs=800),
        "mixed": pytest.approx(20_000, abs=800),
    }


@pytest.mark.parametrize("source", ["words", "arithmetic", "mixed"])
def test_lengths_are_uniform(many: list[LineText], source: str) -> None:
    lengths = Counter(len(line.text) for line in many if line.source == source)
    mean = lengths.total() / 26
    assert set(lengths) == set(range(5, 31))
    assert all(abs(num - mean) < 5 * mean**0.5 for num in lengths.values())


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_each_required_symbol_occurs_200_times_in_100_000_lines(many: list[LineText], symbol: str) -> None:
    assert sum(line.text.count(symbol) for line in many) >= 200


@pytest.mark.parametrize("unit", UNITS)
def test_each_unit_follows_a_number_200_times(many: list[LineText], unit: str) -> None:
    pattern = re.compile(rf"[0-9] ?{unit}(?![A-Za-z²³가-힣])")
    assert sum(len(pattern.findall(line.text)) for line in many) >= 200


@pytest.mark.parametrize("phrase", PHRASES)
def test_each_required_phrase_occurs_200_times(many: list[LineText], phrase: str) -> None:
    assert sum(line.text.count(phrase) for line in many) >= 200


def test_corpus_words_maths_words_and_novel_words_have_their_shares(many: list[LineText]) -> None:
    corpus, maths = set(WORDS), set(read_maths_words())
    known_words = corpus | maths
    lines = [line.text for line in many if line.source == "words"]
    words = [word for line in lines for word in re.findall("[가-힣]+", line)[1:-1]]
    known = sum(word in known_words for word in words)
    assert 1 - known / len(words) == pytest.approx(0.2, abs=0.03)
    maths -= corpus
    only_maths = sum(word in maths for word in words)
    assert only_maths / len(words) == pytest.approx(0.15 * len(maths) / len(read_maths_words()), abs=0.03)


def test_a_sixth_of_the_words_has_punctuation_and_each_sign_is_frequent(many: list[LineText]) -> None:
    tokens = [token for line in many if line.source == "words" for token in line.text.split(" ")]
    marked = sum(not token.isalnum() for token in tokens)
    assert marked / len(tokens) == pytest.approx(0.16, abs=0.02)
    signs = Counter("".join(tokens))
    assert min(signs[sign] for sign in ".,?!()'\"~·") >= 200


def test_grades_are_those_of_the_expressions_of_a_line(many: list[LineText]) -> None:
    assert all(not line.grades for line in many if line.source == "words")
    with_grades = Counter(bool(line.grades) for line in many if line.source == "mixed")
    assert with_grades[True] > 2000 < with_grades[False]
    grades = Counter(grade for line in many for grade in line.grades)
    assert grades.keys() == {1, 2, 3, 4, 5, 6}


def test_every_character_is_declared_and_every_declared_one_is_drawn(many: list[LineText]) -> None:
    drawn = set("".join(line.text for line in many))
    assert drawn <= CHARACTERS.union(*WORDS)
    assert drawn >= CHARACTERS - set(KS_X_1001)
    assert CHARACTERS.issuperset("".join(read_maths_words()))
    assert REQUIRED_CHARACTERS < CHARACTERS
    assert not CHARACTERS & set("$\\")


@pytest.mark.soak
def test_every_syllable_occurs_100_times_in_300_000_lines() -> None:
    syllables = Counter("".join(SAMPLER.draw(1, number).text for number in range(300_000)))
    assert min(syllables[syllable] for syllable in KS_X_1001) >= 100

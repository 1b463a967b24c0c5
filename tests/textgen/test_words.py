import re
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.text.characters import WORD_PUNCTUATION
from ocr_ray.text.hangul import KS_X_1001
from ocr_ray.textgen.exact_length import WeightedChoice
from ocr_ray.textgen.holdout import HoldoutSplit
from ocr_ray.textgen.words import MIDDLE_DOT_SHARE, Vocabulary, join_words

PRINTABLE = frozenset(KS_X_1001) | frozenset(WORD_PUNCTUATION)
WORDS = ("가", "나비", "다람쥐", "라디오", "마", "바구니", "사과", "아버지를")
MATHS = ("나눗셈식", "몫", "넓이")


def make_vocabulary(
    lists: tuple[tuple[tuple[str, ...], float], ...] = ((WORDS, 1.0),),
    *,
    novel: float = 0.0,
    punctuation: float = 0.0,
    characters: frozenset[str] = PRINTABLE,
    holdout: HoldoutSplit | None = None,
) -> Vocabulary:
    return Vocabulary(
        lists=lists,
        novel_share=novel,
        punctuation_share=punctuation,
        characters=characters,
        holdout=holdout or HoldoutSplit(),
    )


def draw_freely(choice: WeightedChoice, count: int, seed: int = 1) -> list[str]:
    """Return tokens with random widths."""
    random = Random(seed)
    widths = random.choices(list(choice.share_by_width), list(choice.share_by_width.values()), k=count)
    return [choice.draw(width, random.random) for width in widths]


def test_words_of_a_list_are_equally_likely_for_any_length() -> None:
    drawn = Counter(draw_freely(make_vocabulary().make_words(), 16_000))
    assert drawn.keys() == set(WORDS)
    assert list(drawn.values()) == pytest.approx([2000] * 8, abs=250)


def test_each_list_and_the_novel_words_have_their_shares() -> None:
    vocabulary = make_vocabulary(((WORDS, 0.5), (MATHS, 0.3)), novel=0.2)
    drawn = draw_freely(vocabulary.make_words(), 10_000)
    shares = [sum(word in words for word in drawn) / 10_000 for words in (WORDS, MATHS)]
    assert shares == pytest.approx([0.5, 0.3], abs=0.03)


def test_punctuation_has_its_share_for_every_word() -> None:
    drawn = draw_freely(make_vocabulary(punctuation=0.5).make_words(), 20_000)
    marked = Counter(re.sub(r"[가-힣]+", "", word) for word in drawn)
    assert 1 - marked[""] / 20_000 == pytest.approx(0.5 * (1 - MIDDLE_DOT_SHARE), abs=0.02)
    assert marked.keys() == {"", ".", ",", "?", "!", "~", "()", "''", '""'}
    by_word = Counter(re.sub(r"[^가-힣]+", "", word) for word in drawn if not word.isalpha())
    assert list(by_word.values()) == pytest.approx([20_000 * 0.46 / 8] * 8, rel=0.2)
    assert all(re.fullmatch(r"[가-힣]+[.,?!~]?|\([가-힣]+\)|'[가-힣]+'|\"[가-힣]+\"", word) for word in drawn)


def test_punctuation_that_cannot_be_printed_is_not_used() -> None:
    bare = make_vocabulary(punctuation=1, characters=frozenset(KS_X_1001))
    assert set(draw_freely(bare.make_words(), 500)) == set(WORDS)
    assert bare.middle_dot_share == 0
    partial = make_vocabulary(punctuation=1, characters=frozenset(KS_X_1001) | set(".("))
    assert set("".join(draw_freely(partial.make_words(), 500))) - set(KS_X_1001) == {"."}


@given(st.sets(st.text("가나다라", min_size=1, max_size=6), max_size=6))
@settings(deadline=None)
def test_every_proper_part_of_a_word_is_drawn_as_a_piece_and_nothing_else(words: set[str]) -> None:
    vocabulary = make_vocabulary(((tuple(sorted(words)), 1.0),))
    cuts = [(word[:cut], word[cut:]) for word in words for cut in range(1, len(word))]
    for choice, parts in (
        (vocabulary.make_endings(), [end for _, end in cuts]),
        (vocabulary.make_beginnings(), [beginning for beginning, _ in cuts]),
    ):
        num_by_length = Counter(map(len, parts))
        assert choice.share_by_width == pytest.approx(
            {length: num / len(parts) for length, num in num_by_length.items()}
        )
        drawn = {choice.draw(width, Random(seed).random) for width in num_by_length for seed in range(100)}
        assert drawn == set(parts)


def test_brackets_and_quotes_open_only_at_a_cut_that_the_next_line_can_close() -> None:
    vocabulary = make_vocabulary(punctuation=0.5)
    starts, ends = (
        draw_freely(choice, 3000) for choice in (vocabulary.make_endings(), vocabulary.make_beginnings())
    )
    assert {re.sub("[가-힣]+", "", piece) for piece in ends} == {"", "(", "'", '"'}
    assert {re.sub("[가-힣]+", "", piece) for piece in starts} == {"", *".,?!~)'\""}
    assert all(piece[0].isalpha() for piece in starts)
    assert all(piece[-1].isalpha() for piece in ends)


def test_novel_words_have_one_to_five_equally_likely_syllables() -> None:
    drawn = draw_freely(make_vocabulary(((WORDS, 0.0),), novel=1).make_words(), 80_000)
    lengths = Counter(map(len, drawn))
    assert set(lengths) == {1, 2, 3, 4, 5}
    assert lengths[2] + lengths[3] > 0.5 * lengths.total()
    syllables = Counter("".join(drawn))
    mean = syllables.total() / 2350
    assert len(syllables) == 2350
    assert all(abs(num - mean) < 5.5 * mean**0.5 for num in syllables.values())


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("share", [0.01, 0.3])
@pytest.mark.parametrize("num_syllables", [2350, 12])
def test_novel_words_are_allowed_in_their_split(held_out: bool, share: float, num_syllables: int) -> None:
    holdout = HoldoutSplit(held_out, share)
    characters = frozenset(KS_X_1001[:num_syllables])
    words = make_vocabulary(((WORDS, 0.0),), novel=1, characters=characters, holdout=holdout).make_words()
    drawn = draw_freely(words, 300)
    assert all(map(holdout.allows, drawn))
    assert set("".join(drawn)) <= characters
    if num_syllables == 2350:
        assert set(words.share_by_width) == {1, 2, 3, 4, 5}
        assert len(set(drawn)) > 100


def test_pieces_of_cut_words_are_allowed_in_their_split() -> None:
    for holdout in (HoldoutSplit(False, 0.5), HoldoutSplit(True, 0.5)):
        vocabulary = make_vocabulary(holdout=holdout)
        pieces = draw_freely(vocabulary.make_endings(), 200) + draw_freely(vocabulary.make_beginnings(), 200)
        assert all(map(holdout.allows, pieces))


@given(st.lists(st.sampled_from(["가", "나비", "'다'", "라.", "(마)"]), max_size=8), st.integers())
def test_joined_words_keep_their_order_and_only_unpunctuated_ones_get_a_middle_dot(
    words: list[str], seed: int
) -> None:
    text = join_words(words, 0.5, Random(seed).random)
    assert re.split("[ ·]", text) == (words or [""])
    assert not re.search(r"[^가-힣]·|·[^가-힣]", text)
    assert "·" not in join_words(words, 0.0, Random(seed).random)

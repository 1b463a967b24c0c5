import re
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocr_ray.textgen.corpus import read_corpus
from ocr_ray.textgen.holdout import (
    MAX_SHARE,
    MIN_SHARE,
    HoldoutSplit,
    find_misplaced,
    find_tokens,
    is_held_out,
)
from ocr_ray.textgen.quantities import WORDS

SHARES = st.floats(MIN_SHARE, MAX_SHARE)
TEXTS = st.text("0123456789.,가나개cmABㄱ㉠ ×=()~·□²", max_size=30)
NUMBERS = st.integers(0, 10**7).map(str) | st.from_regex(
    r"[0-9]{1,3}(,[0-9]{3})?(\.[0-9]{1,3})?", fullmatch=True
)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("사과를 (나눗셈식) 봄·여름?", ["사과를", "나눗셈식", "봄", "여름"]),
        ("1,000원 3.14 12 345cm² 0.05", ["1000", "314", "345", "005"]),
        ("3시 20분, 답 ____개 〈보기〉", []),
        ("삼각형 ㄱㄴㄷ ㉠ 36 ①", []),
        ("KTX3호 1926년", ["KTX", "호", "1926"]),
        ("200,300, 400. 5:600…700", ["200300", "400", "600", "700"]),
        ("", []),
    ],
)
def test_tokens_are_the_words_and_long_numbers_of_a_line(text: str, tokens: list[str]) -> None:
    assert find_tokens(text) == tokens


@given(TEXTS)
def test_every_word_and_number_of_three_digits_is_a_token(text: str) -> None:
    letters = [
        "".join(run)
        for kept, run in groupby(text, lambda char: bool(re.match("[가-힣A-Za-z]", char)))
        if kept
    ]
    tokens = find_tokens(text)
    assert [token for token in tokens if not token.isdigit()] == [run for run in letters if run not in WORDS]
    digits = "".join(token for token in tokens if token.isdigit())
    for run in re.findall("[0-9]{3,}", text):
        assert run in digits
    assert all(len(token) >= 3 for token in tokens if token.isdigit())


def test_about_the_requested_share_of_words_and_numbers_is_held_out() -> None:
    words = [word for word in read_corpus(None).words if word not in WORDS]
    numbers = [str(number) for number in range(100, 10_000)]
    for tokens in (words, numbers):
        for share in (0.01, 0.1, 0.5):
            held_out = sum(is_held_out(token, share) for token in tokens)
            assert abs(held_out - share * len(tokens)) < 4 * (share * len(tokens)) ** 0.5
        assert not any(is_held_out(token, 0) for token in tokens)


@given(st.text("가나다라0123456789", min_size=1, max_size=6), SHARES, SHARES)
def test_a_held_out_token_is_also_held_out_at_a_larger_share(token: str, one: float, other: float) -> None:
    assert is_held_out(token, min(one, other)) <= is_held_out(token, max(one, other))


def test_the_hash_of_a_token_has_not_changed() -> None:
    tokens = ["사과", "나비", "나눗셈식", "바다", "하늘", "구름", "100", "777"]
    assert [token for token in tokens if is_held_out(token, 0.5)] == ["나눗셈식", "하늘", "구름"]


@pytest.mark.parametrize("token", ["개", "cm", "보기", "식", "답", "시", "분", "초", "7", "99", "00"])
def test_words_of_quantities_and_short_numbers_are_allowed_in_every_split(token: str) -> None:
    assert not is_held_out(token, 0.5)
    assert find_tokens(token) == []


@given(TEXTS, SHARES)
def test_a_token_is_misplaced_in_exactly_one_split(text: str, share: float) -> None:
    train, test = (find_misplaced(text, held_out=held_out, share=share) for held_out in (False, True))
    assert sorted(train + test) == sorted(find_tokens(text))
    assert all(is_held_out(token, share) for token in train)
    assert not any(is_held_out(token, share) for token in test)
    assert HoldoutSplit(False, share).allows(text) == (not train)
    assert HoldoutSplit(True, share).allows(text) == (not test)


@given(TEXTS)
def test_with_nothing_held_out_every_split_allows_everything(text: str) -> None:
    for holdout in (HoldoutSplit(False), HoldoutSplit(True)):
        assert holdout.allows(text)
        assert holdout.replace_numbers(text) == text


@given(st.lists(NUMBERS, min_size=1, max_size=4), st.booleans(), SHARES)
def test_replaced_numbers_are_allowed_and_keep_their_form(
    numbers: list[str], held_out: bool, share: float
) -> None:
    holdout = HoldoutSplit(held_out, share)
    text = " + ".join(numbers)
    replaced = holdout.replace_numbers(text)
    assert holdout.allows(replaced)
    assert re.sub("[0-9]", "0", replaced) == re.sub("[0-9]", "0", text)
    for before, after in zip(numbers, replaced.split(" + "), strict=True):
        assert (before == after) == holdout.allows(before)
        assert before[0] == "0" or after[0] != "0"


@pytest.mark.parametrize("share", [MIN_SHARE, 0.2])
@pytest.mark.parametrize("held_out", [False, True])
def test_a_number_is_replaced_by_the_nearest_allowed_one(held_out: bool, share: float) -> None:
    holdout = HoldoutSplit(held_out, share)
    allowed = [number for number in range(100, 1000) if holdout.allows(str(number))]
    for number in range(100, 1000, 7):
        replaced = int(holdout.replace_numbers(str(number)))
        assert abs(replaced - number) == min(abs(other - number) for other in allowed)

import re
from random import Random

import pytest

from ocr_ray.text.canonical import canonical
from ocr_ray.text.markup import to_markup, to_text
from ocr_ray.textgen.arithmetic.expressions import CHARACTERS as ARITHMETIC_CHARACTERS
from ocr_ray.textgen.exact_length import WeightedChoice
from ocr_ray.textgen.quantities import (
    CHARACTERS,
    COUNTERS,
    UNITS,
    WORDS,
    make_focused_quantities,
    make_quantities,
)

QUANTITIES = make_quantities(CHARACTERS)


def draw_quantities(count: int, characters: frozenset[str] = CHARACTERS) -> list[str]:
    return draw_freely(make_quantities(characters), count)


def draw_freely(choice: WeightedChoice, count: int) -> list[str]:
    random = Random(1)
    widths = random.choices(list(choice.share_by_width), list(choice.share_by_width.values()), k=count)
    return [choice.draw(width, random.random) for width in widths]


MANY = draw_quantities(40_000)


def test_a_quantity_has_the_requested_width() -> None:
    random = Random(2).random
    for width in QUANTITIES.share_by_width:
        assert {len(QUANTITIES.draw(width, random)) for _ in range(2000)} == {width}


def test_quantities_are_canonical_with_single_inner_spaces_and_survive_markup() -> None:
    for quantity in set(MANY):
        assert quantity == canonical(quantity) == " ".join(quantity.split())
        assert to_text(to_markup(quantity)) == quantity


def test_exactly_the_declared_characters_are_drawn() -> None:
    assert set("".join(MANY)) == CHARACTERS


def test_every_word_of_a_quantity_is_declared() -> None:
    assert {word for quantity in MANY for word in re.findall("[가-힣A-Za-z]+", quantity)} == WORDS
    assert WORDS.issuperset(COUNTERS)
    assert WORDS.issuperset(unit.rstrip("²³") for unit in UNITS)


@pytest.mark.parametrize("lacking", ["①", "㉠", "ㄱ", "²", "{", "개", "℃", "→", "_"])
def test_a_missing_sign_removes_only_the_quantities_that_need_it(lacking: str) -> None:
    drawn = draw_quantities(40_000, CHARACTERS - {lacking})
    assert lacking not in "".join(drawn)
    others = {char for quantity in MANY if lacking not in quantity for char in quantity}
    assert set("".join(drawn)) == others
    assert len(others) >= len(CHARACTERS) - 3


def test_the_required_characters_are_enough_for_numbers() -> None:
    drawn = draw_quantities(5000, ARITHMETIC_CHARACTERS)
    assert set("".join(drawn)) <= ARITHMETIC_CHARACTERS
    assert any(quantity.isdigit() for quantity in drawn)


@pytest.mark.parametrize("unit", [*UNITS, "시", "분", "초"])
def test_a_unit_follows_a_number_or_a_blank(unit: str) -> None:
    unit_pattern = re.compile(rf"(?<![A-Za-z가-힣]){unit}(?![A-Za-z²³가-힣])")
    before = [quantity[: match.start()] for quantity in MANY for match in unit_pattern.finditer(quantity)]
    assert len(before) > 100
    assert all(re.search(r"([0-9] ?|____ |\) ?|[□○△☆])$", text) for text in before)


@pytest.mark.parametrize("counter", COUNTERS)
def test_a_counter_follows_something_countable(counter: str) -> None:
    quantities = [quantity for quantity in MANY if re.search(rf"(?<![가-힣]){counter}(?![가-힣])", quantity)]
    pattern = rf"([0-9] ?|____|\) ?|몇 |[□○△☆]|^|[가-라]){counter}"
    assert all(re.search(pattern, quantity) for quantity in quantities)
    assert any(re.search(rf"[0-9] ?{counter}$", quantity) for quantity in quantities)


@pytest.mark.parametrize(
    "quantity",
    [
        *("① 7", "(1)", "3:4", "1~5", "90°", "가 → 나", "〈보기〉", "식 ____", "답 ____개", "1,000"),
        *("3시", "점 ㄱ", "□ + ☆", "( )", "변 ㄱㄴ", "㉮", "…"),
    ],
)
def test_quantities_have_the_forms_of_maths_problems(quantity: str) -> None:
    assert quantity in MANY


@pytest.mark.parametrize(
    "pattern",
    [
        r"[0-9] 시 [0-9]+ 분",
        r"㉠ [0-9]+",
        r"[0-9]+ ℃",
        r"5 × □",
        r"\{ [0-9]+ \}",
        r"[0-9]+ cm²",
        r"[0-9]분",
        r"[0-9]+, [0-9]+, …",
    ],
)
def test_quantities_have_forms_with_any_number(pattern: str) -> None:
    assert any(re.fullmatch(pattern, quantity) for quantity in MANY)


def test_times_of_the_day_are_possible() -> None:
    times = [
        match
        for quantity in MANY
        for match in re.findall(r"^(?:오[전후] )?([0-9]+) ?시(?!간)(?: ([0-9]+) ?분)?", quantity)
    ]
    assert {int(hour) for hour, _ in times} == set(range(1, 13))
    assert {int(minute) for _, minute in times if minute} <= set(range(1, 60))


def test_choices_and_points_rise_from_left_to_right() -> None:
    for letters in ("①②③④⑤", "㉠㉡㉢㉣㉤㉥", "㉮㉯㉰㉱", "ㄱㄴㄷㄹㅁㅂ"):
        for quantity in MANY:
            drawn = [char for char in quantity if char in letters]
            assert drawn == sorted(set(drawn))


def test_only_decimals_have_a_leading_zero() -> None:
    assert not any(re.search(r"(?<![0-9,.])0(?!\.)", quantity) for quantity in MANY)
    assert not any(re.search(r"\.[0-9]*0(?![0-9])", quantity) for quantity in MANY)


def test_focused_quantities_have_their_shares_and_the_others_keep_their_ratios() -> None:
    choice = make_focused_quantities(CHARACTERS, {"⑤": 0.2, "→": 0.1}, {("6", "8"): 0.3})
    drawn = draw_freely(choice, 40_000)

    def share(form: str, quantities: list[str]) -> float:
        return sum(bool(re.search(form, quantity)) for quantity in quantities) / len(quantities)

    assert share("⑤", drawn) == pytest.approx(0.2 + 0.4 * share("⑤", MANY), abs=0.01)
    assert share("→", drawn) == pytest.approx(0.1 + 0.4 * share("→", MANY), abs=0.01)
    assert share("보기", drawn) == pytest.approx(0.4 * share("보기", MANY), rel=0.15)
    assert share("[68]{2}", drawn) > 3 * share("[68]{2}", MANY)
    assert all(quantity == canonical(quantity) == to_text(to_markup(quantity)) for quantity in set(drawn))


def test_a_misread_digit_is_not_added_to_months_and_hours() -> None:
    drawn = draw_freely(make_focused_quantities(CHARACTERS, {}, {("9",): 1.0}), 20_000)
    assert sum(quantity.count("9") for quantity in drawn) > 0.5 * sum(
        map(len, re.findall("[0-9]", "".join(drawn)))
    )
    assert not any(re.search("[0-9]{2}월|오[전후] [0-9]{2}시", quantity) for quantity in drawn)

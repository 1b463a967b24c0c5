"""Expressions, checked by an independent evaluator with fractions."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import cycle
from random import Random

import pytest
from harness.calculation import TOKEN, UNITS, Evaluator, fill_box, is_true
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.text.canonical import canonical
from ocr_ray.text.markup import to_markup, to_text
from ocr_ray.textgen.arithmetic.expressions import (
    CHARACTERS,
    OPERATIONS,
    ArithmeticConfig,
    Expression,
    draw_expression,
)

GRADES = st.integers(1, 6)
STREAMS = st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=30)
NUMBER = re.compile(r"[0-9][0-9.,]*")
DIGITS = "0123456789"


def is_complete(tight: str) -> bool:
    return not set("□○") & set(tight) and re.search("[=<>].", tight) is not None


def near_misses(equation: str) -> Iterator[str]:
    """Yield equations with one digit of the right side changed or two adjacent digits swapped."""
    left, right = equation.split("=")
    for index, old in enumerate(right):
        if old not in DIGITS:
            continue
        before, after = right[:index], right[index + 1 :]
        others = [f"{before}{digit}{after}" for digit in DIGITS if digit != old]
        if after and after[0] in DIGITS:
            others.append(f"{before}{after[0]}{old}{after[1:]}")
        # A ratio to zero has no value.
        yield from (f"{left}={other}" for other in others if not re.search(":0+$", other))


def draw(seed: int, config: ArithmeticConfig, count: int) -> list[Expression]:
    random = Random(seed).random
    return [draw_expression(random, config) for _ in range(count)]


@cache
def draw_grade(grade: int) -> list[Expression]:
    return draw(grade, ArithmeticConfig(grades=(grade,)), 2500)


def tight_texts(grade: int, *statuses: str) -> list[str]:
    return [
        line.text.replace(" ", "") for line in draw_grade(grade) if not statuses or line.status in statuses
    ]


@pytest.mark.parametrize(
    ("relation", "is_valid"),
    [
        ("24-(3+5)×2÷4=20", True),
        ("24-(3+5)×2÷4=21", False),
        ("{24-(3+5)}×2=32", True),
        ("23÷4=5…3", True),
        ("23÷4=5…2", False),
        ("23÷4=4…7", False),
        ("3:4=6:8", True),
        ("0.25=25%", True),
        ("0.45+1.2=1.65", True),
        ("12,345+1=12,346", True),
        ("34<43", True),
        ("34>43", False),
        ("3km200m=3200m", True),
        ("3km200m=3020m", False),
        ("2시간11분=131분", True),
        ("8cm²×3cm=24cm³", True),
        ("90°+45°=135°", True),
        ("2L=2000cm³", True),
    ],
)
def test_the_evaluator_distinguishes_true_and_false_relations(relation: str, is_valid: bool) -> None:
    assert is_true(relation) == is_valid


@pytest.mark.parametrize("relation", ["3-5+4=2", "{3+(2}+1)=6", "3km=3kg", "3km200g=4m", "5m+3=8m"])
def test_the_evaluator_rejects_negative_intermediate_results_and_nonsense(relation: str) -> None:
    with pytest.raises(AssertionError):
        is_true(relation)


@settings(deadline=None)
@given(STREAMS, GRADES)
def test_the_status_says_whether_an_expression_is_complete_and_true(stream: list[float], grade: int) -> None:
    line = draw_expression(cycle(stream).__next__, ArithmeticConfig(grades=(grade,)))
    tight = line.text.replace(" ", "")
    assert line.grade == grade
    assert (line.status != "open") == is_complete(tight)
    if line.status != "open":
        assert is_true(tight) == (line.status == "true"), line


@pytest.mark.parametrize("grade", OPERATIONS)
def test_thousands_of_relations_have_the_right_status(grade: int) -> None:
    assert [line for line in tight_texts(grade, "true") if not is_true(line)] == []
    assert [line for line in tight_texts(grade, "false") if is_true(line)] == []
    assert 0.6 < len(tight_texts(grade, "true", "false")) / len(draw_grade(grade)) < 0.7


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_false_relations_have_the_requested_share(share: float) -> None:
    statuses = Counter(line.status for line in draw(1, ArithmeticConfig(false_share=share), 20_000))
    assert statuses["false"] / (statuses["true"] + statuses["false"]) == pytest.approx(share, abs=0.015)
    assert 0.33 < statuses["open"] / 20_000 < 0.37


@pytest.mark.parametrize("grade", OPERATIONS)
def test_half_of_the_false_equations_are_near_misses(grade: int) -> None:
    equations = [line for line in tight_texts(grade, "false") if re.search("[-+×÷:].*=|[^0-9.]$", line)]
    near = [line for line in equations if any(is_true(other) for other in near_misses(line))]
    assert len(near) / len(equations) == pytest.approx(0.5, abs=0.12)
    swapped = [
        line
        for line in near
        if any(is_true(other) and sorted(other) == sorted(line) for other in near_misses(line))
    ]
    assert len(swapped) / len(near) > 0.15


def test_a_false_comparison_can_have_any_sign() -> None:
    comparison = re.compile("[0-9.,]+([=<>])[0-9.,]+")
    signs = Counter(match[1] for line in tight_texts(4, "false") if (match := comparison.fullmatch(line)))
    assert min(signs[sign] for sign in "=<>") > 5


def test_intermediate_quotients_of_mixed_calculations_are_whole() -> None:
    for line in tight_texts(5, "true"):
        evaluator = Evaluator(line.split("=")[0])
        evaluator.value()
        assert all(quotient.denominator == 1 for quotient in evaluator.quotients), line


@pytest.mark.parametrize(
    ("equation", "box"),
    [
        ("□+8=15", 7),
        ("15-□=15", 0),
        ("80-(2+8)×6÷□=50", 2),
        ("□:4=6:8", 3),
        ("3:4=6:□", 8),
        ("□÷4=5…3", 23),
        ("23÷□=5…3", 4),
        ("23÷4=5…□", 3),
        ("□×85%=170", 200),
        ("3km□m=3200m", 200),
    ],
)
def test_the_solver_finds_the_number_in_the_box(equation: str, box: int) -> None:
    assert fill_box(equation) == box


@pytest.mark.parametrize("grade", OPERATIONS)
def test_every_box_has_a_decimal_solution(grade: int) -> None:
    equations = [line for line in tight_texts(grade, "open") if "□" in line and not line.endswith("=□")]
    boxes = {equation: fill_box(equation) for equation in equations}
    assert len(boxes) > 100
    wrong = [line for line, box in boxes.items() if box is None or box < 0 or 10**6 % box.denominator]
    assert wrong == []


@settings(deadline=None)
@given(STREAMS, GRADES, st.sampled_from([0.0, 0.3, 1.0]))
def test_an_expression_is_well_formed_for_any_random_numbers(
    stream: list[float], grade: int, share: float
) -> None:
    config = ArithmeticConfig(grades=(grade,), false_share=share)
    text = draw_expression(cycle(stream).__next__, config).text
    assert set(text) <= CHARACTERS
    assert text == text.strip()
    assert "  " not in text
    assert len(text) <= 36
    for number in NUMBER.findall(text):
        assert re.fullmatch(r"(0|[1-9][0-9]{0,2}(,[0-9]{3})+|[1-9][0-9]*)(\.[0-9]*[1-9])?", number), text
    assert canonical(text) == text
    assert to_text(to_markup(text)) == text


def test_every_declared_character_is_drawn() -> None:
    assert set("".join(line.text for grade in OPERATIONS for line in draw_grade(grade))) == CHARACTERS


@pytest.mark.parametrize(
    ("grade", "taught"),
    [
        (1, "+-=<>□○"),
        (2, "+-×=<>□○ cm 시간 분"),
        (3, "+-×÷=<>□○…., mm cm km L g kg t 분 초"),
        (4, "+-×÷=<>□○…., °℃"),
        (5, "+-×÷=□().,{} cm² m² km²"),
        (6, "+-×÷=□().,{}:% cm³ m³ cm² m² L"),
    ],
)
def test_a_grade_uses_exactly_the_signs_that_it_teaches(grade: int, taught: str) -> None:
    assert set("".join(line.text for line in draw_grade(grade))) == {*taught, *"0123456789 "}


def test_every_unit_is_used() -> None:
    texts = " ".join(line for grade in OPERATIONS for line in tight_texts(grade))
    tokens = Counter(TOKEN.findall(texts))
    assert [unit for unit in UNITS if tokens[unit] < 5] == []


@pytest.mark.parametrize(("grade", "digits"), [(1, 2), (2, 4), (3, 4), (4, 8)])
def test_numbers_are_no_longer_than_the_grade_allows(grade: int, digits: int) -> None:
    numbers = re.findall(r"[0-9]+", " ".join(line.text.replace(",", "") for line in draw_grade(grade)))
    assert max(map(len, numbers)) == digits


def test_most_expressions_are_short_and_some_long_numbers_have_commas() -> None:
    texts = [line.text for line in draw(2, ArithmeticConfig(), 10_000)]
    assert sum(len(text) <= 16 for text in texts) > 8_000
    numbers = re.findall(r"(?<![.0-9])[0-9,]{4,}", " ".join(texts))
    long_numbers = Counter("," in number for number in numbers)
    assert 0.1 < long_numbers[True] / long_numbers.total() < 0.35


def test_spacing_varies_around_operators_the_equals_sign_and_units() -> None:
    lines = [line.text for line in draw_grade(3) if line.status != "open"]
    shapes = Counter((" × " in line, " = " in line) for line in lines if "×" in line)
    assert min(shapes[shape] for shape in [(False, False), (True, True), (True, False), (False, True)]) > 50
    gaps = Counter(" kg" in line for line in lines if "kg" in line)
    assert min(gaps[True], gaps[False]) > 20


def test_the_same_random_numbers_give_the_same_expressions() -> None:
    config = ArithmeticConfig()
    assert draw(5, config, 50) == draw(5, config, 50)
    assert len(set(draw(5, config, 50))) > 45


def test_grades_are_equally_frequent() -> None:
    grades = Counter(line.grade for line in draw(6, ArithmeticConfig(grades=(2, 3, 5)), 6000))
    assert set(grades) == {2, 3, 5}
    assert min(grades.values()) > 1850


@pytest.mark.parametrize("grades", [(), (1, 7), (0,)])
def test_grades_beyond_elementary_school_are_rejected(grades: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"grades must be one or more of 1 to 6, got \("):
        ArithmeticConfig(grades=grades)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_of_false_relations_outside_0_to_1_is_rejected(share: float) -> None:
    with pytest.raises(ValueError, match="false_share must be from 0 to 1, got"):
        ArithmeticConfig(false_share=share)

"""Equations are checked by an evaluator of their own, in fractions, that does not know how they were made."""

import re
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.text.arithmetic import CHARACTERS, PRODUCTIONS, ArithmeticConfig, draw_expression

GRADES = st.integers(1, 6)
SEEDS = st.integers(0, 2**63 - 1)
TOKEN = re.compile(r"\d+(?:\.\d+)?%?|[-+×÷:()□]")


class Evaluator:
    """Evaluates one side of a relation; fails on syntax, and without a box on what is negative on the way."""

    def __init__(self, side: str, box: Fraction | None = None) -> None:
        self.box = box
        self.tokens = TOKEN.findall(side)
        assert "".join(self.tokens) == side, side

    def value(self) -> Fraction:
        result = self.sum()
        assert not self.tokens
        return result

    def sum(self) -> Fraction:
        result = self.product()
        while self.tokens[:1] in (["+"], ["-"]):
            sign = self.tokens.pop(0)
            result += self.product() if sign == "+" else -self.product()
            assert result >= 0 or self.box is not None
        return result

    def product(self) -> Fraction:
        result = self.number()
        while self.tokens[:1] in (["×"], ["÷"], [":"]):
            sign = self.tokens.pop(0)
            result = result * self.number() if sign == "×" else result / self.number()
        return result

    def number(self) -> Fraction:
        token = self.tokens.pop(0)
        if token == "(":
            result = self.sum()
            assert self.tokens.pop(0) == ")"
            return result
        if token == "□":
            assert self.box is not None
            return self.box
        return Fraction(token[:-1]) / 100 if token.endswith("%") else Fraction(token)


def is_true(relation: str) -> bool:
    left, sign, right = re.split("([=<>])", relation)
    if "…" in right:
        dividend, divisor = map(int, left.split("÷"))
        return f"{dividend // divisor}…{dividend % divisor}" == right and dividend % divisor > 0
    a, b = Evaluator(left).value(), Evaluator(right).value()
    return {"=": a == b, "<": a < b, ">": a > b}[sign]


def draw_tight(seed: int, grade: int) -> str:
    return draw_expression(np.random.default_rng(seed), grade).replace(" ", "")


def expressions(grade: int, count: int) -> list[str]:
    generator = np.random.default_rng(grade)
    return [draw_expression(generator, grade) for _ in range(count)]


@pytest.mark.parametrize(
    ("relation", "truth"),
    [
        ("24-(3+5)×2÷4=20", True),
        ("24-(3+5)×2÷4=21", False),
        ("23÷4=5…3", True),
        ("23÷4=5…2", False),
        ("3:4=6:8", True),
        ("0.25=25%", True),
        ("0.45+1.2=1.65", True),
        ("34<43", True),
        ("34>43", False),
    ],
)
def test_the_evaluator_tells_true_relations_from_false_ones(relation: str, truth: bool) -> None:
    assert is_true(relation) == truth


@settings(deadline=None)
@given(SEEDS, GRADES)
def test_every_relation_with_its_result_is_true(seed: int, grade: int) -> None:
    expression = draw_tight(seed, grade)
    if "□" not in expression and re.search("[=<>].", expression):
        assert is_true(expression), expression


def test_six_thousand_relations_are_true_and_two_in_three_expressions_have_a_result() -> None:
    tight = [line.replace(" ", "") for grade in PRODUCTIONS for line in expressions(grade, 1500)]
    complete = [line for line in tight if "□" not in line and re.search("[=<>].", line)]
    assert [line for line in complete if not is_true(line)] == []
    assert 0.6 < len(complete) / len(tight) < 0.8


def fill_box(equation: str) -> Fraction | None:
    """Return what makes an equation true whose left side is linear in the box or in its reciprocal."""
    left, right = equation.split("=")
    if "…" in right:
        quotient, remainder = map(int, right.split("…"))
        other = Fraction(left.strip("□÷"))
        return other * quotient + remainder if left.startswith("□") else (other - remainder) / quotient
    wanted = Evaluator(right).value()
    for invert in (False, True):
        one, two = (Evaluator(left, Fraction(1) / k if invert else Fraction(k)).value() for k in (1, 2))
        if one == two or (solution := 1 + (wanted - one) / (two - one)) <= 0:
            continue
        box = 1 / solution if invert else solution
        if Evaluator(left, box).value() == wanted:
            return box
    return Fraction(0) if Evaluator(left, Fraction(0)).value() == wanted else None


@pytest.mark.parametrize(
    ("equation", "box"),
    [
        ("□+8=15", 7),
        ("15-□=15", 0),
        ("80-(2+8)×6÷□=50", 2),
        ("□:4=6:8", 3),
        ("3:□=6:8", 4),
        ("□÷4=5…3", 23),
        ("23÷□=5…3", 4),
        ("□×85%=170", 200),
    ],
)
def test_the_solver_finds_the_number_in_the_box(equation: str, box: int) -> None:
    assert fill_box(equation) == box


@settings(deadline=None)
@given(SEEDS, GRADES)
def test_a_box_inside_an_equation_stands_for_a_decimal_that_makes_it_true(seed: int, grade: int) -> None:
    expression = draw_tight(seed, grade)
    if "□" in expression and not expression.endswith("=□"):
        box = fill_box(expression)
        assert box is not None, expression
        assert 1000 % box.denominator == 0, expression


@settings(deadline=None)
@given(SEEDS, GRADES)
def test_no_character_is_drawn_that_is_not_declared(seed: int, grade: int) -> None:
    expression = draw_expression(np.random.default_rng(seed), grade)
    assert set(expression) <= CHARACTERS
    assert expression == expression.strip()
    assert "  " not in expression
    assert len(expression.replace(" ", "")) >= 3


def test_every_declared_character_is_drawn() -> None:
    drawn = set("".join(line for grade in PRODUCTIONS for line in expressions(grade, 500)))
    assert drawn == CHARACTERS


@pytest.mark.parametrize(
    ("grade", "taught", "not_taught"),
    [
        (1, "+-=<>□", "×÷().…:%"),
        (2, "+-×=<>□", "÷().…:%"),
        (3, "+-×÷=<>□….", "():%"),
        (4, "+-×÷=<>□….", "():%"),
        (5, "+-×÷=□().", "…:%<>"),
        (6, "+-×÷=□().:%", "…<>"),
    ],
)
def test_a_grade_writes_the_signs_that_it_teaches_and_no_others(
    grade: int, taught: str, not_taught: str
) -> None:
    drawn = set("".join(expressions(grade, 2000)))
    assert set(taught) <= drawn
    assert not drawn & set(not_taught)


@pytest.mark.parametrize(("grade", "digits"), [(1, 2), (2, 4), (3, 4), (4, 8)])
def test_numbers_are_no_longer_than_the_grade_knows_them(grade: int, digits: int) -> None:
    longest = max(len(number) for line in expressions(grade, 2000) for number in re.findall(r"\d+", line))
    assert longest == digits


def test_spacing_varies_around_operators_and_around_the_equals_sign() -> None:
    shapes = Counter(
        (" × " in line, " = " in line)
        for line in expressions(3, 2000)
        if "×" in line and "=" in line.strip("=")
    )
    assert min(shapes[shape] for shape in [(False, False), (True, True), (True, False), (False, True)]) > 50


def test_the_minus_is_ascii_and_there_is_no_fraction() -> None:
    drawn = set("".join(line for grade in PRODUCTIONS for line in expressions(grade, 500)))
    assert not drawn & set("−–—/½")


def test_the_same_generator_state_gives_the_same_expression() -> None:
    assert expressions(5, 50) == expressions(5, 50)
    assert len(set(expressions(5, 50))) > 45


@pytest.mark.parametrize("grades", [(), (1, 7), (0,)])
def test_grades_beyond_elementary_school_are_refused(grades: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"grades must be some of 1 to 6, got \("):
        ArithmeticConfig(grades=grades)

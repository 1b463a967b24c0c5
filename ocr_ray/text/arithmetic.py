"""Arithmetic as Korean elementary schools write it, by grade, with random numbers and without fractions.

What is taught when follows the standards of 2022: in grades 1 and 2 sums and differences within two
digits and the times table, in 3 and 4 longer numbers, division with a remainder and decimals, in 5 and 6
mixed calculation with brackets, products and quotients of decimals, ratio and per cent. Every equation
is true, and nothing in it is negative or inexact on the way. The minus is ASCII `-`, because Korean
fonts lack U+2212.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class ArithmeticConfig:
    """Which arithmetic is drawn."""

    grades: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    """School grades whose arithmetic is drawn, each as often as the next."""

    def __post_init__(self) -> None:
        if not self.grades or not set(self.grades) <= set(PRODUCTIONS):
            raise ValueError(f"grades must be some of 1 to 6, got {self.grades}")


CHARACTERS = frozenset("0123456789+-×÷=□()<>:%.… ")
"""Every character that an expression may hold."""

Between = Callable[[int, int], int]
"""Draws a whole number; both ends included."""
Relation = tuple[str, str, str]
"""A left side, `=`, `<` or `>`, and a right side, without spaces."""

_OPERATORS = "+-×÷:…"
_SPACINGS: tuple[dict[str, str], ...] = (
    {},
    {sign: f" {sign} " for sign in _OPERATORS + "=<>"},
    {sign: f" {sign} " for sign in _OPERATORS},
    {sign: f" {sign} " for sign in "=<>"},
)
_SPACING_TABLES = [str.maketrans(spacing) for spacing in _SPACINGS]
_NUMBER = re.compile(r"[0-9.]+")
_LAST_NUMBER = re.compile(r"[0-9.]+$")


def draw_expression(generator: np.random.Generator, grade: int) -> str:
    """Return an expression of a grade from 1 to 6, such as `23÷4=5…3`, `□ + 8 = 15` or `3:4 = 6:8`.

    Two in three are equations or comparisons with their result; the others lack it or have `□` for a number.
    """
    random = generator.random

    def between(low: int, high: int) -> int:
        return low + int(random() * (high - low + 1))

    productions = PRODUCTIONS[grade]
    relation = productions[between(0, len(productions) - 1)](between)
    return _write(relation, random()).translate(_SPACING_TABLES[between(0, len(_SPACING_TABLES) - 1)]).strip()


def _write(relation: Relation, choice: float) -> str:
    left, sign, right = relation
    if choice < 0.65 or sign != "=":
        return left + sign + right
    if choice < 0.75:
        return left
    if choice < 0.8:
        return left + "="
    if choice < 0.86:
        return f"{left}=□"
    blank = _NUMBER if choice < 0.93 or not left[-1].isdigit() else _LAST_NUMBER
    return f"{blank.sub('□', left, count=1)}={right}"


def _decimal(value: int, places: int) -> str:
    """Return value / 10**places, without zeros at its end."""
    if not places:
        return str(value)
    digits = f"{value:0{places + 1}d}"
    return f"{digits[:-places]}.{digits[-places:]}".rstrip("0").rstrip(".")


def _compare(left: str, right: str, difference: int) -> Relation:
    return left, "=" if difference == 0 else "<" if difference < 0 else ">", right


# Productions: each draws one kind of relation. A factory's name says what it makes, its arguments how large.


def _sum(low: int, high: int, limit: int) -> Callable[[Between], Relation]:
    def draw(between: Between) -> Relation:
        a = between(low, min(high, limit - low))
        b = between(low, min(high, limit - a))
        return f"{a}+{b}", "=", str(a + b)

    return draw


def _difference(low: int, high: int) -> Callable[[Between], Relation]:
    def draw(between: Between) -> Relation:
        a = between(low, high)
        b = between(min(low, a), a)
        return f"{a}-{b}", "=", str(a - b)

    return draw


def _three_terms(low: int, high: int) -> Callable[[Between], Relation]:
    def draw(between: Between) -> Relation:
        value = between(low, high)
        left = str(value)
        for _ in range(2):
            if between(0, 1):
                term = between(low, high)
                left, value = f"{left}+{term}", value + term
            else:
                term = between(0, value)
                left, value = f"{left}-{term}", value - term
        return left, "=", str(value)

    return draw


def _product(first: tuple[int, int], second: tuple[int, int]) -> Callable[[Between], Relation]:
    def draw(between: Between) -> Relation:
        a, b = between(*first), between(*second)
        return f"{a}×{b}", "=", str(a * b)

    return draw


def _quotient(low: int, high: int, divisors: tuple[int, int]) -> Callable[[Between], Relation]:
    def draw(between: Between) -> Relation:
        divisor = between(*divisors)
        quotient = between(-(-low // divisor), high // divisor)
        return f"{quotient * divisor}÷{divisor}", "=", str(quotient)

    return draw


def _remainder(low: int, high: int, divisors: tuple[int, int]) -> Callable[[Between], Relation]:
    def draw(between: Between) -> Relation:
        divisor, dividend = between(*divisors), between(low, high)
        dividend += dividend % divisor == 0
        return f"{dividend}÷{divisor}", "=", f"{dividend // divisor}…{dividend % divisor}"

    return draw


def _comparison(low: int, high: int, places: int = 0) -> Callable[[Between], Relation]:
    def draw(between: Between) -> Relation:
        a, b = between(low, high), between(low, high)
        return _compare(_decimal(a, places), _decimal(b, places), a - b)

    return draw


def _sum_comparison(high: int) -> Callable[[Between], Relation]:
    def draw(between: Between) -> Relation:
        a, b, c = between(1, high), between(1, high), between(2, 2 * high)
        return _compare(f"{a}+{b}", str(c), a + b - c)

    return draw


def _decimal_sum(between: Between) -> Relation:
    places = between(1, 2)
    a, b = between(1, 10 ** (places + 1)), between(1, 10 ** (places + 1))
    return f"{_decimal(a, places)}+{_decimal(b, places)}", "=", _decimal(a + b, places)


def _decimal_difference(between: Between) -> Relation:
    places = between(1, 2)
    a = between(2, 10 ** (places + 1))
    b = between(1, a)
    return f"{_decimal(a, places)}-{_decimal(b, places)}", "=", _decimal(a - b, places)


def _decimal_product(between: Between) -> Relation:
    places_a, places_b = between(1, 2), between(0, 1)
    a, b = between(1, 10 ** (places_a + 1)), between(2, 99)
    return f"{_decimal(a, places_a)}×{_decimal(b, places_b)}", "=", _decimal(a * b, places_a + places_b)


def _decimal_quotient(between: Between) -> Relation:
    places_divisor, places_quotient = between(0, 1), between(0, 1)
    places = max(places_divisor + places_quotient, 1)
    divisor, quotient = between(2, 99), between(1, 99)
    dividend = divisor * quotient * 10 ** (places - places_divisor - places_quotient)
    left = f"{_decimal(dividend, places)}÷{_decimal(divisor, places_divisor)}"
    return left, "=", _decimal(quotient, places_quotient)


def _mixed(between: Between) -> Relation:
    a, b, c = between(2, 50), between(2, 12), between(2, 12)
    high = between(0, 30)
    return (
        (f"{a}+{b}×{c}", "=", str(a + b * c)),
        (f"{b * c + high}-{b}×{c}", "=", str(high)),
        (f"{b}×{c}+{a}", "=", str(b * c + a)),
        (f"{a * b}÷{b}+{c}", "=", str(a + c)),
        (f"{a + c}-{b * c}÷{b}+{high}", "=", str(a + high)),
    )[between(0, 4)]


def _bracketed(between: Between) -> Relation:
    a, b, c = between(2, 20), between(2, 12), between(2, 9)
    rest = between(0, 30)
    return (
        (f"({a}+{b})×{c}", "=", str((a + b) * c)),
        (f"{a + b + rest}-({a}+{b})", "=", str(rest)),
        (f"{c}×({a + b}-{a})", "=", str(c * b)),
        (f"({a + rest}-{rest})×{c}-{c}", "=", str(a * c - c)),
        (f"{(a + b) * c}÷({a}+{b})", "=", str(c)),
    )[between(0, 4)]


def _four_operations(between: Between) -> Relation:
    divisor, unit, factor = between(2, 6), between(2, 6), between(2, 9)
    a = between(1, divisor * unit - 1)
    value = unit * factor
    rest = between(0, 40)
    return f"{value + rest}-({a}+{divisor * unit - a})×{factor}÷{divisor}", "=", str(rest)


def _proportion(between: Between) -> Relation:
    a, b, factor = between(1, 12), between(1, 12), between(2, 9)
    return f"{a}:{b}", "=", f"{a * factor}:{b * factor}"


def _percentage(between: Between) -> Relation:
    percent = between(1, 99)
    return _decimal(percent, 2), "=", f"{percent}%"


def _share(between: Between) -> Relation:
    percent, base = between(1, 20) * 5, between(1, 50) * 20
    return f"{base}×{percent}%", "=", str(base * percent // 100)


PRODUCTIONS: dict[int, tuple[Callable[[Between], Relation], ...]] = {
    1: (
        _sum(1, 9, 18),
        _sum(1, 98, 99),
        _difference(1, 18),
        _difference(10, 99),
        _three_terms(1, 9),
        _comparison(1, 99),
    ),
    2: (
        _sum(10, 99, 198),
        _difference(10, 99),
        _three_terms(10, 50),
        _product((1, 9), (1, 9)),
        _product((2, 9), (2, 9)),
        _comparison(100, 9999),
        _sum_comparison(60),
    ),
    3: (
        _sum(100, 999, 1998),
        _difference(100, 999),
        _product((11, 99), (2, 9)),
        _product((101, 999), (2, 9)),
        _product((11, 99), (11, 99)),
        _quotient(10, 99, (2, 9)),
        _remainder(10, 98, (2, 9)),
        _comparison(1, 99, 1),
    ),
    4: (
        _product((101, 999), (11, 99)),
        _quotient(100, 999, (11, 49)),
        _remainder(100, 998, (11, 99)),
        _comparison(10_000, 99_999_999),
        _comparison(1, 9_999, 3),
        _decimal_sum,
        _decimal_difference,
    ),
    5: (_mixed, _mixed, _bracketed, _bracketed, _four_operations, _decimal_product),
    6: (_decimal_quotient, _decimal_quotient, _proportion, _proportion, _percentage, _share, _bracketed),
}
"""What each grade may draw, each entry as likely as the next."""

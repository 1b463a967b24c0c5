"""Equations and comparisons in a text, and whether they are true: `23÷4=5…3`, `3 km 200 m=3200 m`, `3:4<6:8`.

A recursive descent parser over exact fractions with units.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from operator import add, eq, gt, lt, mul, sub, truediv
from typing import NamedTuple

_NO_UNIT = (0, 0, 0, 0, 0)
_LENGTH, _MASS, _TIME, _ANGLE, _TEMPERATURE = (tuple(int(i == j) for j in range(5)) for i in range(5))
_AREA, _VOLUME = (2, 0, 0, 0, 0), (3, 0, 0, 0, 0)
_UNITS: dict[str, tuple[Fraction, tuple[int, ...]]] = {
    **{"mm": (Fraction(1, 1000), _LENGTH), "cm": (Fraction(1, 100), _LENGTH), "m": (Fraction(1), _LENGTH)},
    **{"km": (Fraction(1000), _LENGTH), "cm²": (Fraction(1, 10**4), _AREA), "m²": (Fraction(1), _AREA)},
    **{"km²": (Fraction(10**6), _AREA), "cm³": (Fraction(1, 10**6), _VOLUME), "m³": (Fraction(1), _VOLUME)},
    **{"mL": (Fraction(1, 10**6), _VOLUME), "L": (Fraction(1, 1000), _VOLUME)},
    **{"g": (Fraction(1), _MASS), "kg": (Fraction(1000), _MASS), "t": (Fraction(10**6), _MASS)},
    **{"시간": (Fraction(3600), _TIME), "분": (Fraction(60), _TIME), "초": (Fraction(1), _TIME)},
    **{"°": (Fraction(1), _ANGLE), "℃": (Fraction(1), _TEMPERATURE), "%": (Fraction(1, 100), _NO_UNIT)},
}
"""Factor to the base unit, and the powers of length, mass, time, angle and temperature."""

_NUMBER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?"
_UNIT = "|".join(sorted(_UNITS, key=len, reverse=True))
_BLANK = "[□○△☆]"
_ATOM = rf"(?:{_NUMBER}|{_BLANK})(?: ?(?:{_UNIT})(?![A-Za-z]))?|[-+×÷=<>(){{}}:…]"
_RUN = re.compile(rf"(?:{_ATOM})(?: ?(?:{_ATOM}))*")
_TOKEN = re.compile(rf"{_NUMBER}|{_UNIT}|[-+×÷(){{}}:]")
_RELATION = re.compile("([=<>])")
_REMAINDER = re.compile(r"([0-9]+)÷([0-9]+)=([0-9]+)…([0-9]+)")
_ADJACENT_NUMBERS = re.compile("[0-9,.] +[0-9]")
_COMMA = re.compile("(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
"""Thousands separator."""
_OPERATIONS = {"+": add, "-": sub, "×": mul, "÷": truediv, ":": truediv}
_RELATIONS = {"=": eq, "<": lt, ">": gt}
_CLOSING = {"(": ")", "{": "}"}


class Equation(NamedTuple):
    """An equation or comparison at [start, stop) of a text."""

    text: str
    start: int
    stop: int


class _Quantity(NamedTuple):
    value: Fraction
    unit: tuple[int, ...]


def find_equations(text: str) -> Iterator[Equation]:
    """Yield the runs of numbers and operators that contain a relation, from left to right.

    A side can be blank or missing (`3 + □ = 7`, `12÷5=`), but the run must contain a number or a blank.
    """
    for run in _RUN.finditer(text):
        if _RELATION.search(run[0]) and re.search(f"[0-9]|{_BLANK}", run[0]):
            yield Equation(run[0], run.start(), run.end())


def is_true(equation: str) -> bool | None:
    """Return whether an equation holds; None if it has a blank or makes no sense.

    In a chain every relation must hold. A division with remainder holds only if 0 < remainder < divisor.
    """
    if _ADJACENT_NUMBERS.search(equation):
        return None
    compact = _COMMA.sub("", equation.replace(" ", ""))
    if "…" in compact:
        numbers = _REMAINDER.fullmatch(compact)
        if not numbers or not int(numbers[2]):
            return None
        dividend, divisor, quotient, remainder = map(int, numbers.groups())
        return 0 < remainder < divisor and dividend == quotient * divisor + remainder
    sides = _RELATION.split(compact)
    try:
        quantities = [_Expression(side).value() for side in sides[::2]]
    except (_ExpressionError, ZeroDivisionError):
        return None
    if len(quantities) < 2 or len({quantity.unit for quantity in quantities}) > 1:
        return None
    pairs = zip(quantities, sides[1::2], quantities[1:], strict=False)
    return all(_RELATIONS[sign](left.value, right.value) for left, sign, right in pairs)


class _ExpressionError(Exception):
    """One side of a relation is not a valid expression."""


class _Expression:
    """Parser of one side: brackets first, then × ÷ :, then + -, each from left to right."""

    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(text)
        if "".join(self._tokens) != text:
            raise _ExpressionError
        self._tokens.reverse()

    def value(self) -> _Quantity:
        """Return the value of the whole side."""
        quantity = self._sum()
        if self._tokens:
            raise _ExpressionError
        return quantity

    def _next_is(self, *tokens: str) -> bool:
        return bool(self._tokens) and self._tokens[-1] in tokens

    def _take(self) -> str:
        if not self._tokens:
            raise _ExpressionError
        return str(self._tokens.pop())

    def _sum(self) -> _Quantity:
        total = self._product()
        while self._next_is("+", "-"):
            sign, term = self._take(), self._product()
            total = _Quantity(_OPERATIONS[sign](total.value, term.value), _same_unit(total.unit, term.unit))
        return total

    def _product(self) -> _Quantity:
        product = self._measure()
        while self._next_is("×", "÷", ":"):
            sign, factor = self._take(), self._measure()
            combine = add if sign == "×" else sub
            unit = tuple(map(combine, product.unit, factor.unit))
            product = _Quantity(_OPERATIONS[sign](product.value, factor.value), unit)
        return product

    def _measure(self) -> _Quantity:
        """Return a number with its unit; `3 km 200 m` is one measure."""
        total = self._number()
        while self._tokens and self._tokens[-1][0].isdigit() and total.unit != _NO_UNIT:
            more = self._number()
            total = _Quantity(total.value + more.value, _same_unit(total.unit, more.unit))
        return total

    def _number(self) -> _Quantity:
        token = self._take()
        if token in _CLOSING:
            quantity = self._sum()
            if self._take() != _CLOSING[token]:
                raise _ExpressionError
            return quantity
        if not token[0].isdigit():
            raise _ExpressionError
        factor, unit = _UNITS[self._take()] if self._next_is(*_UNITS) else (Fraction(1), _NO_UNIT)
        return _Quantity(Fraction(token) * factor, unit)


def _same_unit(unit: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    if unit != other:
        raise _ExpressionError
    return unit

"""Evaluates relations with fractions and units, and solves for a box."""

import re
from fractions import Fraction

NO_DIMENSION = (0, 0, 0, 0, 0)
LENGTH, MASS, TIME, ANGLE, HEAT = (tuple(int(i == j) for j in range(5)) for i in range(5))
AREA, SPACE = (2, 0, 0, 0, 0), (3, 0, 0, 0, 0)
UNITS = {
    **{"mm": (Fraction(1, 1000), LENGTH), "cm": (Fraction(1, 100), LENGTH), "m": (Fraction(1), LENGTH)},
    **{"km": (Fraction(1000), LENGTH), "cm²": (Fraction(1, 10**4), AREA), "m²": (Fraction(1), AREA)},
    **{"km²": (Fraction(10**6), AREA), "cm³": (Fraction(1, 10**6), SPACE), "m³": (Fraction(1), SPACE)},
    **{"mL": (Fraction(1, 10**6), SPACE), "L": (Fraction(1, 1000), SPACE)},
    **{"g": (Fraction(1), MASS), "kg": (Fraction(1000), MASS), "t": (Fraction(10**6), MASS)},
    **{"시간": (Fraction(3600), TIME), "분": (Fraction(60), TIME), "초": (Fraction(1), TIME)},
    **{"°": (Fraction(1), ANGLE), "℃": (Fraction(1), HEAT), "%": (Fraction(1, 100), NO_DIMENSION)},
}
LONGEST_FIRST = sorted(UNITS, key=len, reverse=True)
TOKEN = re.compile("|".join([r"[0-9][0-9,]*(?:\.[0-9]+)?", "[-+×÷:(){}□]", *LONGEST_FIRST]))
Quantity = tuple[Fraction, tuple[int, ...]]


class Evaluator:
    """Evaluates one side of a relation; fails on invalid syntax and, without a box, on negative results."""

    def __init__(self, side: str, box: Fraction | None = None) -> None:
        self.box = box
        self.tokens = TOKEN.findall(side)
        self.quotients: list[Fraction] = []
        assert "".join(self.tokens) == side, side

    def value(self) -> Quantity:
        result = self.sum()
        assert not self.tokens, self.tokens
        return result

    def sum(self) -> Quantity:
        result, dimension = self.product()
        while self.tokens[:1] in (["+"], ["-"]):
            sign = self.tokens.pop(0)
            term, term_dimension = self.product()
            assert dimension == term_dimension
            result += term if sign == "+" else -term
            assert result >= 0 or self.box is not None
        return result, dimension

    def product(self) -> Quantity:
        result, dimension = self.measure()
        while self.tokens[:1] in (["×"], ["÷"], [":"]):
            sign = self.tokens.pop(0)
            factor, other = self.measure()
            dimension = tuple(a + b if sign == "×" else a - b for a, b in zip(dimension, other, strict=True))
            result = result * factor if sign == "×" else result / factor
            if sign == "÷":
                self.quotients.append(result)
        return result, dimension

    def measure(self) -> Quantity:
        """Adjacent measures, such as `3 km 200 m`, are added."""
        result, dimension = self.number_with_unit()
        while self.tokens and (self.tokens[0][0].isdigit() or self.tokens[0] == "□"):
            more, more_dimension = self.number_with_unit()
            assert dimension == more_dimension != NO_DIMENSION
            result += more
        return result, dimension

    def number_with_unit(self) -> Quantity:
        number = self.number()
        has_unit = bool(self.tokens) and self.tokens[0] in UNITS
        unit, dimension = UNITS[self.tokens.pop(0)] if has_unit else (Fraction(1), NO_DIMENSION)
        return number * unit, dimension

    def number(self) -> Fraction:
        token = self.tokens.pop(0)
        if token in ("(", "{"):
            result, dimension = self.sum()
            assert dimension == NO_DIMENSION
            assert self.tokens.pop(0) == {"(": ")", "{": "}"}[token]
            return result
        if token == "□":
            assert self.box is not None
            return self.box
        return Fraction(token.replace(",", ""))


def is_true(relation: str) -> bool:
    """Return whether a relation without spaces is true; AssertionError if it is invalid."""
    left, sign, right = re.split("([=<>])", relation)
    if "…" in right:
        dividend, divisor = map(int, left.replace(",", "").split("÷"))
        quotient, rest = divmod(dividend, divisor)
        return rest > 0 and right.replace(",", "") == f"{quotient}…{rest}"
    (a, dimension_a), (b, dimension_b) = Evaluator(left).value(), Evaluator(right).value()
    assert dimension_a == dimension_b
    return {"=": a == b, "<": a < b, ">": a > b}[sign]


def fill_box(equation: str) -> Fraction | None:
    """Return the value of the single box that makes an equation true; None if there is none.

    A side with a box is linear in the box or in its reciprocal.
    """
    left, right = equation.replace(",", "").split("=")
    if "…" in right:
        return fill_box_with_remainder(left, right)
    if "□" in right:
        left, right = right, left
    target = Evaluator(right).value()[0]
    for invert in (False, True):
        one, two = (Evaluator(left, Fraction(1) / k if invert else Fraction(k)).value()[0] for k in (1, 2))
        if one == two or (solution := 1 + (target - one) / (two - one)) <= 0:
            continue
        box = 1 / solution if invert else solution
        if Evaluator(left, box).value()[0] == target:
            return box
    # Any number if the box has no influence, as in `0×□=0`; a divisor is not zero.
    return next((box for box in map(Fraction, (1, 0)) if Evaluator(left, box).value()[0] == target), None)


def fill_box_with_remainder(left: str, right: str) -> Fraction:
    (dividend, divisor), (quotient, rest) = left.split("÷"), right.split("…")
    if dividend == "□":
        return Fraction(int(quotient) * int(divisor) + int(rest))
    if divisor == "□":
        return Fraction(int(dividend) - int(rest), int(quotient))
    if quotient == "□":
        return Fraction(int(dividend) - int(rest), int(divisor))
    return Fraction(int(dividend) - int(quotient) * int(divisor))

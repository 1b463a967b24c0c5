"""Arithmetic expressions of Korean elementary schools, by grade, with random numbers and without fractions.

Grades follow the Korean national curriculum of 2022. Grades 1 and 2: sums and differences of up to two
digits and the times table. Grades 3 and 4: longer numbers, division with a remainder, decimals and units.
Grades 5 and 6: mixed calculations with brackets, products and quotients of decimals, ratios and
percentages.

Some equations are false on purpose, so that a model has to read a result and cannot calculate it. The minus
sign is ASCII `-`, because Korean fonts lack U+2212.
"""

import re
from dataclasses import dataclass
from operator import ne
from typing import Literal

from ocr_ray.textgen.arithmetic import operations
from ocr_ray.textgen.arithmetic.operations import Operation, Relation
from ocr_ray.textgen.random_numbers import Random, draw_between, draw_whole

OPERATIONS: dict[int, tuple[Operation, ...]] = {
    1: (
        operations.digit_sum,
        operations.sum_or_difference(2, 1, limit=99),
        operations.sum_or_difference(2, 2, limit=99, sums=1),
        operations.sum_or_difference(2, 2, limit=99, sums=1),
        operations.three_terms(1, 1, 1),
        operations.comparison(1, 2),
    ),
    2: (
        operations.sum_or_difference(2, 2),
        operations.sum_or_difference(2, 2),
        operations.three_terms(2, 2, 1),
        operations.three_terms(2, 2, 2),
        operations.times_table,
        operations.times_table,
        operations.comparison(3, 4),
        operations.sum_comparison,
        operations.conversion(operations.GRADE_2_UNITS),
        operations.measure_sum(("cm", "m"), 1, 2),
    ),
    3: (
        operations.sum_or_difference(3, 3),
        operations.sum_or_difference(3, 3),
        operations.product(2, 1),
        operations.product(3, 1),
        operations.product(2, 2),
        operations.quotient(2, 1, exact=0.5),
        operations.quotient(2, 1, exact=0.5),
        operations.quotient(3, 1, exact=0.1),
        operations.comparison(1, 2, places=1),
        operations.conversion(operations.GRADE_3_UNITS),
        operations.measure_sum(("mm", "km", "L", "mL", "g", "kg", "t", "초"), 2, 3),
    ),
    4: (
        operations.product(3, 2),
        operations.quotient(2, 2, exact=0.2),
        operations.quotient(3, 2, exact=0.2),
        operations.quotient(3, 2, exact=0.2),
        operations.sum_or_difference(4, 4),
        operations.sum_or_difference(5, 5),
        operations.comparison(5, 6, 7, 7, 8),
        operations.comparison(2, 3, 4, places=3),
        operations.decimal_sum,
        operations.decimal_sum,
        operations.angle_sum,
    ),
    5: (
        operations.mixed_operations,
        operations.mixed_operations,
        operations.mixed_operations,
        operations.bracketed,
        operations.bracketed,
        operations.bracketed,
        operations.four_operations,
        operations.braced,
        operations.decimal_product,
        operations.decimal_product,
        operations.conversion(operations.AREA_UNITS, decimal=True),
        operations.measure_sum(("cm²", "m²", "km²"), 2, 3),
        operations.measure_product("²", "", 1, 2),
    ),
    6: (
        operations.decimal_quotient,
        operations.decimal_quotient,
        operations.proportion,
        operations.proportion,
        operations.percentage,
        operations.percentage_of,
        operations.bracketed,
        operations.braced,
        operations.conversion(operations.VOLUME_UNITS, decimal=True),
        operations.measure_sum(("cm³", "m³"), 2, 3),
        operations.measure_product("³", "²", 1, 2),
    ),
}
"""Operations of each grade, equally likely; an operation listed twice is twice as frequent."""

CHARACTERS = frozenset("0123456789+-×÷=<>□○(){}:%.,… ") | operations.UNIT_CHARACTERS
"""Every character that an expression can contain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArithmeticConfig:
    """Arithmetic in arithmetic and mixed lines."""

    grades: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    """School grades of the arithmetic, all equally frequent."""
    false_share: float = 0.3
    """Share of complete equations and comparisons that are false; half of those are near misses."""

    def __post_init__(self) -> None:
        if not self.grades or not set(self.grades) <= set(OPERATIONS):
            raise ValueError(f"grades must be one or more of 1 to 6, got {self.grades}")
        if not 0 <= self.false_share <= 1:
            raise ValueError(f"false_share must be from 0 to 1, got {self.false_share}")


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression, its school grade, and whether it is true, false, or open because a part is left out."""

    text: str
    grade: int
    status: Literal["true", "false", "open"]


_COMPLETE_SHARE = 0.65
_NEAR_SHARE = 0.5
_COMMAS_SHARE = 0.25
_COMMAS_FROM_GRADE = 3

_SPACINGS: tuple[dict[str, str], ...] = tuple(
    {sign: f" {sign} " for sign in signs} for signs in ("", "+-×÷:…=<>○", "+-×÷:…", "=<>○")
)
_OPERATORS = frozenset("+-×÷:")
_SPACING_TABLES = [str.maketrans(spacing) for spacing in _SPACINGS]
_NUMBER = re.compile(r"[0-9][0-9.,]*")
_LAST_NUMBER = re.compile(r"[0-9][0-9.,]*(?=[^0-9]*$)")
_LONG_NUMBER = re.compile(r"(?<![0-9.])[0-9]{4,}")
_ILL_FORMED = re.compile(r"(?<![0-9.,])0(?!\.)|\.[0-9]*0(?![0-9])")
"""A leading zero, a number that is zero, or a trailing zero of a decimal."""
_DIGIT = re.compile("[0-9]")
_DIFFERENT_NEIGHBOURS = re.compile(r"([0-9])(?=[0-9])(?!\1)")
_NEXT_DIGITS = str.maketrans("0123456789", "1234567891")


def draw_expression(random: Random, config: ArithmeticConfig) -> Expression:
    """Return an expression such as `23÷4=5…3`, `□ + 8 = 15` or `3:4 = 6:8`.

    Two in three are complete equations or comparisons. The others have no result, `□` for a number or `○` for
    a sign.
    """
    position = random() * len(config.grades)
    grade = config.grades[int(position)]
    candidates = OPERATIONS[grade]
    left, signs, right = candidates[int(position % 1 * len(candidates))](random)
    layout = random() * len(_SPACING_TABLES)
    if grade >= _COMMAS_FROM_GRADE and layout % 1 < _COMMAS_SHARE:
        left, right = _LONG_NUMBER.sub(_add_commas, left), _LONG_NUMBER.sub(_add_commas, right)
    status: Literal["true", "false", "open"] = "true"
    choice = random() / _COMPLETE_SHARE
    if choice >= 1:
        status, tight = "open", _leave_open(random, (left, signs, right))
    elif choice >= config.false_share:
        tight = left + signs[0] + right
    else:
        status, tight = "false", _falsify(random, (left, signs, right))
    return Expression(tight.translate(_SPACING_TABLES[int(layout)]).strip(), grade, status)


def _add_commas(match: re.Match[str]) -> str:
    return f"{int(match[0]):,}"


def _leave_open(random: Random, relation: Relation) -> str:
    left, signs, right = relation
    if len(signs) > 1:
        return f"{left}○{right}"
    choice = random()
    # A left side without an operator is no question: `4%` asks nothing, `518 cm=` does not say for which
    # unit.
    if _OPERATORS.isdisjoint(left):
        choice = 0.5 + choice / 2
    if choice < 0.3:
        return left
    if choice < 0.5:
        return f"{left}="
    blank = _NUMBER if random() < 0.5 else _LAST_NUMBER
    if choice < 0.7:
        return f"{left}={blank.sub('□', right, count=1)}"
    return f"{blank.sub('□', left, count=1)}={right}"


def _falsify(random: Random, relation: Relation) -> str:
    """Return a false relation: one number of the right side is changed or, in a comparison, the sign.

    Only one number, because two changes can cancel out, as in `3:4=9:12`.
    """
    left, signs, right = relation
    if len(signs) > 1:
        return left + signs[1 + int(random() * (len(signs) - 1))] + right
    return f"{left}={(_write_near_miss if random() < _NEAR_SHARE else _replace_number)(random, right)}"


def _write_near_miss(random: Random, text: str) -> str:
    """Return the text with two neighbouring digits swapped or one changed, still well formed."""
    pairs = [match.start() for match in _DIFFERENT_NEIGHBOURS.finditer(text)] if random() < 0.5 else []
    if pairs:
        index = pairs[int(random() * len(pairs))]
        swapped = f"{text[:index]}{text[index + 1]}{text[index]}{text[index + 2 :]}"
        if not _ILL_FORMED.search(swapped):
            return swapped
    indices = [match.start() for match in _DIGIT.finditer(text)]
    index = indices[int(random() * len(indices))]
    before, digit, after = text[:index], text[index], text[index + 1 :]
    changed = f"{before}{(int(digit) + draw_between(random, 1, 9)) % 10}{after}"
    return f"{before}{digit.translate(_NEXT_DIGITS)}{after}" if _ILL_FORMED.search(changed) else changed


def _replace_number(random: Random, text: str) -> str:
    """Return the text with one of its numbers replaced by another of the same length that is no near miss."""
    matches = list(_NUMBER.finditer(text))
    match = matches[int(random() * len(matches))]
    digits = match[0].replace(",", "").replace(".", "")
    if len(digits) == 1:
        # Another number of one digit would be a near miss.
        return f"{text[: match.start()]}{draw_whole(random, 2)}{text[match.end() :]}"
    others = str(draw_whole(random, len(digits)))
    if "." in match[0] and others[-1] == "0":
        others = others[:-1] + str(draw_between(random, 1, 9))
    if sum(map(ne, digits, others)) < 2 or sorted(digits) == sorted(others):
        others = digits.translate(_NEXT_DIGITS)
    rest = iter(others)
    number = "".join(next(rest) if character.isdigit() else character for character in match[0])
    return text[: match.start()] + number + text[match.end() :]

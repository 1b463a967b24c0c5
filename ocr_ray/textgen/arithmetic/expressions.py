"""Arithmetic as Korean elementary schools write it, by grade, with random numbers and without fractions.

What is taught when follows the standards of 2022: in grades 1 and 2 sums and differences within two
digits and the times table, in 3 and 4 longer numbers, division with a remainder, decimals and units, in 5
and 6 mixed calculation with brackets, products and quotients of decimals, ratio and per cent. Some equations
are false on purpose, so that a reader must read a result and cannot work it out. The minus is ASCII `-`,
because Korean fonts lack U+2212.
"""

import re
from dataclasses import dataclass
from operator import ne
from typing import Literal

from ocr_ray.textgen.arithmetic import operations as productions
from ocr_ray.textgen.arithmetic import units as measures
from ocr_ray.textgen.arithmetic.operations import Production, Random, draw_between, draw_whole

PRODUCTIONS: dict[int, tuple[Production, ...]] = {
    1: (
        productions.digit_sum,
        productions.sum_or_difference(2, 1, limit=99),
        productions.sum_or_difference(2, 2, limit=99, sums=1),
        productions.sum_or_difference(2, 2, limit=99, sums=1),
        productions.three_terms(1, 1, 1),
        productions.comparison(1, 2),
    ),
    2: (
        productions.sum_or_difference(2, 2),
        productions.sum_or_difference(2, 2),
        productions.three_terms(2, 2, 1),
        productions.three_terms(2, 2, 2),
        productions.times_table,
        productions.times_table,
        productions.comparison(3, 4),
        productions.sum_comparison,
        measures.conversion(measures.BY_HUNDREDS),
        measures.measure_sum(("cm", "m"), 1, 2),
    ),
    3: (
        productions.sum_or_difference(3, 3),
        productions.sum_or_difference(3, 3),
        productions.product(2, 1),
        productions.product(3, 1),
        productions.product(2, 2),
        productions.quotient(2, 1, exact=0.5),
        productions.quotient(2, 1, exact=0.5),
        productions.quotient(3, 1, exact=0.1),
        productions.comparison(1, 2, places=1),
        measures.conversion(measures.BY_THOUSANDS),
        measures.measure_sum(("mm", "km", "L", "mL", "g", "kg", "t", "초"), 2, 3),
    ),
    4: (
        productions.product(3, 2),
        productions.quotient(2, 2, exact=0.2),
        productions.quotient(3, 2, exact=0.2),
        productions.quotient(3, 2, exact=0.2),
        productions.sum_or_difference(4, 4),
        productions.sum_or_difference(5, 5),
        productions.comparison(5, 6, 7, 7, 8),
        productions.comparison(2, 3, 4, places=3),
        productions.decimal_sum,
        productions.decimal_sum,
        measures.angle_sum,
    ),
    5: (
        productions.mixed,
        productions.mixed,
        productions.mixed,
        productions.bracketed,
        productions.bracketed,
        productions.bracketed,
        productions.four_operations,
        productions.braced,
        productions.decimal_product,
        productions.decimal_product,
        measures.conversion(measures.OF_AREA, decimal=True),
        measures.measure_sum(("cm²", "m²", "km²"), 2, 3),
        measures.measure_product("²", "", 1, 2),
    ),
    6: (
        productions.decimal_quotient,
        productions.decimal_quotient,
        productions.proportion,
        productions.proportion,
        productions.percentage,
        productions.share,
        productions.bracketed,
        productions.braced,
        measures.conversion(measures.OF_SPACE, decimal=True),
        measures.measure_sum(("cm³", "m³"), 2, 3),
        measures.measure_product("³", "²", 1, 2),
    ),
}
"""What each grade may draw, each entry as likely as the next."""

CHARACTERS = frozenset("0123456789+-×÷=<>□○(){}:%.,… ") | measures.CHARACTERS
"""Every character that an expression may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArithmeticConfig:
    """Which arithmetic is drawn."""

    grades: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    """School grades whose arithmetic is drawn, each as often as the next."""
    false_share: float = 0.3
    """Share of the equations and comparisons with a result that are false, half of them by a near miss."""

    def __post_init__(self) -> None:
        if not self.grades or not set(self.grades) <= set(PRODUCTIONS):
            raise ValueError(f"grades must be some of 1 to 6, got {self.grades}")
        if not 0 <= self.false_share <= 1:
            raise ValueError(f"false_share must be from 0 to 1, got {self.false_share}")


@dataclass(frozen=True, slots=True)
class Expression:
    """What is written, the grade that does so, and whether it is true; `open` with a part left out."""

    text: str
    grade: int
    truth: Literal["true", "false", "open"]


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
"""A zero before other digits, a number that is zero, or a zero at the end of a decimal."""
_DIGIT = re.compile("[0-9]")
_DIFFERENT_NEIGHBOURS = re.compile(r"([0-9])(?=[0-9])(?!\1)")
_NEXT_DIGITS = str.maketrans("0123456789", "1234567891")


def draw_expression(random: Random, config: ArithmeticConfig) -> Expression:
    """Return an expression such as `23÷4=5…3`, `□ + 8 = 15` or `3:4 = 6:8`.

    Two in three are equations or comparisons with their result; the others lack it or have `□` for a number
    or `○` for a sign.
    """
    place = random() * len(config.grades)
    grade = config.grades[int(place)]
    candidates = PRODUCTIONS[grade]
    left, signs, right = candidates[int(place % 1 * len(candidates))](random)
    layout = random() * len(_SPACING_TABLES)
    if grade >= _COMMAS_FROM_GRADE and layout % 1 < _COMMAS_SHARE:
        left, right = _LONG_NUMBER.sub(_add_commas, left), _LONG_NUMBER.sub(_add_commas, right)
    truth: Literal["true", "false", "open"] = "true"
    choice = random() / _COMPLETE_SHARE
    if choice >= 1:
        truth, tight = "open", _leave_open(random, (left, signs, right))
    elif choice >= config.false_share:
        tight = left + signs[0] + right
    else:
        truth, tight = "false", _falsify(random, (left, signs, right))
    return Expression(tight.translate(_SPACING_TABLES[int(layout)]).strip(), grade, truth)


def draw_number(random: Random, num_digits: int) -> str:
    """Return a number of exactly 1 to 15 digits, all equally likely in each place; only a lone one may be 0.

    More often than by chance it is round (`4000`) or repeats one digit (`555`).
    """
    return str(draw_whole(random, num_digits) if num_digits > 1 else draw_between(random, 0, 9))


def _add_commas(match: re.Match[str]) -> str:
    return f"{int(match[0]):,}"


def _leave_open(random: Random, relation: productions.Relation) -> str:
    left, signs, right = relation
    if len(signs) > 1:
        return f"{left}○{right}"
    choice = random()
    if _OPERATORS.isdisjoint(left):  # `4%` alone asks nothing, and `518 cm=` not for which unit
        choice = 0.5 + choice / 2
    if choice < 0.3:
        return left
    if choice < 0.5:
        return f"{left}="
    blank = _NUMBER if random() < 0.5 else _LAST_NUMBER
    if choice < 0.7:
        return f"{left}={blank.sub('□', right, count=1)}"
    return f"{blank.sub('□', left, count=1)}={right}"


def _falsify(random: Random, relation: productions.Relation) -> str:
    """Return a relation that is false: one number of its right side is another, or its sign a wrong one.

    One number alone, because two may make up for each other, as in `3:4=9:12`.
    """
    left, signs, right = relation
    if len(signs) > 1:
        return left + signs[1 + int(random() * (len(signs) - 1))] + right
    return f"{left}={(_write_near_miss if random() < _NEAR_SHARE else _replace_number)(random, right)}"


def _write_near_miss(random: Random, text: str) -> str:
    """Return the text with two neighbouring digits swapped or one changed, still well formed."""
    pairs = [match.start() for match in _DIFFERENT_NEIGHBOURS.finditer(text)] if random() < 0.5 else []
    if pairs:
        place = pairs[int(random() * len(pairs))]
        swapped = f"{text[:place]}{text[place + 1]}{text[place]}{text[place + 2 :]}"
        if not _ILL_FORMED.search(swapped):
            return swapped
    places = [match.start() for match in _DIGIT.finditer(text)]
    place = places[int(random() * len(places))]
    before, digit, after = text[:place], text[place], text[place + 1 :]
    changed = f"{before}{(int(digit) + draw_between(random, 1, 9)) % 10}{after}"
    return f"{before}{digit.translate(_NEXT_DIGITS)}{after}" if _ILL_FORMED.search(changed) else changed


def _replace_number(random: Random, text: str) -> str:
    """Return the text with another number for one of its numbers, as long, and not a near miss."""
    matches = list(_NUMBER.finditer(text))
    match = matches[int(random() * len(matches))]
    digits = match[0].replace(",", "").replace(".", "")
    if len(digits) == 1:
        # As long a one would differ in one digit: a near miss.
        return f"{text[: match.start()]}{draw_whole(random, 2)}{text[match.end() :]}"
    others = str(draw_whole(random, len(digits)))
    if "." in match[0] and others[-1] == "0":
        others = others[:-1] + str(draw_between(random, 1, 9))
    if sum(map(ne, digits, others)) < 2 or sorted(digits) == sorted(others):
        others = digits.translate(_NEXT_DIGITS)
    rest = iter(others)
    number = "".join(next(rest) if character.isdigit() else character for character in match[0])
    return text[: match.start()] + number + text[match.end() :]

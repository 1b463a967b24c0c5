"""Calculations with numbers and with units: each operation draws one kind of true relation, such as `3×8=24`.

Functions with parameters, such as the lengths of the numbers in digits, return an operation. There are no
fractions, and no intermediate result is negative or inexact. Operands are drawn first, with every digit
equally likely, and the calculation is chosen to fit them: two numbers whose sum is too large become a
difference. Only numbers that must divide evenly are rounded for that.
"""

from collections.abc import Callable

from ocr_ray.textgen.random_numbers import Random, draw_between, draw_whole

Relation = tuple[str, str, str]
"""Left side, signs and right side; the only spaces are those between numbers and units.

The first sign is the true one. In a comparison the false ones follow, as in `<>=`; in an equation there are
none.
"""
Operation = Callable[[Random], Relation]


def _draw_length(random: Random, lengths: tuple[int, ...]) -> int:
    return draw_whole(random, lengths[int(random() * len(lengths))])


def _draw_decimal(random: Random, max_places: int, max_digits: int) -> tuple[int, int]:
    """Return the digits of a decimal as a number, and how many of them follow the point, at least one."""
    places = draw_between(random, 1, max_places)
    digits = draw_whole(random, draw_between(random, 1, max_digits))
    return digits if digits % 10 else digits + draw_between(random, 1, 9), places


def _write_decimal(digits: int, places: int) -> str:
    """Return digits / 10**places, without trailing zeros."""
    if not places:
        return str(digits)
    padded = f"{digits:0{places + 1}d}"
    return f"{padded[:-places]}.{padded[-places:]}".rstrip("0").rstrip(".")


def _order(a: int, b: int) -> tuple[int, int]:
    """Return the larger number first."""
    return (a, b) if a >= b else (b, a)


def _compare(left: str, right: str, difference: int) -> Relation:
    return left, "=<>" if difference == 0 else "<>=" if difference < 0 else "><=", right


def sum_or_difference(first: int, second: int, *, limit: int = 10**15, sums: float = 0.5) -> Operation:
    """Sums and differences of two numbers of `first` and `second` digits.

    `sums` is the share of sums among the pairs whose sum is at most `limit`.
    """

    def draw(random: Random) -> Relation:
        a, b = draw_whole(random, first), draw_whole(random, second)
        if a + b <= limit and random() < sums:
            return f"{a}+{b}", "=", str(a + b)
        a, b = _order(a, b)
        return f"{a}-{b}", "=", str(a - b)

    return draw


def digit_sum(random: Random) -> Relation:
    """Return the sum or difference of two digits, which can be 0."""
    a, b = _order(draw_between(random, 0, 9), draw_between(random, 0, 9))
    choice = random()
    if choice < 0.5:
        return f"{a}-{b}", "=", str(a - b)
    return f"{a}+{b}" if choice < 0.75 else f"{b}+{a}", "=", str(a + b)


def three_terms(*lengths: int) -> Operation:
    """Sums and differences of several numbers of the given lengths in digits."""

    def draw(random: Random) -> Relation:
        value = draw_whole(random, lengths[0])
        left = str(value)
        for length in lengths[1:]:
            term = draw_whole(random, length)
            minus = value >= term and random() < 0.6
            left += f"-{term}" if minus else f"+{term}"
            value += -term if minus else term
        return left, "=", str(value)

    return draw


def times_table(random: Random) -> Relation:
    """Return a product of two digits."""
    a, b = draw_between(random, 0, 9), draw_between(random, 1, 9)
    return f"{a}×{b}", "=", str(a * b)


def product(first: int, second: int) -> Operation:
    """Products of numbers of `first` and `second` digits."""

    def draw(random: Random) -> Relation:
        a, b = draw_whole(random, first), draw_whole(random, second)
        return f"{a}×{b}", "=", str(a * b)

    return draw


def quotient(first: int, second: int, *, exact: float) -> Operation:
    """Quotients of numbers of `first` and `second` digits.

    A share of `exact` is made to divide evenly; most of the others have a remainder.
    """

    def draw(random: Random) -> Relation:
        dividend, divisor = _order(draw_whole(random, first), draw_whole(random, second))
        quotient, rest = divmod(dividend, divisor)
        if not rest or random() < exact:
            return f"{dividend - rest}÷{divisor}", "=", str(quotient)
        return f"{dividend}÷{divisor}", "=", f"{quotient}…{rest}"

    return draw


def comparison(*lengths: int, places: int = 0) -> Operation:
    """Comparisons of two numbers, each of one of the lengths in digits.

    In 10 % of them the numbers are equal, in 40 % they differ in one digit.
    """

    def draw(random: Random) -> Relation:
        a = _draw_length(random, lengths)
        choice = random()
        if choice < 0.1:
            b = a
        elif choice < 0.5:
            num_digits = len(str(a))
            index = int(random() * num_digits)
            place_value = 10**index
            b = (
                a
                + (draw_between(random, int(index == num_digits - 1), 9) - a // place_value % 10)
                * place_value
            )
        else:
            b = _draw_length(random, lengths)
        return _compare(_write_decimal(a, places), _write_decimal(b, places), a - b)

    return draw


def sum_comparison(random: Random) -> Relation:
    """Return the comparison of a sum with a number close to it, such as `34+8<45`."""
    a, b = draw_whole(random, 2), draw_whole(random, draw_between(random, 1, 2))
    c = abs(a + b + draw_between(random, -9, 9))
    return _compare(f"{a}+{b}", str(c), a + b - c)


def decimal_sum(random: Random) -> Relation:
    """Return the sum or difference of decimals, such as `0.45+1.2=1.65`."""
    (a, places_a), (b, places_b) = _draw_decimal(random, 2, 4), _draw_decimal(random, 2, 4)
    places = max(places_a, places_b)
    a, b = a * 10 ** (places - places_a), b * 10 ** (places - places_b)
    if random() < 0.5:
        return f"{_write_decimal(a, places)}+{_write_decimal(b, places)}", "=", _write_decimal(a + b, places)
    a, b = _order(a, b)
    return f"{_write_decimal(a, places)}-{_write_decimal(b, places)}", "=", _write_decimal(a - b, places)


def decimal_product(random: Random) -> Relation:
    """Return the product of a decimal and a decimal or whole number."""
    a, places_a = _draw_decimal(random, 2, 3)
    b, places_b = draw_whole(random, draw_between(random, 1, 2)), draw_between(random, 0, 1)
    left = f"{_write_decimal(a, places_a)}×{_write_decimal(b, places_b)}"
    return left, "=", _write_decimal(a * b, places_a + places_b)


def decimal_quotient(random: Random) -> Relation:
    """Return an exact quotient with at least one decimal in it."""
    places_divisor, places_quotient = draw_between(random, 0, 1), draw_between(random, 0, 1)
    places = max(places_divisor + places_quotient, 1)
    divisor = draw_whole(random, draw_between(random, 1, 2))
    quotient = draw_whole(random, draw_between(random, 1, 2))
    dividend = divisor * quotient * 10 ** (places - places_divisor - places_quotient)
    left = f"{_write_decimal(dividend, places)}÷{_write_decimal(divisor, places_divisor)}"
    return left, "=", _write_decimal(quotient, places_quotient)


def mixed_operations(random: Random) -> Relation:
    """Return three numbers with a sum or difference and a product or quotient, such as `50-6×7=8`."""
    a, b, c = draw_whole(random, 2), draw_whole(random, draw_between(random, 1, 2)), draw_whole(random, 1)
    form = int(random() * 5)
    if form == 0:
        return f"{a}+{b}×{c}", "=", str(a + b * c)
    if form == 1:
        return f"{c}×{b}+{a}", "=", str(b * c + a)
    if form == 2 and a >= b * c:
        return f"{a}-{b}×{c}", "=", str(a - b * c)
    if form == 2:
        return f"{b}×{c}-{a}", "=", str(b * c - a)
    a -= a % c
    if form == 3 and b >= a // c:
        return f"{b}-{a}÷{c}", "=", str(b - a // c)
    return f"{a}÷{c}+{b}", "=", str(a // c + b)


def bracketed(random: Random) -> Relation:
    """Return three numbers with brackets, such as `(12+6)÷3=6`."""
    a, b, c = draw_whole(random, 2), draw_whole(random, draw_between(random, 1, 2)), draw_whole(random, 1)
    form = int(random() * 5)
    if form == 0:
        return f"({a}+{b})×{c}", "=", str((a + b) * c)
    if form == 1 and a >= b + c:
        return f"{a}-({b}+{c})", "=", str(a - b - c)
    if form == 2:
        a -= (a + b) % c
        return f"({a}+{b})÷{c}", "=", str((a + b) // c)
    a, b = _order(a, b)
    if form == 3:
        a -= (a - b) % c
        return f"({a}-{b})÷{c}", "=", str((a - b) // c)
    return f"{c}×({a}-{b})", "=", str(c * (a - b))


def four_operations(random: Random) -> Relation:
    """Return all four operations with brackets, such as `24-(3+5)×2÷4=20`."""
    a, b, c = draw_whole(random, 2), draw_whole(random, 1), draw_whole(random, 1)
    factor, divisor = draw_whole(random, 1), draw_whole(random, 1)
    b += -(b + c) % divisor
    value = (b + c) * factor // divisor
    middle = f"({b}+{c})×{factor}÷{divisor}"
    if a < value:
        return f"{middle}-{a}", "=", str(value - a)
    return f"{a}-{middle}", "=", str(a - value)


def braced(random: Random) -> Relation:
    """Return brackets inside braces, such as `{24-(3+5)}×2=32`."""
    a, b, c, d = draw_whole(random, 2), draw_whole(random, 1), draw_whole(random, 1), draw_whole(random, 1)
    form = int(random() * 4)
    if form == 0 and a >= b + c:
        return f"{{{a}-({b}+{c})}}×{d}", "=", str((a - b - c) * d)
    if form == 1:
        a -= (a + b + c) % d
        return f"{{{a}+({b}+{c})}}÷{d}", "=", str((a + b + c) // d)
    if form == 2:
        b += -((a + c) * d + b) % c
        return f"{{({a}+{c})×{d}+{b}}}÷{c}", "=", str(((a + c) * d + b) // c)
    b, c = _order(b, c)
    return f"{d}×{{{a}+({b}-{c})}}", "=", str(d * (a + b - c))


def proportion(random: Random) -> Relation:
    """Return equal ratios, such as `3:4=6:8`."""
    a, b = draw_whole(random, draw_between(random, 1, 2)), draw_whole(random, 1)
    factor = draw_between(random, 2, 9)
    small, large = f"{a}:{b}", f"{a * factor}:{b * factor}"
    return (small, "=", large) if random() < 0.5 else (large, "=", small)


def percentage(random: Random) -> Relation:
    """Return a decimal as a percentage or a percentage as a decimal, such as `0.25=25%`."""
    percent = draw_whole(random, draw_between(random, 1, 2))
    decimal, percentage = _write_decimal(percent, 2), f"{percent}%"
    return (decimal, "=", percentage) if random() < 0.5 else (percentage, "=", decimal)


def percentage_of(random: Random) -> Relation:
    """Return a percentage of a number, such as `200×15%=30`."""
    base, percent = draw_whole(random, draw_between(random, 2, 3)), draw_whole(random, 2)
    return f"{base}×{percent}%", "=", _write_decimal(base * percent, 2)


UNIT_CHARACTERS = frozenset("mckgtL²³°℃시간분초")
"""Characters of the units below."""

Conversion = tuple[str, str, int]
"""A unit, a smaller unit, and how many of the smaller make one of the larger."""

GRADE_2_UNITS: tuple[Conversion, ...] = (("m", "cm", 100), ("시간", "분", 60))
GRADE_3_UNITS: tuple[Conversion, ...] = (
    ("cm", "mm", 10),
    ("km", "m", 1000),
    ("분", "초", 60),
    ("L", "mL", 1000),
    ("kg", "g", 1000),
    ("t", "kg", 1000),
)
AREA_UNITS: tuple[Conversion, ...] = (*[("m²", "cm²", 10_000)] * 3, ("km²", "m²", 1_000_000))
VOLUME_UNITS: tuple[Conversion, ...] = (*[("L", "cm³", 1000)] * 3, ("m³", "cm³", 1_000_000))


def _draw_space(random: Random) -> str:
    return " " if random() < 0.6 else ""


def conversion(units: tuple[Conversion, ...], *, decimal: bool = False) -> Operation:
    """Conversions such as `3 km 200 m=3200 m` or, with `decimal`, `3.2 km=3200 m`.

    In 10 % of them the larger unit has one digit and no rest, as in `3 km=3000 m`. More would make zeros too
    frequent.
    """

    def draw(random: Random) -> Relation:
        unit, small_unit, factor = units[int(random() * len(units))]
        space = _draw_space(random)
        has_rest = random() >= 0.1
        # Enough digits for at least one of the larger unit.
        value = draw_whole(random, len(str(2 * factor))) if has_rest else factor * draw_whole(random, 1)
        left, right = f"{value // factor}{space}{unit}", f"{value}{space}{small_unit}"
        if decimal:
            left = f"{_write_decimal(value, len(str(factor)) - 1)}{space}{unit}"
        elif value % factor:
            left += f" {value % factor}{space}{small_unit}"
        return (left, "=", right) if random() < 0.6 else (right, "=", left)

    return draw


def measure_sum(units: tuple[str, ...], *lengths: int) -> Operation:
    """Sums and differences of two measures in one of the units, of one of the lengths in digits."""

    def draw(random: Random) -> Relation:
        unit = _draw_space(random) + units[int(random() * len(units))]
        num_digits = lengths[int(random() * len(lengths))]
        a, b = draw_whole(random, num_digits), draw_whole(random, num_digits)
        if random() < 0.5:
            return f"{a}{unit}+{b}{unit}", "=", f"{a + b}{unit}"
        a, b = _order(a, b)
        return f"{a}{unit}-{b}{unit}", "=", f"{a - b}{unit}"

    return draw


def angle_sum(random: Random) -> Relation:
    """Return sums and differences of angles, some from 90°, 180° or 360°, and rarely of temperatures."""
    choice, a, b = random(), draw_whole(random, 2), draw_whole(random, 2)
    if choice < 0.2:
        whole = 90 if a < 90 and choice < 0.05 else 180 if choice < 0.12 else 360
        return f"{whole}°-{a}°", "=", f"{whole - a}°"
    sign = "℃" if choice > 0.9 else "°"
    if random() < 0.5:
        return f"{a}{sign}+{b}{sign}", "=", f"{a + b}{sign}"
    a, b = _order(a, b)
    return f"{a}{sign}-{b}{sign}", "=", f"{a - b}{sign}"


def measure_product(power: str, base_power: str, *lengths: int) -> Operation:
    """Areas of rectangles or volumes of prisms, such as `8 cm×5 cm=40 cm²`.

    The first number has one of the lengths in digits.
    """

    def draw(random: Random) -> Relation:
        space, unit = _draw_space(random), ("cm", "m")[int(random() * 2)]
        a, b = draw_whole(random, lengths[int(random() * len(lengths))]), draw_between(random, 1, 9)
        return f"{a}{space}{unit}{base_power}×{b}{space}{unit}", "=", f"{a * b}{space}{unit}{power}"

    return draw

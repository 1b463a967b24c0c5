"""Calculations with numbers: a production draws one kind of true relation, a factory makes one of its sizes.

Nothing is a fraction, and nothing is negative or inexact on the way. The numbers that are calculated with are
drawn with every digit alike, and the calculation is fitted to them: what two numbers do not allow as a sum
they allow as a difference. Only what must be divided exactly is rounded for it.
"""

from collections.abc import Callable

Random = Callable[[], float]
"""Draws a number from 0 up to but not including 1."""
Relation = tuple[str, str, str]
"""A left side, signs and a right side, with spaces only between numbers and units.

The first sign makes it true. A comparison has the wrong ones behind it, such as `<>=`; an equation has none.
"""
Production = Callable[[Random], Relation]

_ORDINARY, _ROUND, _REPEATED = 0.7, 0.725, 0.795
"""Cumulative shares of numbers of any digits, round ones (`4000`) and repeated digits (`555`).

The rest have no zero: the zeros of round numbers are as many as the others lack, but for a few that come from
numbers rounded for a division.
"""
_POWERS: tuple[int, ...] = tuple(10**exponent for exponent in range(16))


def draw_whole(random: Random, num_digits: int) -> int:
    """Return a number of exactly 1 to 15 digits, its first one at least 1, all equally likely in each place.

    More often than by chance it is round (`4000`) or repeats one digit (`555`).
    """
    low = _POWERS[num_digits - 1]
    choice = random()
    if choice < _ORDINARY or num_digits == 1:
        return low + int(choice / (_ORDINARY if num_digits > 1 else 1) * 9 * low)
    if choice < _ROUND:
        return low * draw_between(random, 1, 9)
    if choice < _REPEATED:
        return _POWERS[num_digits] // 9 * draw_between(random, 1, 9)
    rest = int(random() * 9**num_digits)
    value = 0
    for _ in range(num_digits):
        rest, digit = divmod(rest, 9)
        value = 10 * value + digit + 1
    return value


def draw_between(random: Random, low: int, high: int) -> int:
    """Return a whole number; both ends included."""
    return low + int(random() * (high - low + 1))


def _draw_length(random: Random, lengths: tuple[int, ...]) -> int:
    return draw_whole(random, lengths[int(random() * len(lengths))])


def _draw_decimal(random: Random, max_places: int, max_digits: int) -> tuple[int, int]:
    """Return a decimal's digits as a number, and how many of them, one or more, are behind the point."""
    places = draw_between(random, 1, max_places)
    digits = draw_whole(random, draw_between(random, 1, max_digits))
    return digits if digits % 10 else digits + draw_between(random, 1, 9), places


def write_decimal(digits: int, places: int) -> str:
    """Return digits / 10**places, without zeros at its end."""
    if not places:
        return str(digits)
    padded = f"{digits:0{places + 1}d}"
    return f"{padded[:-places]}.{padded[-places:]}".rstrip("0").rstrip(".")


def order(a: int, b: int) -> tuple[int, int]:
    """Return the larger number first."""
    return (a, b) if a >= b else (b, a)


def _compare(left: str, right: str, difference: int) -> Relation:
    return left, "=<>" if difference == 0 else "<>=" if difference < 0 else "><=", right


def sum_or_difference(first: int, second: int, *, limit: int = 10**15, sums: float = 0.5) -> Production:
    """Numbers of that many digits; where their sum is within the limit, that share are sums."""

    def draw(random: Random) -> Relation:
        a, b = draw_whole(random, first), draw_whole(random, second)
        if a + b <= limit and random() < sums:
            return f"{a}+{b}", "=", str(a + b)
        a, b = order(a, b)
        return f"{a}-{b}", "=", str(a - b)

    return draw


def digit_sum(random: Random) -> Relation:
    """Return the sum or difference of two digits, zero among them."""
    a, b = order(draw_between(random, 0, 9), draw_between(random, 0, 9))
    choice = random()
    if choice < 0.5:
        return f"{a}-{b}", "=", str(a - b)
    return f"{a}+{b}" if choice < 0.75 else f"{b}+{a}", "=", str(a + b)


def three_terms(*lengths: int) -> Production:
    """Sums and differences of numbers of the lengths in digits."""

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


def product(first: int, second: int) -> Production:
    """Products of numbers of that many digits."""

    def draw(random: Random) -> Relation:
        a, b = draw_whole(random, first), draw_whole(random, second)
        return f"{a}×{b}", "=", str(a * b)

    return draw


def quotient(first: int, second: int, *, exact: float) -> Production:
    """Quotients of numbers of that many digits; that share is made exact, most others have a remainder."""

    def draw(random: Random) -> Relation:
        dividend, divisor = order(draw_whole(random, first), draw_whole(random, second))
        quotient, rest = divmod(dividend, divisor)
        if not rest or random() < exact:
            return f"{dividend - rest}÷{divisor}", "=", str(quotient)
        return f"{dividend}÷{divisor}", "=", f"{quotient}…{rest}"

    return draw


def comparison(*lengths: int, places: int = 0) -> Production:
    """Two numbers of one of the lengths in digits; 10 % are equal, and 40 % but for one digit."""

    def draw(random: Random) -> Relation:
        a = _draw_length(random, lengths)
        choice = random()
        if choice < 0.1:
            b = a
        elif choice < 0.5:
            num_digits = len(str(a))
            index = int(random() * num_digits)
            place = _POWERS[index]
            b = a + (draw_between(random, int(index == num_digits - 1), 9) - a // place % 10) * place
        else:
            b = _draw_length(random, lengths)
        return _compare(write_decimal(a, places), write_decimal(b, places), a - b)

    return draw


def sum_comparison(random: Random) -> Relation:
    """Return a sum beside a number that is not far from it, such as `34+8<45`."""
    a, b = draw_whole(random, 2), draw_whole(random, draw_between(random, 1, 2))
    c = abs(a + b + draw_between(random, -9, 9))
    return _compare(f"{a}+{b}", str(c), a + b - c)


def decimal_sum(random: Random) -> Relation:
    """Return the sum or difference of decimals, such as `0.45+1.2=1.65`."""
    (a, places_a), (b, places_b) = _draw_decimal(random, 2, 4), _draw_decimal(random, 2, 4)
    places = max(places_a, places_b)
    a, b = a * _POWERS[places - places_a], b * _POWERS[places - places_b]
    if random() < 0.5:
        return f"{write_decimal(a, places)}+{write_decimal(b, places)}", "=", write_decimal(a + b, places)
    a, b = order(a, b)
    return f"{write_decimal(a, places)}-{write_decimal(b, places)}", "=", write_decimal(a - b, places)


def decimal_product(random: Random) -> Relation:
    """Return a decimal times a decimal or a whole number."""
    a, places_a = _draw_decimal(random, 2, 3)
    b, places_b = draw_whole(random, draw_between(random, 1, 2)), draw_between(random, 0, 1)
    left = f"{write_decimal(a, places_a)}×{write_decimal(b, places_b)}"
    return left, "=", write_decimal(a * b, places_a + places_b)


def decimal_quotient(random: Random) -> Relation:
    """Return an exact quotient with decimals among its numbers."""
    places_divisor, places_quotient = draw_between(random, 0, 1), draw_between(random, 0, 1)
    places = max(places_divisor + places_quotient, 1)
    divisor = draw_whole(random, draw_between(random, 1, 2))
    quotient = draw_whole(random, draw_between(random, 1, 2))
    dividend = divisor * quotient * _POWERS[places - places_divisor - places_quotient]
    left = f"{write_decimal(dividend, places)}÷{write_decimal(divisor, places_divisor)}"
    return left, "=", write_decimal(quotient, places_quotient)


def mixed(random: Random) -> Relation:
    """Return three numbers with operations of both ranks, such as `50-6×7=8`."""
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
    a, b = order(a, b)
    if form == 3:
        a -= (a - b) % c
        return f"({a}-{b})÷{c}", "=", str((a - b) // c)
    return f"{c}×({a}-{b})", "=", str(c * (a - b))


def four_operations(random: Random) -> Relation:
    """Return all operations around brackets, such as `24-(3+5)×2÷4=20`."""
    a, b, c = draw_whole(random, 2), draw_whole(random, 1), draw_whole(random, 1)
    factor, divisor = draw_whole(random, 1), draw_whole(random, 1)
    b += -(b + c) % divisor
    value = (b + c) * factor // divisor
    middle = f"({b}+{c})×{factor}÷{divisor}"
    if a < value:
        return f"{middle}-{a}", "=", str(value - a)
    return f"{a}-{middle}", "=", str(a - value)


def braced(random: Random) -> Relation:
    """Return brackets within braces, such as `{24-(3+5)}×2=32`."""
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
    b, c = order(b, c)
    return f"{d}×{{{a}+({b}-{c})}}", "=", str(d * (a + b - c))


def proportion(random: Random) -> Relation:
    """Return equal ratios, such as `3:4=6:8`."""
    a, b = draw_whole(random, draw_between(random, 1, 2)), draw_whole(random, 1)
    factor = draw_between(random, 2, 9)
    small, large = f"{a}:{b}", f"{a * factor}:{b * factor}"
    return (small, "=", large) if random() < 0.5 else (large, "=", small)


def percentage(random: Random) -> Relation:
    """Return a decimal as a percentage, or the other way round."""
    percent = draw_whole(random, draw_between(random, 1, 2))
    decimal, percentage = write_decimal(percent, 2), f"{percent}%"
    return (decimal, "=", percentage) if random() < 0.5 else (percentage, "=", decimal)


def share(random: Random) -> Relation:
    """Return a percentage of a number, such as `200×15%=30`."""
    base, percent = draw_whole(random, draw_between(random, 2, 3)), draw_whole(random, 2)
    return f"{base}×{percent}%", "=", write_decimal(base * percent, 2)

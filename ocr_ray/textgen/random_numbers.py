"""Random whole numbers in which every digit is equally likely."""

from collections.abc import Callable

Random = Callable[[], float]
"""Returns a random number in [0, 1)."""

_PLAIN, _ROUND, _REPEATED = 0.7, 0.725, 0.795
"""Cumulative shares of plain numbers, round ones (`4000`) and repeated digits (`555`).

The rest contain no zero, to make up for the zeros of the round numbers. Only numbers that are rounded to
divide evenly add a few more.
"""
_POWERS: tuple[int, ...] = tuple(10**exponent for exponent in range(16))


def draw_whole(random: Random, num_digits: int) -> int:
    """Return a number of exactly `num_digits` digits, 1 to 15; each digit is equally likely in each position.

    The first digit is at least 1. Round numbers (`4000`) and repeated digits (`555`) are more frequent than
    by chance.
    """
    low = _POWERS[num_digits - 1]
    choice = random()
    if choice < _PLAIN or num_digits == 1:
        return low + int(choice / (_PLAIN if num_digits > 1 else 1) * 9 * low)
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
    """Return a whole number from `low` to `high`, both included."""
    return low + int(random() * (high - low + 1))


def draw_number(random: Random, num_digits: int) -> str:
    """Return the digits of a number as `draw_whole` draws it; a number of one digit can be 0."""
    return str(draw_whole(random, num_digits) if num_digits > 1 else draw_between(random, 0, 9))

"""Numbers in texts: long ones, and problems that differ in their numbers only."""

import re
import unicodedata

MIN_DIGITS = 3
"""Of a long number; of shorter ones there are so few that any training data has them all."""

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_NOT_A_DIGIT = re.compile(r"\D")
_SPACE = re.compile(r"\s+")


def find_long_numbers(text: str) -> list[str]:
    """Return the digits of the numbers of three or more, in order: `1,000` is `1000`."""
    numbers = (_NOT_A_DIGIT.sub("", number) for number in _NUMBER.findall(text))
    return [number for number in numbers if len(number) >= MIN_DIGITS]


def mask_numbers(text: str) -> str:
    """Return a text with 0 for each number and without white space, NFC; equal for the same problem with
    other numbers."""
    return _SPACE.sub("", _NUMBER.sub("0", unicodedata.normalize("NFC", text)))

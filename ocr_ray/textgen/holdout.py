"""Held-out words and numbers, which only the test split contains; decided by a hash of the token."""

import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from ocr_ray.textgen.quantities import WORDS

MIN_SHARE, MAX_SHARE = 0.01, 0.5
"""Limits of the held-out share: between them, numbers of three digits remain for every split."""
MIN_DIGITS = 3
"""Fewest digits of a number that can be held out; of shorter numbers there are too few."""

_NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]+)*")
_TOKEN = re.compile(_NUMBER.pattern + r"|[가-힣A-Za-z]+")
_NOT_A_DIGIT = re.compile(r"[^0-9]")


def is_held_out(token: str, share: float) -> bool:
    """Return whether only the test split contains a word or number, given as `find_tokens` returns it.

    This holds for about that share of all words and numbers, but never for the words in quantities (`개`,
    `보기`) or for numbers of fewer than three digits, which can be in any line. A token that is held out
    at one share is also held out at every larger share.
    """
    if share == 0 or _is_exempt(token):
        return False
    return int.from_bytes(blake2b(token.encode(), digest_size=8).digest(), "big") < share * 2**64


def find_tokens(text: str) -> list[str]:
    """Return the words and numbers of a line in order, without those that any line can contain.

    A word is a run of syllables and Latin letters. A number is reduced to its digits: `1,000` to `1000`,
    `3.14` to `314`. Single jamo, such as the names of points, are not words.
    """
    tokens = (_NOT_A_DIGIT.sub("", token) if token[0].isdigit() else token for token in _TOKEN.findall(text))
    return [token for token in tokens if not _is_exempt(token)]


def find_misplaced(text: str, *, held_out: bool, share: float) -> list[str]:
    """Return the tokens that a line must not contain; `held_out` is true for lines of the test split."""
    return [token for token in find_tokens(text) if is_held_out(token, share) != held_out]


@dataclass(frozen=True, slots=True)
class HoldoutSplit:
    """The words and numbers of one split: the test split, or train and validation."""

    held_out: bool = False
    """Whether this is the test split."""
    share: float = 0.0
    """Share of held-out words and numbers; at 0, every split can contain every word."""

    def allows(self, text: str) -> bool:
        """Return whether lines of this split can contain every word and number of a text."""
        return not self.share or not find_misplaced(text, held_out=self.held_out, share=self.share)

    def replace_numbers(self, text: str) -> str:
        """Return the text with each disallowed number replaced by the nearest allowed one of equal length.

        An equation that was true can become false.
        """
        return _NUMBER.sub(self._replace_number, text) if self.share else text

    def _replace_number(self, match: re.Match[str]) -> str:
        number = match[0]
        digits = _NOT_A_DIGIT.sub("", number)
        if len(digits) < MIN_DIGITS or is_held_out(digits, self.share) == self.held_out:
            return number
        nearest = iter(_find_nearest(digits, self.held_out, self.share))
        return "".join(char if char in ".," else next(nearest) for char in number)


def _is_exempt(token: str) -> bool:
    return token in WORDS or (len(token) < MIN_DIGITS and token.isdigit())


@lru_cache(maxsize=100_000)
def _find_nearest(digits: str, held_out: bool, share: float) -> str:
    """Return the nearest number of the same length that is held out or not; a leading 0 can stay 0."""
    value, num_digits = int(digits), len(digits)
    lowest = 0 if digits[0] == "0" else 10 ** (num_digits - 1)
    for distance in range(1, 10**num_digits):
        for candidate in (value - distance, value + distance):
            if lowest <= candidate < 10**num_digits:
                number = f"{candidate:0{num_digits}d}"
                if is_held_out(number, share) == held_out:
                    return number
    raise AssertionError(f"no number of {num_digits} digits with held_out={held_out} at share {share}")

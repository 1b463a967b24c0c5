"""Which words and numbers only the test split holds, decided by a hash of the token and by nothing else."""

import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from ocr_ray.textgen.quantities import WORDS

MIN_SHARE, MAX_SHARE = 0.01, 0.5
"""Between these a share leaves numbers of three digits for both sides."""
MIN_DIGITS = 3
"""Fewest digits of a number that can be held out; shorter ones are too few to do without."""

_NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]+)*")
_TOKEN = re.compile(_NUMBER.pattern + r"|[가-힣A-Za-z]+")
_NOT_A_DIGIT = re.compile(r"[^0-9]")


def is_held_out(token: str, share: float) -> bool:
    """Return whether a word or the digits of a number, as `find_tokens` gives them, belong to the test split.

    About that share of the words and numbers do; never the words of the grammar itself (`개`, `보기`) nor
    numbers of fewer than three digits, which every line may hold. What is held out at one share is so at
    every larger one.
    """
    if share == 0 or _is_exempt(token):
        return False
    return int.from_bytes(blake2b(token.encode(), digest_size=8).digest(), "big") < share * 2**64


def find_tokens(text: str) -> list[str]:
    """Return the words and numbers of a line in their order, without those that every line may hold.

    A word is a run of syllables and Latin letters. A number is its digits alone: `1,000` is `1000`, `3.14` is
    `314`. Jamo that stand alone, as the names of points do, are no words.
    """
    tokens = (_NOT_A_DIGIT.sub("", token) if token[0].isdigit() else token for token in _TOKEN.findall(text))
    return [token for token in tokens if not _is_exempt(token)]


def find_misplaced(text: str, *, held_out: bool, share: float) -> list[str]:
    """Return the tokens of a line that its split must not hold; `held_out` says that it is the test split."""
    return [token for token in find_tokens(text) if is_held_out(token, share) != held_out]


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the division: the test split, or all that is not."""

    held_out: bool = False
    """Whether it is the test split."""
    share: float = 0.0
    """Share of words and numbers that are held out; with 0, anything may stand on any side."""

    def fits(self, text: str) -> bool:
        """Return whether every word and number of a text may stand on this side."""
        return not self.share or not find_misplaced(text, held_out=self.held_out, share=self.share)

    def move_numbers(self, text: str) -> str:
        """Return the text, as long as it was, with the nearest number of this side for each of the other's.

        An equation that was true need not be so any more.
        """
        return _NUMBER.sub(self._move_number, text) if self.share else text

    def _move_number(self, match: re.Match[str]) -> str:
        number = match[0]
        digits = _NOT_A_DIGIT.sub("", number)
        if len(digits) < MIN_DIGITS or is_held_out(digits, self.share) == self.held_out:
            return number
        moved = iter(_find_nearest(digits, self.held_out, self.share))
        return "".join(char if char in ".," else next(moved) for char in number)


def _is_exempt(token: str) -> bool:
    return token in WORDS or (len(token) < MIN_DIGITS and token.isdigit())


@lru_cache(maxsize=100_000)
def _find_nearest(digits: str, held_out: bool, share: float) -> str:
    """Return the nearest number of as many digits on one side; a first digit of 0 may stay one."""
    value, num_digits = int(digits), len(digits)
    lowest = 0 if digits[0] == "0" else 10 ** (num_digits - 1)
    for distance in range(1, 10**num_digits):
        for candidate in (value - distance, value + distance):
            if lowest <= candidate < 10**num_digits:
                moved = f"{candidate:0{num_digits}d}"
                if is_held_out(moved, share) == held_out:
                    return moved
    raise AssertionError(f"no number of {num_digits} digits on one side of {share}")

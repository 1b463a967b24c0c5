"""The kinds of characters that lines are made of, so that it can be said which are misread."""

import unicodedata
from functools import lru_cache

HANGUL, DIGIT, OPERATOR, SYMBOL, LATIN, PUNCTUATION, SPACE = CLASSES = (
    "hangul",
    "digit",
    "operator",
    "symbol",
    "latin",
    "punctuation",
    "space",
)
_OPERATORS = frozenset("+-×÷=<>≤≥≠±:/…")
"""Signs that relate numbers; `…` stands before a remainder, `:` in a ratio, `/` in a fraction."""
_SYMBOLS = frozenset("%&#@*†‡※‰′″\\")
"""What Unicode counts as punctuation and print does not use so."""


@lru_cache(maxsize=20_000)
def classify(character: str) -> str:
    """Return which of `CLASSES` a canonical character belongs to; every one belongs to one.

    Hangul are syllables and letters, digits 0 to 9, Latin any letter of that script. What belongs to no other
    class is a symbol: `□`, `①`, `²`, `°`, `$`, `π`.
    """
    if character.isspace():
        return SPACE
    if "0" <= character <= "9":
        return DIGIT
    if character in _OPERATORS:
        return OPERATOR
    name = unicodedata.name(character, "")
    if name.startswith("HANGUL"):
        return HANGUL
    if name.startswith("LATIN"):
        return LATIN
    is_punctuation = unicodedata.category(character).startswith("P") or character == "~"
    return PUNCTUATION if is_punctuation and character not in _SYMBOLS else SYMBOL

"""Classes of characters, such as Hangul, digits and operators."""

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
WORD_PUNCTUATION = ".,?!()'\"~·"
"""Punctuation before, after and between words."""
_OPERATORS = frozenset("+-×÷=<>≤≥≠±:/…")
"""Signs between numbers; `…` precedes a remainder, `:` is in a ratio, `/` in a fraction."""
_SYMBOLS = frozenset("%&#@*†‡※‰′″\\")
"""Characters that are punctuation in Unicode but not in print."""


@lru_cache(maxsize=20_000)
def classify(character: str) -> str:
    """Return the class of a canonical character, one of `CLASSES`.

    Hangul includes single letters; digits are 0 to 9; Latin is any letter of that script. Characters of
    no other class are symbols: `□`, `①`, `²`, `°`, `$`, `π`.
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

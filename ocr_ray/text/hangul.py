"""Hangul in Unicode: composition and precomposed syllables."""

import unicodedata

FIRST_SYLLABLE, LAST_SYLLABLE = "가", "힣"
"""First and last of the 11,172 precomposed syllables."""

KS_X_1001 = tuple(
    bytes((row, cell)).decode("euc_kr") for row in range(0xB0, 0xC9) for cell in range(0xA1, 0xFF)
)
"""The 2,350 syllables of the standard KS X 1001 in its order: rows 16 to 40, of 94 cells each.

Modern print rarely uses other syllables.
"""


def nfc(text: str) -> str:
    """Return `text` in NFC, in which a syllable is one character."""
    return unicodedata.normalize("NFC", text)


def is_hangul_syllable(char: str) -> bool:
    """Return whether a character is a precomposed syllable; single jamo are not."""
    return FIRST_SYLLABLE <= char <= LAST_SYLLABLE


def count_hangul(text: str) -> int:
    """Return the number of precomposed syllables."""
    return sum(map(is_hangul_syllable, text))

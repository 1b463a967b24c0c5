"""Characters of corpora and labels that no line contains as they are, and what becomes of each kind."""

import re
import unicodedata
from collections import Counter

_OLD_JAMO = (
    "\u302e\u302f\u1113-\u115e\u1176-\u119d\u119f-\u11a7\u11c3-\u11ff\ua960-\ua97c\ud7b0-\ud7c6\ud7cb-\ud7fb"
)
_FIRST_JAMO = "\u1100-\u115e\ua960-\ua97c"
_ALL_JAMO = "\u1100-\u115e\u1161-\u11ff\u302e\u302f\ua960-\ua97c\ud7b0-\ud7fb"
"""Jamo, and the tone marks of old Hangul."""


KINDS = {
    "tab": (r"\t", "a space"),
    "zero_width": (
        r"[\u034f\u115f\u1160\u180e\u200b-\u200d\u2060-\u2064\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f]",
        "nothing: the characters around it become neighbours",
    ),
    "variation_selector": (
        r"[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]",
        "nothing: the character before it has its usual form",
    ),
    "bidi_control": (
        r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f]",
        "nothing: lines are written from left to right",
    ),
    "half_width_jamo": (
        r"[\uffa1-\uffbe\uffc2-\uffc7\uffca-\uffcf\uffd2-\uffd7\uffda-\uffdc]",
        "the usual letter",
    ),
    "control": (r"[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f]", "the end of a word and of a passage"),
    "old_hangul": (
        f"[{_ALL_JAMO}]",
        "left out with its word: Unicode has no single character for it, and few fonts can draw it",
    ),
    "private_use": (
        r"[\ue000-\uf8ff\U000f0000-\U0010ffff]",
        "left out with its word: its meaning depends on the font, as of old Hangul in files of HWP",
    ),
}
"""By kind, its characters as a regular expression, and what becomes of them. Of jamo, only syllables that
Unicode does not have as one character are old Hangul."""

LOST = "\ufffd"
"""Stands for a syllable that is left out; a word that contains it is no word."""

_UNUSUAL = re.compile("|".join(f"(?P<{kind}>{pattern}+)" for kind, (pattern, _) in KINDS.items()))
_IS_OLD = re.compile(f"[{_OLD_JAMO}]|[{_FIRST_JAMO}]\u119e")
_VOWELS = re.compile("[\u1161-\u11a7\ud7b0-\ud7c6]+")
_REMOVED = frozenset({"zero_width", "variation_selector", "bidi_control"})


def replace_unusual(text: str, counts: Counter[str]) -> str:
    """Return a text in NFC with its unusual characters replaced; add their numbers to `counts` by kind."""

    def replace(match: re.Match[str]) -> str:
        kind, found = match.lastgroup or "", match[0]
        if kind == "old_hangul":
            if not _IS_OLD.search(found):
                return found  # letters written as jamo, which have a canonical form
            counts[kind] += len(_VOWELS.findall(found)) or 1
            return LOST
        counts[kind] += len(found)
        if kind == "private_use":
            return LOST
        if kind == "half_width_jamo":
            return "".join(chr(int(unicodedata.decomposition(jamo).split()[1], 16)) for jamo in found)
        return "" if kind in _REMOVED else found

    return _UNUSUAL.sub(replace, text)


def describe_unusual(counts: Counter[str]) -> dict[str, dict[str, int | str]]:
    """Return the number of each kind, and what became of it."""
    return {kind: {"number": counts[kind], "becomes": becomes} for kind, (_, becomes) in KINDS.items()}

"""One canonical form for what prints alike, so that a reader is never asked to tell `㎠` from `cm²`.

Canonical is what Korean fonts have and a keyboard or the KS X 1001 standard gives: letters and `²` for the
units that Unicode also has as one sign, ASCII for its full-width and small twins, one dash, one dot, one box.

Left apart is what prints otherwise (`‥` and `…`, `⇒` and `→`, `½` and `1/2`, `<` and `〈`, `●` and `○`), and
letters of any script, even where one looks like a sign (`ㅁ`, `ㅡ`, `x`, `Ⅹ`).
"""

from collections.abc import Iterable

from ocr_ray.text.hangul import nfc

_LOOK_ALIKES = {
    # Minus sign, the hyphens, figure, en and em dash, horizontal bar, the small ones. A soft hyphen is what
    # cp949 has for a hyphen, and it is printed.
    "-": "\u2212\u00ad\u2010\u2011\u2012\u2013\u2014\u2015\ufe58➖",
    "+": "➕",
    "×": "✕✖⨯╳",
    "÷": "➗",
    "/": "\u2044\u2215",
    ":": "\u2236",
    "~": "\u223c\u301c",
    "…": "⋯",
    "·": "ㆍ\u119e・･∙⋅‧•",
    "°": "º˚∘",
    "□": "▢◻◽▫☐⬜",
    "○": "◯〇⚪⭕",
    "△": "▵",
    "→": "⟶➡➔￫",
    "'": "‘’‛",
    '"': "“”‟",
    "〈": "⟨",
    "〉": "⟩",
    "《": "⟪",
    "》": "⟫",
    "「": "｢",
    "」": "｣",
    "₩": "￦",
    # U+3164 is a letter to Unicode, but a blank on paper.
    " ": "\u00a0\u1680\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\u3164",
    # Of no width: joiners, marks of direction, invisible operators, byte order mark, variation selectors.
    "": "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063\u2064"
    "\u2066\u2067\u2068\u2069\ufe0e\ufe0f\ufeff",
}
"""Signs that print like the canonical one before them."""

_UNITS = {
    **{"㎜": "mm", "㎝": "cm", "㎞": "km", "㎟": "mm²", "㎠": "cm²", "㎡": "m²", "㎢": "km²", "㏊": "ha"},
    **{"㎣": "mm³", "㎤": "cm³", "㎥": "m³", "㎦": "km³", "㏄": "cc"},
    **{"ℓ": "L", "㎖": "mL", "㎗": "dL", "㎘": "kL"},
    **{"㎎": "mg", "㎏": "kg", "㎈": "cal", "㎉": "kcal"},
}


def _count_up(first: str, forms: Iterable[str]) -> dict[str, str]:
    """Return the forms by the characters that follow each other from `first`."""
    return {chr(ord(first) + rank): form for rank, form in enumerate(forms)}


# NFC has made syllables of those that stand together; what it leaves stands alone, and prints as a letter.
_JAMO = {
    **_count_up("\u1100", "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"),
    **_count_up("\u1161", "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"),
    **_count_up("\u11a8", "ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"),
}

_NUMBERED = {
    **_count_up("⑴", (f"({number})" for number in range(1, 21))),
    **_count_up("㈀", (f"({letter})" for letter in "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎ")),
    **_count_up("㈎", (f"({letter})" for letter in "가나다라마바사아자차카타파하")),
    **_count_up("➀", "①②③④⑤⑥⑦⑧⑨⑩"),
}
"""Numbers of choices and questions in brackets or circles."""

_WIDE_AND_SMALL = {
    **_count_up("！", map(chr, range(ord("!"), ord("~") + 1))),
    **dict(zip("﹐﹒﹔﹕﹖﹗﹙﹚﹛﹜﹟﹠﹡﹢﹣﹤﹥﹦﹨﹩﹪﹫", ",.;:?!(){}#&*+-<>=\\$%@", strict=True)),
}

CANONICAL: dict[str, str] = dict(
    sorted(
        {
            **{sign: form for form, signs in _LOOK_ALIKES.items() for sign in signs},
            **_UNITS,
            **_JAMO,
            **_NUMBERED,
            **_WIDE_AND_SMALL,
            "°C": "℃",
        }.items()
    )
)
"""The canonical form by look-alike, sorted; what NFC makes one already is not repeated here."""

_SIGNS = str.maketrans({sign: form for sign, form in CANONICAL.items() if len(sign) == 1})
_SEQUENCES = {sequence: form for sequence, form in CANONICAL.items() if len(sequence) > 1}


def canonical(text: str) -> str:
    """Return `text` in NFC with every look-alike in its canonical form; what is canonical stays as it is.

    For what is printed, not for markup: in LaTeX `~` is a space, so that a `〜` must be printed first.
    """
    # A letter that was full-width may compose with the mark behind it only now.
    canonical_text = nfc(nfc(text).translate(_SIGNS))
    for sequence, form in _SEQUENCES.items():
        canonical_text = canonical_text.replace(sequence, form)
    return canonical_text

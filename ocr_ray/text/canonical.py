"""A single canonical form for characters that look alike in print, such as `㎠` and `cm²`.

The canonical form is one that Korean fonts have and that a keyboard or KS X 1001 provides: letters and
`²` for units that Unicode also has as one character, ASCII instead of full-width and small forms, and one
form each of dash, dot and box.

Characters that look different stay distinct (`‥` and `…`, `⇒` and `→`, `½` and `1/2`, `<` and `〈`, `●`
and `○`), and so do letters of any script, even if they look like a sign (`ㅁ`, `ㅡ`, `x`, `Ⅹ`).
"""

from collections.abc import Iterable

from ocr_ray.text.hangul import nfc

_LOOK_ALIKES = {
    # Minus sign, hyphens, figure dash, en and em dash, horizontal bar, small forms. cp949 uses the soft
    # hyphen as a hyphen, which is printed.
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
    # U+3164 is a letter in Unicode, but blank in print.
    " ": "\u00a0\u1680\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\u3164",
    # Zero width: joiners, direction marks, invisible operators, byte order mark, variation selectors.
    "": "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063\u2064"
    "\u2066\u2067\u2068\u2069\ufe0e\ufe0f\ufeff",
}
"""Characters that look like the canonical one, by canonical character."""

_UNITS = {
    **{"㎜": "mm", "㎝": "cm", "㎞": "km", "㎟": "mm²", "㎠": "cm²", "㎡": "m²", "㎢": "km²", "㏊": "ha"},
    **{"㎣": "mm³", "㎤": "cm³", "㎥": "m³", "㎦": "km³", "㏄": "cc"},
    **{"ℓ": "L", "㎖": "mL", "㎗": "dL", "㎘": "kL"},
    **{"㎎": "mg", "㎏": "kg", "㎈": "cal", "㎉": "kcal"},
}


def _count_up(first: str, forms: Iterable[str]) -> dict[str, str]:
    """Return the forms by consecutive characters, starting with `first`."""
    return {chr(ord(first) + rank): form for rank, form in enumerate(forms)}


# NFC combines jamo into syllables where it can; single ones are printed as letters.
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
"""Numbers and letters of choices and questions in brackets or circles."""

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
"""Canonical form by look-alike, sorted, without those that NFC unifies."""

_SIGNS = str.maketrans({sign: form for sign, form in CANONICAL.items() if len(sign) == 1})
_SEQUENCES = {sequence: form for sequence, form in CANONICAL.items() if len(sequence) > 1}


def canonical(text: str) -> str:
    """Return `text` in NFC with every look-alike in its canonical form; canonical text is unchanged.

    For printed text only, not for markup: in LaTeX, `~` is a space, so `〜` must be converted after printing.
    """
    # A letter that was full-width can compose with the mark after it only now.
    canonical_text = nfc(nfc(text).translate(_SIGNS))
    for sequence, form in _SEQUENCES.items():
        canonical_text = canonical_text.replace(sequence, form)
    return canonical_text

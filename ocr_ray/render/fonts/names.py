"""Facts about fonts by family name: translations, substitutes, licences."""

from dataclasses import dataclass

from ocr_ray.text.hangul import nfc

FAMILIES = (
    ("Batang", "바탕"),
    ("BatangChe", "바탕체"),
    ("Gungsuh", "궁서"),
    ("GungsuhChe", "궁서체"),
    ("Gulim", "굴림"),
    ("GulimChe", "굴림체"),
    ("Dotum", "돋움"),
    ("DotumChe", "돋움체"),
    ("New Gulim", "새굴림"),
    ("Malgun Gothic", "맑은 고딕"),
)
"""English and Korean names of the Windows font families, so that either finds a file with only the other.
`…Che` is a fixed-width family of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Substitute:
    """Substitutes for a family that is not installed."""

    families: tuple[str, ...]
    """Best first."""
    package: str
    """Debian package of the first."""


# The Microsoft fonts are proprietary; the free substitutes have all 11,172 Hangul syllables.
SUBSTITUTES = {
    "Batang": Substitute(families=("Baekmuk Batang", "UnBatang"), package="fonts-baekmuk"),
    "Dotum": Substitute(families=("Baekmuk Dotum", "UnDotum"), package="fonts-baekmuk"),
    "Gulim": Substitute(families=("Baekmuk Gulim",), package="fonts-baekmuk"),
    "Gungsuh": Substitute(families=("UnGungseo",), package="fonts-unfonts-core"),
    "Malgun Gothic": Substitute(families=("NanumGothic", "NanumBarunGothic"), package="fonts-nanum"),
}
KNOWN_LICENCES = {
    "Baekmuk Batang": "free use, copies and changes under its notice (Baekmuk, like MIT)",
    "Baekmuk Dotum": "free use, copies and changes under its notice (Baekmuk, like MIT)",
    "Baekmuk Gulim": "free use, copies and changes under its notice (Baekmuk, like MIT)",
    "NanumGothic": "SIL Open Font License 1.1",
    "NanumBarunGothic": "SIL Open Font License 1.1",
}
"""Licences of fonts whose files name only the owner; from the copyright files of their Debian packages."""


def fold_name(name: str) -> str:
    """Return a font name in NFC without case and spaces, for comparison."""
    return "".join(nfc(name).casefold().split())


def all_names(family: str) -> tuple[str, ...]:
    """Return the known names of a family, the English one first; otherwise the name itself."""
    return next((names for names in FAMILIES if fold_name(family) in map(fold_name, names)), (family,))

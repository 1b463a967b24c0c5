"""What is known of fonts by their names alone: translations, stand-ins, licences."""

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
"""The names of the families of Windows, so that one finds a file that holds only the other. `…Che` is the
family's fixed-width face, another font."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Substitute:
    """What may stand in for a family that is not there."""

    families: tuple[str, ...]
    """Best first."""
    package: str
    """The Debian package of the first."""


# The Microsoft fonts are proprietary; the free stand-ins have all 11,172 Hangul syllables.
SUBSTITUTES = {
    "Batang": Substitute(families=("Baekmuk Batang", "UnBatang"), package="fonts-baekmuk"),
    "Dotum": Substitute(families=("Baekmuk Dotum", "UnDotum"), package="fonts-baekmuk"),
    "Gulim": Substitute(families=("Baekmuk Gulim",), package="fonts-baekmuk"),
    "Gungsuh": Substitute(families=("UnGungseo",), package="fonts-unfonts-core"),
    "Malgun Gothic": Substitute(families=("NanumGothic", "NanumBarunGothic"), package="fonts-nanum"),
}
UNSAID_LICENCES = {
    "Baekmuk Batang": "free use, copies and changes under its notice (Baekmuk, like MIT)",
    "Baekmuk Dotum": "free use, copies and changes under its notice (Baekmuk, like MIT)",
    "Baekmuk Gulim": "free use, copies and changes under its notice (Baekmuk, like MIT)",
    "NanumGothic": "SIL Open Font License 1.1",
    "NanumBarunGothic": "SIL Open Font License 1.1",
}
"""Of stand-ins that name only their owner in the file; after the copyright files of their Debian packages."""


def fold_name(name: str) -> str:
    """Return a font's name without what does not tell names apart: case, spaces, decomposition."""
    return "".join(nfc(name).casefold().split())


def all_names(family: str) -> tuple[str, ...]:
    """Return the names of a family, the English one first; the name itself where no more are known."""
    return next((names for names in FAMILIES if fold_name(family) in map(fold_name, names)), (family,))

"""Words from plain text files, to be drawn at random into lines whose end cannot be guessed."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass, replace
from importlib import resources

from ocr_ray.errors import InputError
from ocr_ray.storage import Location, list_files, read_bytes
from ocr_ray.text.hangul import FIRST_SYLLABLE, LAST_SYLLABLE, count_hangul, nfc

SHIPPED_LIST = "words.txt"

_CENSOR_MARKS = re.compile("[×○□\ufffd]")
"""Letters that a censor, a scanner or a decoder took out; what is left of the word is none."""
_PIECE = re.compile(f"[0-9A-Za-z{FIRST_SYLLABLE}-{LAST_SYLLABLE}]+")
_HANGUL = re.compile(f"[{FIRST_SYLLABLE}-{LAST_SYLLABLE}]")
_TEXT_CONTROLS = frozenset("\t\n\v\f\r\x1a")
"""Control characters of honest text files; 0x1A ended a file under DOS."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """The distinct words of some files, and what the files held."""

    words: tuple[str, ...]
    """Sorted; how often a word occurs is forgotten, so that each is as likely as any other."""
    sha256_by_file: dict[str, str]
    """The hash of a file's raw bytes by its name relative to the folder."""


def read_corpus(location: Location | None) -> Corpus:
    """Return the words of every `*.txt` below a folder, or those of the list that the package ships.

    Files are UTF-8, with or without a byte order mark, or cp949.

    Raises:
        InputError: no such file, one in another encoding, or no word in any.
    """
    contents = _read_shipped() if location is None else _read_folder(location)
    words: set[str] = set()
    for name, raw in contents.items():
        words.update(split_words(_decode(raw, str(name if location is None else location / name))))
    if not words:
        raise InputError(
            f"the .txt files in {location} must hold Korean words, got none in {len(contents)} files"
        )
    hashes = {name: hashlib.sha256(raw).hexdigest() for name, raw in contents.items()}
    return Corpus(tuple(sorted(words)), hashes)


def restrict_corpus(corpus: Corpus, characters: frozenset[str]) -> tuple[Corpus, int]:
    """Return the corpus without the words that need a character outside the set, and how many those were."""
    words = tuple(word for word in corpus.words if characters.issuperset(word))
    return replace(corpus, words=words), len(corpus.words) - len(words)


def split_words(text: str) -> list[str]:
    """Return the words of a text in their order, NFC.

    A token with a censor mark is dropped whole. The others are cut at all but Hangul syllables, ASCII letters
    and digits, and a piece counts as a word if it holds a syllable: `"3월(三月)에"` gives `3월` and `에`.
    """
    tokens = (token for token in nfc(text).split() if not _CENSOR_MARKS.search(token))
    return [piece for token in tokens for piece in _PIECE.findall(token) if _HANGUL.search(piece)]


def _read_shipped() -> dict[str, bytes]:
    return {SHIPPED_LIST: resources.files("ocr_ray.text").joinpath(SHIPPED_LIST).read_bytes()}


def _read_folder(location: Location) -> dict[str, bytes]:
    names = [name for name in list_files(location) if name.lower().endswith(".txt")]
    if not names:
        raise InputError(f"a corpus folder must hold .txt files, got none in {location}: put some there")
    return {name: read_bytes(location / name) for name in names}


def _decode(raw: bytes, name: str) -> str:
    """Return the text of a file.

    cp949 accepts most sequences of bytes, so what it yields is believed only if it reads like Korean text.
    """
    wanted = f"{name} must be UTF-8 or cp949 text"
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{wanted}, got a UTF-16 byte order mark: convert it to UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        utf8_fault = f"byte {error.start} is not UTF-8"
    if _is_damaged_utf8(raw.decode("utf-8", errors="replace")):
        raise InputError(f"{wanted}, got Korean UTF-8 that is damaged or cut off: {utf8_fault}")
    try:
        text = raw.decode("cp949")
    except UnicodeDecodeError as error:
        raise InputError(f"{wanted}, tried both: {utf8_fault}, byte {error.start} is not cp949") from error
    if not _reads_like_korean(text):
        raise InputError(f"{wanted}, tried both: {utf8_fault}, and as cp949 it does not read like Korean")
    return text


def _is_damaged_utf8(replaced: str) -> bool:
    """Return whether a text with U+FFFD for its faults was Korean UTF-8; cp949 leaves hardly a syllable."""
    num_hangul, num_faults = count_hangul(replaced), replaced.count("\ufffd")
    is_cut_off = num_faults == 1 and replaced.endswith("\ufffd")
    return num_hangul > num_faults or (num_hangul > 0 and is_cut_off)


def _reads_like_korean(text: str) -> bool:
    if any(unicodedata.category(char) == "Cc" and char not in _TEXT_CONTROLS for char in set(text)):
        return False
    num_letters = sum(char.isalpha() and not char.isascii() for char in text)
    return 2 * count_hangul(text) >= num_letters

"""What plain text files hold, in canonical form: single words and running text.

Lines of words drawn at random have an end that cannot be guessed; those of running text are the counterpart.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import groupby

from ocr_ray.errors import InputError
from ocr_ray.storage.location import Location, list_files, read_bytes
from ocr_ray.text.canonical import canonical
from ocr_ray.text.hangul import FIRST_SYLLABLE, LAST_SYLLABLE, count_hangul

SHIPPED_LIST = "words.txt"
MATHS_LIST = "maths_words.txt"
MIN_PASSAGE_LENGTH = 5
"""Fewest characters of a passage."""

_CENSOR_MARKS = re.compile("[×○□\ufffd]")
"""Letters that a censor, a scanner or a decoder took out; what is left of the word is none."""
_BREAK = re.compile(_CENSOR_MARKS.pattern + r"|[$\\\x00-\x1f\x7f-\x9f]")
"""What parts a passage: a censor mark, the signs that markup keeps to itself, a control character."""
_PIECE = re.compile(f"[0-9A-Za-z{FIRST_SYLLABLE}-{LAST_SYLLABLE}]+")
_HANGUL = re.compile(f"[{FIRST_SYLLABLE}-{LAST_SYLLABLE}]")
_TEXT_CONTROLS = frozenset("\t\n\v\f\r\x1a")
"""Control characters of honest text files; 0x1A ended a file under DOS."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """The distinct words and the running text of some files, in canonical form."""

    words: tuple[str, ...]
    """Sorted; how often a word occurs is forgotten, so that each is as likely as any other."""
    passages: tuple[str, ...]
    """Running text of one paragraph each, with its punctuation and single spaces."""
    sha256_by_file: dict[str, str]
    """The hash of a file's raw bytes by its name relative to the folder."""


def read_corpus(location: Location | None) -> Corpus:
    """Return what every `*.txt` below a folder holds, or the words of the list that the package ships.

    Files are UTF-8, with or without a byte order mark, or cp949. The list has no passages.

    Raises:
        InputError: no such file, one in another encoding, or no word in any.
    """
    if location is None:
        raw = _read_shipped(SHIPPED_LIST)
        return Corpus(_read_list(raw), (), {SHIPPED_LIST: hashlib.sha256(raw).hexdigest()})
    contents = _read_folder(location)
    texts = [_decode(raw, str(location / name)) for name, raw in contents.items()]
    words = {word for text in texts for word in split_words(text)}
    if not words:
        raise InputError(
            f"the .txt files in {location} must hold Korean words, got none in {len(contents)} files"
        )
    hashes = {name: hashlib.sha256(raw).hexdigest() for name, raw in contents.items()}
    passages = tuple(passage for text in texts for passage in split_passages(text))
    return Corpus(tuple(sorted(words)), passages, hashes)


@cache
def read_maths_words() -> tuple[str, ...]:
    """Return the words of elementary maths that the package ships, sorted."""
    return _read_list(_read_shipped(MATHS_LIST))


def restrict_corpus(corpus: Corpus, characters: frozenset[str]) -> tuple[Corpus, Counter[str]]:
    """Return the corpus without what needs a character outside the set, and what each of those cost.

    A word with one is left out; so is a word of a passage, which parts there. The cost of a character is the
    number of distinct words that hold it and of its places in the passages, taken together.
    """
    words = tuple(filter(characters.issuperset, corpus.words))
    runs = (_join_runs(passage.split(" "), characters.issuperset) for passage in corpus.passages)
    passages = tuple(run for runs_of_one in runs for run in runs_of_one)
    costs = Counter(char for word in corpus.words for char in set(word) - characters)
    places = Counter(char for passage in corpus.passages for char in passage)
    costs.update({char: places[char] for char in places.keys() - characters - {" "}})
    return replace(corpus, words=words, passages=passages), Counter(dict(sorted(costs.items())))


def split_words(text: str) -> list[str]:
    """Return the words of a text in canonical form and in their order.

    A token with a censor mark is dropped whole. The others are cut at all but Hangul syllables, ASCII letters
    and digits, and a piece counts as a word if it holds a syllable: `"3월(三月)에"` gives `3월` and `에`.
    """
    tokens = (token for token in canonical(text).split() if not _CENSOR_MARKS.search(token))
    return [piece for token in tokens for piece in _PIECE.findall(token) if _HANGUL.search(piece)]


def split_passages(text: str) -> list[str]:
    """Return the running text of each line of a text, in canonical form with single spaces.

    A token with a censor mark, `$`, a backslash or a control character parts its line. What is left is a
    passage if it has 5 characters and a Hangul syllable.
    """
    lines = (line.split() for line in canonical(text).splitlines())
    return [passage for tokens in lines for passage in _join_runs(tokens, _is_unbroken)]


def _is_unbroken(token: str) -> bool:
    return not _BREAK.search(token)


def _join_runs(tokens: Iterable[str], is_kept: Callable[[str], bool]) -> list[str]:
    """Return the passages that the tokens make without those that are not kept."""
    runs = [" ".join(run) for kept, run in groupby(tokens, is_kept) if kept]
    return [run for run in runs if len(run) >= MIN_PASSAGE_LENGTH and _HANGUL.search(run)]


def _read_shipped(name: str) -> bytes:
    return resources.files("ocr_ray.textgen").joinpath(name).read_bytes()


def _read_list(raw: bytes) -> tuple[str, ...]:
    """Return the words of a shipped list, sorted; its comments hold no Hangul."""
    return tuple(sorted(set(split_words(raw.decode()))))


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

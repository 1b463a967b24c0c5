"""Words and running text of plain text files, in canonical form.

Memory and time are linear in the size of the files, whatever they contain: lines and words are cut at a
largest length as they are read.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from itertools import groupby

from ocr_ray.errors import InputError
from ocr_ray.storage.location import Location, list_files, read_bytes
from ocr_ray.text.canonical import canonical
from ocr_ray.text.hangul import FIRST_SYLLABLE, LAST_SYLLABLE, count_hangul, nfc
from ocr_ray.text.unusual_characters import replace_unusual

WORD_LIST = "words.txt"
MATHS_LIST = "maths_words.txt"
MIN_PASSAGE_LENGTH = 5
"""Fewest characters of a passage."""
MAX_WORD_LENGTH = 30
"""Most characters of a word, as many as a line has by default; a longer one is cut into several words."""
MAX_PARAGRAPH_LENGTH = 10_000
"""Most characters of a line of a file; a longer one is cut, at white space if it has any."""

_CENSOR_MARKS = re.compile("[×○□\ufffd]")
"""Letters lost to a censor, a scanner or a decoder; the rest is not a word."""
_BREAK = re.compile(_CENSOR_MARKS.pattern + r"|[$\\\x00-\x1f\x7f-\x9f]")
"""Characters that end a passage: censor marks, the special characters of markup, control characters."""
_PIECE = re.compile(f"[0-9A-Za-z{FIRST_SYLLABLE}-{LAST_SYLLABLE}]{{1,{MAX_WORD_LENGTH}}}")
_HANGUL = re.compile(f"[{FIRST_SYLLABLE}-{LAST_SYLLABLE}]")
_PARAGRAPH = re.compile(
    rf".{{1,{MAX_PARAGRAPH_LENGTH}}}(?=\s|\Z)|.{{1,{MAX_PARAGRAPH_LENGTH}}}[\u0300-\u036f\u1160-\u11ff]{{0,9}}",
    re.DOTALL,
)
"""A part of a long line; where there is no white space, marks and jamo stay with their first character."""
_TEXT_CONTROLS = frozenset("\t\n\v\f\r\x1a")
"""Control characters of normal text files; 0x1A ended a file under DOS."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Distinct words and running text of text files, in canonical form."""

    words: tuple[str, ...]
    """Sorted; frequencies are dropped, so all words are equally likely."""
    passages: tuple[str, ...]
    """Running text of one paragraph each, with punctuation and single spaces."""
    sha256_by_file: dict[str, str]
    """Hash of each file's raw bytes, by name relative to the folder."""
    unusual: Counter[str] = field(default_factory=Counter, compare=False)
    """Number of characters that were replaced or left out, by kind; see `unusual_characters`."""


def read_corpus(location: Location | None) -> Corpus:
    """Return the words and passages of all `*.txt` files below a folder, or the built-in list of words.

    Files are UTF-8, with or without a byte order mark, or cp949. The built-in list has no passages.

    Raises:
        InputError: there is no such file, one has another encoding, or none contains a Korean word.
    """
    if location is None:
        raw = _read_built_in(WORD_LIST)
        return Corpus(_read_list(raw), (), {WORD_LIST: hashlib.sha256(raw).hexdigest()})
    words: set[str] = set()
    passages: list[str] = []
    hashes: dict[str, str] = {}
    unusual: Counter[str] = Counter()
    for name in _list_texts(location):
        raw = read_bytes(location / name)
        hashes[name] = hashlib.sha256(raw).hexdigest()
        for paragraph in _split_paragraphs(_decode(raw, str(location / name)), unusual):
            words.update(_find_words(paragraph))
            passages += _find_passages(paragraph)
    if not words:
        raise InputError(
            f"the .txt files in {location} must contain Korean words, got none in {len(hashes)} files"
        )
    return Corpus(tuple(sorted(words)), tuple(passages), hashes, unusual)


@cache
def read_maths_words() -> tuple[str, ...]:
    """Return the built-in words of elementary maths, sorted."""
    return _read_list(_read_built_in(MATHS_LIST))


def restrict_corpus(corpus: Corpus, characters: frozenset[str]) -> tuple[Corpus, Counter[str]]:
    """Return the corpus without characters outside the set, and the cost of each of those characters.

    Words with such a character are left out; a passage is split at them. The cost of a character is the
    number of distinct words that contain it plus its number of occurrences in the passages.
    """
    words = tuple(filter(characters.issuperset, corpus.words))
    passages = tuple(
        run for passage in corpus.passages for run in _join_runs(passage.split(" "), characters.issuperset)
    )
    costs = Counter(char for word in corpus.words for char in set(word) - characters)
    occurrences = Counter(char for passage in corpus.passages for char in passage)
    costs.update({char: occurrences[char] for char in occurrences.keys() - characters - {" "}})
    return replace(corpus, words=words, passages=passages), Counter(dict(sorted(costs.items())))


def split_words(text: str) -> list[str]:
    """Return the words of a text in canonical form, in order.

    A token with a censor mark is dropped. Other tokens are split at everything except Hangul syllables, ASCII
    letters and digits; the pieces that contain a syllable are words: `"3월(三月)에"` gives `3월` and `에`.
    """
    return [word for paragraph in _split_paragraphs(text, Counter()) for word in _find_words(paragraph)]


def split_passages(text: str) -> list[str]:
    """Return the running text of each line of a text, in canonical form with single spaces.

    A line is split at tokens with a censor mark, `$`, a backslash or a control character. A piece is a
    passage if it has at least 5 characters and a Hangul syllable.
    """
    paragraphs = _split_paragraphs(text, Counter())
    return [passage for paragraph in paragraphs for passage in _find_passages(paragraph)]


def _split_paragraphs(text: str, unusual: Counter[str]) -> Iterator[str]:
    """Yield the lines of a text in canonical form; count unusual characters."""
    for line in text.splitlines():
        parts = (
            [line] if len(line) <= MAX_PARAGRAPH_LENGTH else (part[0] for part in _PARAGRAPH.finditer(line))
        )
        for part in parts:
            yield canonical(replace_unusual(nfc(part), unusual))


def _find_words(paragraph: str) -> Iterator[str]:
    tokens = (token for token in paragraph.split() if not _CENSOR_MARKS.search(token))
    return (piece for token in tokens for piece in _PIECE.findall(token) if _HANGUL.search(piece))


def _find_passages(paragraph: str) -> list[str]:
    return _join_runs(paragraph.split(), _is_unbroken)


def _is_unbroken(token: str) -> bool:
    return not _BREAK.search(token)


def _join_runs(tokens: Iterable[str], is_kept: Callable[[str], bool]) -> list[str]:
    """Return the passages between the tokens that are not kept."""
    runs = [" ".join(run) for kept, run in groupby(tokens, is_kept) if kept]
    return [run for run in runs if len(run) >= MIN_PASSAGE_LENGTH and _HANGUL.search(run)]


def _read_built_in(name: str) -> bytes:
    return resources.files("ocr_ray.textgen").joinpath(name).read_bytes()


def _read_list(raw: bytes) -> tuple[str, ...]:
    """Return the words of a built-in list, sorted; its comments contain no Hangul."""
    return tuple(sorted(set(split_words(raw.decode()))))


def _list_texts(location: Location) -> list[str]:
    names = [name for name in list_files(location) if name.lower().endswith(".txt")]
    if not names:
        raise InputError(f"a corpus folder must contain .txt files, got none in {location}: add some")
    return names


def _decode(raw: bytes, name: str) -> str:
    """Return the text of a file; InputError if it is neither UTF-8 nor cp949.

    cp949 accepts most byte sequences, so the result counts only if it looks like Korean text.
    """
    expected = f"{name} must be UTF-8 or cp949 text"
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{expected}, got a UTF-16 byte order mark: convert it to UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        utf8_error = f"byte {error.start} is not UTF-8"
    if _is_damaged_utf8(raw.decode("utf-8", errors="replace")):
        raise InputError(f"{expected}, got Korean UTF-8 that is damaged or cut off: {utf8_error}")
    try:
        text = raw.decode("cp949")
    except UnicodeDecodeError as error:
        raise InputError(f"{expected}, tried both: {utf8_error}, byte {error.start} is not cp949") from error
    if not _looks_korean(text):
        raise InputError(f"{expected}, tried both: {utf8_error}, and as cp949 it does not look like Korean")
    return text


def _is_damaged_utf8(replaced: str) -> bool:
    """Return whether a text decoded with U+FFFD for errors was Korean UTF-8.

    A cp949 text decoded this way has hardly any syllables.
    """
    num_hangul, num_errors = count_hangul(replaced), replaced.count("\ufffd")
    is_cut_off = num_errors == 1 and replaced.endswith("\ufffd")
    return num_hangul > num_errors or (num_hangul > 0 and is_cut_off)


def _looks_korean(text: str) -> bool:
    if any(unicodedata.category(char) == "Cc" and char not in _TEXT_CONTROLS for char in set(text)):
        return False
    num_letters = sum(char.isalpha() and not char.isascii() for char in text)
    return 2 * count_hangul(text) >= num_letters

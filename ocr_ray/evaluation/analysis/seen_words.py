"""The words of the training data, to score seen and unseen words separately."""

import hashlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from ocr_ray.metrics import normalise
from ocr_ray.text.characters import WORD_PUNCTUATION


def strip_word(word: str) -> str:
    """Return a word without surrounding punctuation; a word that is only punctuation stays as it is."""
    return word.strip(WORD_PUNCTUATION) or word


class SeenWords:
    """A set of words that stores 8 bytes a word.

    With ten million words, one in 10**12 other words is taken for a member.
    """

    def __init__(
        self,
        texts: Iterable[str],
        *,
        find_words: Callable[[str], Iterable[str]] = str.split,
        chunk_words: int = 1_000_000,
    ) -> None:
        """Read the texts once, in canonical form; memory holds at most two chunks in addition to the set."""
        self._hashes = np.empty(0, np.uint64)
        chunk: list[int] = []
        for word_hash in _hash_words(texts, find_words):
            chunk.append(word_hash)
            if len(chunk) == chunk_words:
                self._add(chunk)
                chunk = []
        self._add(chunk)

    def __contains__(self, word: object) -> bool:
        word_hash = np.uint64(_hash(strip_word(str(word))))
        index = int(np.searchsorted(self._hashes, word_hash))
        return index < len(self._hashes) and bool(self._hashes[index] == word_hash)

    def __len__(self) -> int:
        return len(self._hashes)

    def _add(self, chunk: list[int]) -> None:
        self._hashes = np.union1d(self._hashes, np.array(chunk, np.uint64))


def _hash_words(texts: Iterable[str], find_words: Callable[[str], Iterable[str]]) -> Iterator[int]:
    for text in texts:
        yield from (_hash(strip_word(word)) for word in find_words(normalise(text)))


def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")

"""The words that a model has learnt from, so that those that it has not can be told apart."""

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np

from ocr_ray.metrics import normalise
from ocr_ray.textgen.words import PUNCTUATION


def strip_word(word: str) -> str:
    """Return a word without the punctuation around it; one of nothing else stays as it is."""
    return word.strip(PUNCTUATION) or word


class SeenWords:
    """Which words were in some texts, 8 bytes a word; of ten million one in 10**12 others looks like one."""

    def __init__(self, texts: Iterable[str], *, chunk_words: int = 1_000_000) -> None:
        """Read the texts once; at most two chunks are held besides the words themselves."""
        self._hashes = np.empty(0, np.uint64)
        waiting: list[int] = []
        for number in _hash_words(texts):
            waiting.append(number)
            if len(waiting) == chunk_words:
                self._take(waiting)
                waiting = []
        self._take(waiting)

    def __contains__(self, word: object) -> bool:
        number = np.uint64(_hash(strip_word(str(word))))
        place = int(np.searchsorted(self._hashes, number))
        return place < len(self._hashes) and bool(self._hashes[place] == number)

    def __len__(self) -> int:
        return len(self._hashes)

    def _take(self, waiting: list[int]) -> None:
        self._hashes = np.union1d(self._hashes, np.array(waiting, np.uint64))


def _hash_words(texts: Iterable[str]) -> Iterator[int]:
    for text in texts:
        yield from (_hash(strip_word(word)) for word in normalise(text).split())


def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")

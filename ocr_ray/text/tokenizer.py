"""Texts and characters that a model's tokenizer changes; uses only the `tokenizers` library."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice

from tokenizers import Tokenizer

from ocr_ray.text.hangul import nfc

_FRAMES = ("나눗셈", "12", "ab")
"""Texts to test a character in; the first one that the tokenizer keeps is used, or else none."""
_BATCH_SIZE = 1000


def find_unencodable(tokenizer_json: str, characters: Iterable[str]) -> frozenset[str]:
    """Return the characters that encoding and decoding loses or changes.

    Each is tested inside a short text, because tokenizers have special rules for the ends of a text.
    Spaces that decoding adds around a character do not count here; `find_changed` finds them.
    """
    tokenizer = _parse(tokenizer_json)
    kept_frames = (frame for frame in _FRAMES if _squash(_round_trip(tokenizer, [frame])[0]) == frame)
    frame = next(kept_frames, "")
    middle = len(frame) // 2
    wanted = sorted(set(characters))
    texts = [frame[:middle] + char + frame[middle:] for char in wanted]
    lost = set()
    for char, text, decoded in zip(wanted, texts, _round_trip(tokenizer, texts), strict=True):
        kept = nfc(decoded) == nfc(text) if char.isspace() else _squash(decoded) == _squash(text)
        if not kept:
            lost.add(char)
    return frozenset(lost)


def find_changed(tokenizer_json: str, texts: Iterable[str]) -> list[tuple[str, str]]:
    """Return the texts that encoding and decoding changes, in order, each with the decoded text.

    An additional leading space is ignored, because tokenizers with a prefix space add it and predictions are
    stripped. Texts are compared in NFC.
    """
    texts = list(texts)
    pairs = zip(texts, _round_trip(_parse(tokenizer_json), texts), strict=True)
    return [(text, decoded) for text, decoded in pairs if nfc(decoded) not in (nfc(text), " " + nfc(text))]


def count_tokens(tokenizer_json: str, texts: Iterable[str]) -> list[int]:
    """Return the number of tokens of each text, including the special tokens that the tokenizer adds."""
    tokenizer = _parse(tokenizer_json)
    return [len(ids) for batch in _batches(texts) for ids in _encode(tokenizer, batch)]


@lru_cache(maxsize=1)
def _parse(tokenizer_json: str) -> Tokenizer:
    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.no_truncation()  # tokenizer.json can have both enabled
    tokenizer.no_padding()
    return tokenizer


def _encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]


def _round_trip(tokenizer: Tokenizer, texts: list[str]) -> list[str]:
    batches = (_encode(tokenizer, batch) for batch in _batches(texts))
    return [text for ids in batches for text in tokenizer.decode_batch(ids, skip_special_tokens=True)]


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield the texts in batches, because the encodings of all texts together would fill the memory."""
    remaining = iter(texts)
    while batch := list(islice(remaining, _BATCH_SIZE)):
        yield batch


def _squash(text: str) -> str:
    return "".join(nfc(text).split())

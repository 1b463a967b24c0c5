"""What a model's tokenizer keeps of a text, asked through the `tokenizers` library alone."""

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError
from tokenizers import Tokenizer

from ocr_ray.errors import InputError
from ocr_ray.storage.location import check_reachable, exists, locate_model, read_bytes
from ocr_ray.text.hangul import nfc

TOKENIZER = "tokenizer.json"
_FRAMES = ("나눗셈", "12", "ab")
"""Where a character is tried: in the middle of the first of these that the tokenizer keeps, else alone."""
_BATCH = 1000


def read_tokenizer(model: str) -> str:
    """Return the text of `tokenizer.json` of a model: a folder, local or on S3, or a hub id.

    Raises:
        InputError: it is none of these, or there is no such file, or the file is no tokenizer's.
    """
    place = locate_model(model)
    if isinstance(place, str):
        content = _download(place)
    else:
        check_reachable(place, "--model")
        if not exists(place / TOKENIZER):
            raise InputError(f"--model must be a Hugging Face folder with {TOKENIZER}, {place} has none")
        content = read_bytes(place / TOKENIZER)
    try:
        text = content.decode()
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict) or "model" not in parsed:
        raise InputError(f"{TOKENIZER} of {model} must be the JSON of a fast tokenizer")
    return text


def _download(hub_id: str) -> bytes:
    try:
        return Path(hf_hub_download(hub_id, TOKENIZER)).read_bytes()
    except (OSError, HfHubHTTPError) as error:
        raise InputError(
            f"{hub_id!r} is neither an existing folder nor a model of which the hub gives {TOKENIZER} here: "
            f"{error}"
        ) from error


def find_unencodable(tokenizer_json: str, characters: Iterable[str]) -> frozenset[str]:
    """Return the characters that are lost or changed by encoding and decoding.

    Each is tried inside a short text, out of the way of rules about the ends of a text. Spaces that decoding
    adds around it are not the character's fault and are left to `find_changed`.
    """
    tokenizer = _parse(tokenizer_json)
    kept_frames = (frame for frame in _FRAMES if _squash(_round_trip(tokenizer, [frame])[0]) == frame)
    frame = next(kept_frames, "")
    middle = len(frame) // 2
    wanted = sorted(set(characters))
    texts = [frame[:middle] + char + frame[middle:] for char in wanted]
    lost = set()
    for char, text, back in zip(wanted, texts, _round_trip(tokenizer, texts), strict=True):
        kept = nfc(back) == nfc(text) if char.isspace() else _squash(back) == _squash(text)
        if not kept:
            lost.add(char)
    return frozenset(lost)


def find_changed(tokenizer_json: str, texts: Iterable[str]) -> list[tuple[str, str]]:
    """Return the texts that encoding and decoding changes, each with what came back; in their order.

    One space more at the start is no change: tokenizers with a prefix space add it, and predictions are
    stripped. Nor is another composition of Hangul, which is compared in NFC.
    """
    texts = list(texts)
    backs = _round_trip(_parse(tokenizer_json), texts)
    pairs = zip(texts, backs, strict=True)
    return [(text, back) for text, back in pairs if nfc(back) not in (nfc(text), " " + nfc(text))]


def count_tokens(tokenizer_json: str, texts: Iterable[str]) -> list[int]:
    """Return how many tokens each text has, with the special tokens that the tokenizer itself adds."""
    tokenizer = _parse(tokenizer_json)
    return [len(ids) for batch in _batches(texts) for ids in _encode(tokenizer, batch)]


@lru_cache(maxsize=1)
def _parse(tokenizer_json: str) -> Tokenizer:
    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.no_truncation()  # a file may hold both, left over from its training
    tokenizer.no_padding()
    return tokenizer


def _encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]


def _round_trip(tokenizer: Tokenizer, texts: list[str]) -> list[str]:
    batches = (_encode(tokenizer, batch) for batch in _batches(texts))
    return [text for ids in batches for text in tokenizer.decode_batch(ids, skip_special_tokens=True)]


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Cut up what is to be encoded: the encodings of all texts at once would fill the memory."""
    rest = iter(texts)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _squash(text: str) -> str:
    return "".join(nfc(text).split())

"""Whether a model can write every label of a dataset: all of its characters, within its decoder's positions.

A model never learns a label that its tokenizer cannot give back, and stops at one that is too long. Both are
found once before training, for each content of a dataset, tokenizer and label column, and remembered with the
run together with the number of tokens of each label, by which batches are made up.

A label of 30 tokens takes 60 µs of a core, 3 million 3 minutes; no image is read.
"""

import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.errors import InputError
from ocr_ray.model.load import PROCESSOR_FILES, OcrModel
from ocr_ray.storage.location import Location, exists, read_bytes, write_bytes
from ocr_ray.text.hangul import nfc
from ocr_ray.training.feed.row_groups import RowGroup, Split, read_columns

LabelLengths = npt.NDArray[np.uint16]
"""The tokens of each label of a split in its order, special tokens included."""

CHECK_THREADS = 8
"""More than cores: on S3 they wait for most of the time."""
MAX_NAMED = 3
MAX_QUOTE_LENGTH = 60
MAX_LOST_NAMED = 20
_IMAGE_FILES = {"preprocessor_config.json", "processor_config.json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelKey:
    """What the lengths of labels, and that a model can write them, depend on."""

    dataset_digest: str
    """Of the split's rows, from the manifest."""
    tokenizer_sha256: str
    """As `hash_tokenizer` gives it."""
    label_column: LabelColumn
    max_tokens: int
    """That the decoder has positions for."""

    @property
    def file_name(self) -> str:
        """Of what is remembered under this key."""
        return f"{hashlib.sha256(_to_json(self)).hexdigest()[:32]}.tokens"


def check_labels(ocr: OcrModel, split: Split, label_column: LabelColumn) -> LabelLengths:
    """Return the tokens of each label; reads the columns of ids and labels, row group by row group.

    A label survives if it is decoded as it was, in NFC and without the spaces at both ends, as predictions
    are compared with it.

    Raises:
        InputError: labels have more tokens than the decoder has positions, or do not survive; counted, the
            worst named.
    """
    checks: list[_GroupCheck] = []
    ocr.encode_labels([""])  # sets the tokenizer's options, which it refuses while other threads use it
    pool = ThreadPoolExecutor(CHECK_THREADS, thread_name_prefix="check-labels")
    try:
        checks += pool.map(lambda group: _check_group(ocr, group, label_column), split.row_groups)
    finally:
        pool.shutdown(cancel_futures=True)
    where = f"the {split.num_lines} lines of {split.name}, column {label_column}"
    faults = [
        *_describe_long(checks, where, ocr.max_target_tokens),
        *_describe_changed(checks, where),
    ]
    if faults:
        raise InputError("; ".join(faults))
    return np.concatenate([np.zeros(0, np.uint16), *(check.lengths for check in checks)])


@dataclass(frozen=True, slots=True)
class _Fault:
    """A label that a model cannot write."""

    line_id: str
    text: str
    back: str
    """What came back of it."""
    num_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _GroupCheck:
    """What was found in a row group; a few faults stand for all, which may be millions."""

    lengths: LabelLengths
    num_long: int
    longest: list[_Fault]
    num_changed: int
    changed: list[_Fault]
    lost: Counter[str]
    """The characters that did not come back, by the labels that lost them."""


def _check_group(ocr: OcrModel, group: RowGroup, label_column: LabelColumn) -> _GroupCheck:
    table = read_columns(group, ["line_id", label_column])
    line_ids, texts = table["line_id"].to_pylist(), table[label_column].to_pylist()
    token_ids = ocr.encode_labels(texts)
    counts = list(map(len, token_ids))
    labels = list(map(_Fault, line_ids, texts, ocr.decode(token_ids), counts))
    too_long = [label for label in labels if label.num_tokens > ocr.max_target_tokens]
    changed = [label for label in labels if _is_changed(label)]
    return _GroupCheck(
        lengths=np.minimum(counts, np.iinfo(np.uint16).max).astype(np.uint16),
        num_long=len(too_long),
        longest=_find_longest(too_long),
        num_changed=len(changed),
        changed=changed[:MAX_NAMED],
        lost=Counter(char for label in changed for char in _find_lost(label)),
    )


def _is_changed(label: _Fault) -> bool:
    return label.back != label.text and nfc(label.back) != nfc(label.text).strip()


def _find_lost(label: _Fault) -> list[str]:
    return sorted(set(nfc(label.text)) - {*nfc(label.back), " "})


def _find_longest(labels: Iterable[_Fault]) -> list[_Fault]:
    return sorted(labels, key=lambda label: -label.num_tokens)[:MAX_NAMED]


def _describe_long(checks: Sequence[_GroupCheck], where: str, max_tokens: int) -> list[str]:
    """Return what is to be said of labels that are too long, nothing if there are none."""
    num_long = sum(check.num_long for check in checks)
    if not num_long:
        return []
    longest = _find_longest(label for check in checks for label in check.longest)
    named = ", ".join(f"line {label.line_id} has {label.num_tokens}" for label in longest)
    return [
        f"a label must have at most {max_tokens} tokens, {num_long} of {where}, have more: {named}; "
        "leave them out or take a model with more positions"
    ]


def _describe_changed(checks: Sequence[_GroupCheck], where: str) -> list[str]:
    """Return what is to be said of labels that do not come back, nothing if all do.

    The worst are those whose lost characters are lost most often.
    """
    num_changed = sum(check.num_changed for check in checks)
    if not num_changed:
        return []
    lost: Counter[str] = Counter()
    for check in checks:
        lost.update(check.lost)
    known = [label for check in checks for label in check.changed]
    worst = sorted(known, key=lambda label: -max((lost[char] for char in _find_lost(label)), default=0))
    named = ", ".join(
        f"line {label.line_id} {label.text[:MAX_QUOTE_LENGTH]!r} -> {label.back[:MAX_QUOTE_LENGTH]!r}"
        for label in worst[:MAX_NAMED]
    )
    most = "".join(char for char, _ in lost.most_common(MAX_LOST_NAMED))
    return [
        f"a label must come back from the tokenizer as it was, {num_changed} of {where}, do not: {named}; "
        + (f"most often lost: {most!r}; " if most else "")
        + "leave them out or take a model whose tokenizer knows them, such as a byte-level one"
    ]


def hash_tokenizer(folder: Path) -> str:
    """Return the SHA-256 in hex over the names and contents of a model folder's tokenizer files."""
    sha = hashlib.sha256()
    for name in sorted(set(PROCESSOR_FILES) - _IMAGE_FILES):
        if (folder / name).is_file():
            content = (folder / name).read_bytes()
            sha.update(f"{name} {len(content)}\n".encode() + content)
    return sha.hexdigest()


def remember_labels(place: Location, key: LabelKey, lengths: LabelLengths) -> None:
    """Write the lengths of checked labels into the folder `place`, 1 byte a line or less."""
    packed = zlib.compress(lengths.astype("<u2").tobytes())
    sha = hashlib.sha256(_to_json(key) + packed).hexdigest()
    write_bytes(place / key.file_name, sha.encode() + b"\n" + _to_json(key) + b"\n" + packed)


def recall_labels(place: Location, key: LabelKey) -> LabelLengths | None:
    """Return what was remembered under a key; None if nothing was, or the file is damaged."""
    file = place / key.file_name
    if not exists(file):
        return None
    sha, _, rest = read_bytes(file).partition(b"\n")
    told_key, _, packed = rest.partition(b"\n")
    if told_key != _to_json(key) or sha != hashlib.sha256(told_key + packed).hexdigest().encode():
        return None
    return np.frombuffer(zlib.decompress(packed), dtype="<u2").astype(np.uint16)


def _to_json(key: LabelKey) -> bytes:
    return json.dumps(asdict(key), sort_keys=True).encode()

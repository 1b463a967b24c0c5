"""Checks that a model can write every label of a dataset: all its characters, within the decoder's positions.

A model never learns a label that does not survive its tokenizer, and training fails at a label that is too
long. Both are checked once before training for each combination of dataset, tokenizer and label column. The
number of tokens of each label is cached with the run, because steps are sorted by it.

A label of 30 tokens takes 60 µs of a core, 3 million labels 3 minutes. No image is read.
"""

import hashlib
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
from ocr_ray.model.load import OcrModel
from ocr_ray.model.tokenizer_json import PROCESSOR_FILES
from ocr_ray.storage.location import Location, exists, read_bytes, write_bytes
from ocr_ray.storage.strict_json import to_json
from ocr_ray.text.hangul import nfc
from ocr_ray.training.data.row_groups import RowGroup, Split, read_columns

LabelLengths = npt.NDArray[np.uint16]
"""The number of tokens of each label of a split, in file order, special tokens included."""

CHECK_THREADS = 8
"""More than there are cores: on S3 they mostly wait."""
MAX_NAMED = 3
MAX_QUOTE_LENGTH = 60
MAX_LOST_NAMED = 20
_IMAGE_FILES = {"preprocessor_config.json", "processor_config.json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelKey:
    """The inputs that the result of a label check depends on."""

    dataset_digest: str
    """The digest of the split's rows, from the manifest."""
    tokenizer_sha256: str
    """From `hash_tokenizer`."""
    label_column: LabelColumn
    max_tokens: int
    """The number of positions of the decoder."""

    @property
    def file_name(self) -> str:
        """The name of the cache file."""
        return f"{hashlib.sha256(_to_json(self)).hexdigest()[:32]}.tokens"


def check_labels(ocr: OcrModel, split: Split, label_column: LabelColumn) -> LabelLengths:
    """Return the number of tokens of each label; reads only ids and labels, one row group at a time.

    A label survives the tokenizer if it is decoded to the same text, compared in NFC and without spaces at
    both ends, as predictions are.

    Raises:
        InputError: labels have more tokens than the decoder has positions, or do not survive the tokenizer;
            the message counts them and names the worst.
    """
    checks: list[_GroupCheck] = []
    ocr.encode_labels([""])  # sets the tokenizer's options, which fails while other threads use it
    pool = ThreadPoolExecutor(CHECK_THREADS, thread_name_prefix="check-labels")
    try:
        checks += pool.map(lambda group: _check_group(ocr, group, label_column), split.row_groups)
    finally:
        pool.shutdown(cancel_futures=True)
    where = f"the {split.num_lines} lines of {split.name}, column {label_column}"
    problems = [
        *_describe_long(checks, where, ocr.max_target_tokens),
        *_describe_changed(checks, where),
    ]
    if problems:
        raise InputError("; ".join(problems))
    return np.concatenate([np.zeros(0, np.uint16), *(check.lengths for check in checks)])


@dataclass(frozen=True, slots=True)
class _Label:
    """A label and what the tokenizer makes of it."""

    line_id: str
    text: str
    decoded: str
    """The text decoded from the label's tokens."""
    num_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _GroupCheck:
    """The result for a row group; only a few of the labels with problems are kept, there may be millions."""

    lengths: LabelLengths
    num_long: int
    longest: list[_Label]
    num_changed: int
    changed: list[_Label]
    lost: Counter[str]
    """The characters missing after decoding, with the number of labels that lost them."""


def _check_group(ocr: OcrModel, group: RowGroup, label_column: LabelColumn) -> _GroupCheck:
    # The other columns that training uses are read so that a damaged row is found before any work.
    table = read_columns(group, ["line_id", label_column, "source", "width_px", "height_px"])
    line_ids, texts = table["line_id"].to_pylist(), table[label_column].to_pylist()
    token_ids = ocr.encode_labels(texts)
    counts = list(map(len, token_ids))
    labels = list(map(_Label, line_ids, texts, ocr.decode(token_ids), counts))
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


def _is_changed(label: _Label) -> bool:
    return label.decoded != label.text and nfc(label.decoded) != nfc(label.text).strip()


def _find_lost(label: _Label) -> list[str]:
    return sorted(set(nfc(label.text)) - {*nfc(label.decoded), " "})


def _find_longest(labels: Iterable[_Label]) -> list[_Label]:
    return sorted(labels, key=lambda label: -label.num_tokens)[:MAX_NAMED]


def _describe_long(checks: Sequence[_GroupCheck], where: str, max_tokens: int) -> list[str]:
    """Return a message about labels that are too long, if there are any."""
    num_long = sum(check.num_long for check in checks)
    if not num_long:
        return []
    longest = _find_longest(label for check in checks for label in check.longest)
    named = ", ".join(f"line {label.line_id} has {label.num_tokens}" for label in longest)
    return [
        f"a label must have at most {max_tokens} tokens, {num_long} of {where}, have more: {named}; "
        "leave them out or use a model with more positions"
    ]


def _describe_changed(checks: Sequence[_GroupCheck], where: str) -> list[str]:
    """Return a message about labels that do not survive the tokenizer, if there are any.

    It names first the labels with the characters that are lost most often.
    """
    num_changed = sum(check.num_changed for check in checks)
    if not num_changed:
        return []
    lost: Counter[str] = Counter()
    for check in checks:
        lost.update(check.lost)
    examples = [label for check in checks for label in check.changed]
    worst = sorted(examples, key=lambda label: -max((lost[char] for char in _find_lost(label)), default=0))
    named = ", ".join(
        f"line {label.line_id} {label.text[:MAX_QUOTE_LENGTH]!r} -> {label.decoded[:MAX_QUOTE_LENGTH]!r}"
        for label in worst[:MAX_NAMED]
    )
    most = "".join(char for char, _ in lost.most_common(MAX_LOST_NAMED))
    return [
        f"a label must survive the tokenizer, {num_changed} of {where}, do not: {named}; "
        + (f"most often lost: {most!r}; " if most else "")
        + "leave them out or use a model whose tokenizer covers them, such as a byte-level one"
    ]


def hash_tokenizer(folder: Path) -> str:
    """Return the SHA-256, in hex, of the names and contents of a model folder's tokenizer files."""
    sha = hashlib.sha256()
    for name in sorted(set(PROCESSOR_FILES) - _IMAGE_FILES):
        if (folder / name).is_file():
            content = (folder / name).read_bytes()
            sha.update(f"{name} {len(content)}\n".encode() + content)
    return sha.hexdigest()


def save_lengths(cache: Location, key: LabelKey, lengths: LabelLengths) -> None:
    """Write the lengths of checked labels to the folder `cache`, 1 byte a line or less."""
    packed = zlib.compress(lengths.astype("<u2").tobytes())
    sha = hashlib.sha256(_to_json(key) + packed).hexdigest()
    write_bytes(cache / key.file_name, sha.encode() + b"\n" + _to_json(key) + b"\n" + packed)


def load_lengths(cache: Location, key: LabelKey) -> LabelLengths | None:
    """Return the lengths saved under a key; None if there are none or the file is damaged."""
    file = cache / key.file_name
    if not exists(file):
        return None
    sha, _, rest = read_bytes(file).partition(b"\n")
    saved_key, _, packed = rest.partition(b"\n")
    if saved_key != _to_json(key) or sha != hashlib.sha256(saved_key + packed).hexdigest().encode():
        return None
    return np.frombuffer(zlib.decompress(packed), dtype="<u2").astype(np.uint16)


def _to_json(key: LabelKey) -> bytes:
    return to_json(asdict(key), sort_keys=True).encode()

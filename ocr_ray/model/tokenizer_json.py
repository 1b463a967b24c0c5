"""The tokenizer of a model as JSON, for texts that are checked without transformers, and its files."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from ocr_ray.errors import InputError
from ocr_ray.storage.location import check_reachable, copy_files, list_files, locate, locate_model
from ocr_ray.storage.uri import BASE_MODEL

TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "sentencepiece.bpe.model",
    "sentencepiece.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
    "source.spm",
    "target.spm",
    "bpe.codes",
    "dict.txt",
)
"""The forms of a vocabulary; a model has one or two of them."""
PROCESSOR_FILES = (
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    *TOKENIZER_FILES,
)
"""Copied byte for byte: a tokenizer saved again by transformers 5 loses `vocab.json` and `merges.txt`."""
REFUSED = 2
"""Exit code of the program that loads a tokenizer, if the folder is wrong."""


def download(hub_id: str, patterns: Sequence[str]) -> Path:
    """Download files of a model from the hub; return its local folder, whose name is the commit.

    The hub id can end with `@` and a commit. `BASE_MODEL` is a folder of this package.

    Raises:
        InputError: there is no such model, or the hub cannot be reached.
    """
    name, _, commit = hub_id.partition("@")
    if name == BASE_MODEL:
        return Path(__file__).with_name(BASE_MODEL)
    try:
        return Path(snapshot_download(name, revision=commit or None, allow_patterns=list(patterns)))
    except (OSError, HfHubHTTPError) as error:
        raise InputError(
            f"{hub_id!r} is neither an existing folder nor a model that the hub provides: {error}"
        ) from error


def read_tokenizer(model: str) -> str:
    """Return the tokenizer of a model, a folder or a hub id, as the JSON of the library tokenizers.

    It is the one that training and reading use: transformers loads it, in another process.

    Raises:
        InputError: there is no such model, or its tokenizer cannot be loaded.
    """
    files = ("config.json", *PROCESSOR_FILES)
    location = locate_model(model)
    if isinstance(location, str):
        return _convert(download(location, files), model)
    check_reachable(location, "--model")
    if location.is_local:
        return _convert(Path(location.path), model)
    with tempfile.TemporaryDirectory(prefix="ocr_ray-") as folder:
        copy_files(location, locate(folder), sorted(set(files) & set(list_files(location, recursive=False))))
        return _convert(Path(folder), model)


def _convert(folder: Path, model: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "ocr_ray.model.tokenizer", str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if run.returncode == REFUSED:
        raise InputError(f"--model: {run.stdout.replace(str(folder), model)}")
    if run.returncode:
        raise InputError(f"the tokenizer of --model {model} cannot be loaded: {run.stderr.strip()[-500:]}")
    return run.stdout

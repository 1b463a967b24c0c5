"""The tokenizer of a model, loaded in the same way for rendering, training and reading.

As a program it writes the tokenizer of a folder to standard output, as the JSON of the library tokenizers:
`tokenizer_json.py` runs it, because rendering must not load transformers.
"""

import sys
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from ocr_ray.errors import InputError
from ocr_ray.model.refusal import refused
from ocr_ray.model.tokenizer_json import REFUSED, TOKENIZER_FILES


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a folder as transformers loads it, from any form of its files.

    Raises:
        InputError: there is none, or its files are damaged.
    """
    with refused(
        f"{folder} must hold a tokenizer that transformers can load without code of the folder, such as a "
        "tokenizer.json that save_pretrained wrote; it failed"
    ):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        num_tokens = len(set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens))
    if not num_tokens:
        raise InputError(
            f"{folder} must hold the vocabulary of its tokenizer, it has none of {', '.join(TOKENIZER_FILES)}"
        )
    return tokenizer


def _write_json(folder: Path) -> int:
    """Write the JSON of a tokenizer, or why there is none; return the exit code."""
    try:
        tokenizer = load_tokenizer(folder)
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise InputError(
                f"the tokenizer of {folder} must have a fast form to check texts with, "
                f"{type(tokenizer).__name__} has none: leave --model out"
            )
    except InputError as error:
        sys.stdout.write(str(error))
        return REFUSED
    sys.stdout.write(backend.to_str())
    return 0


if __name__ == "__main__":
    sys.exit(_write_json(Path(sys.argv[1])))

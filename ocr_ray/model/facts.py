"""The files of a model, and what is known about it without loading it: neither torch nor transformers."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.errors import InputError
from ocr_ray.model.metrics_file import read_label_column, read_metrics
from ocr_ray.model.tokenizer_json import download
from ocr_ray.storage.location import Location, check_reachable, local_copy

MODEL_FILES = ("*.json", "*.txt", "*.model", "*.spm", "*.codes", "*.safetensors")
"""What is downloaded from the hub: no pickled weights and no code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Facts about a model that are known without running it."""

    label_column: LabelColumn
    sha256: str
    """The hash of its weights."""
    metrics: dict[str, Any]
    """The content of its metrics.json, empty if it has none."""


@contextmanager
def model_files(source: Location | str) -> Iterator[Path]:
    """Provide the files of a model in a local folder; `source` comes from `locate_model`.

    Raises:
        InputError: there is no model in the folder, or it cannot be downloaded from the hub.
    """
    if isinstance(source, str):
        yield download(source, MODEL_FILES)
        return
    check_reachable(source, "--model")
    with local_copy(source) as folder:
        if not (folder / "config.json").is_file():
            raise InputError(f"a model must be a Hugging Face folder with config.json, {source} has none")
        try:
            yield folder
        except InputError as error:  # name the model, not its temporary copy
            raise InputError(str(error).replace(str(folder), str(source))) from error


def read_facts(source: Location | str) -> ModelFacts:
    """Return facts about a model, a folder or a hub id, without loading it.

    Raises:
        InputError: there is no model, or its metrics.json is invalid.
    """
    with model_files(source) as folder:
        weights = hashlib.sha256()
        for path in sorted(folder.glob("*.safetensors")):
            weights.update(path.read_bytes())
        return ModelFacts(
            label_column=read_label_column(folder), sha256=weights.hexdigest(), metrics=read_metrics(folder)
        )

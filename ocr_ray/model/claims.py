"""The files of a model before a network is built: JSON, and a config that fits the size of the weights.

The config of a folder can claim any number of layers or any width. Building such a network would take
hours or all of the memory.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch.nn.modules.module import register_module_parameter_registration_hook
from transformers import VisionEncoderDecoderConfig, VisionEncoderDecoderModel

from ocr_ray.errors import InputError
from ocr_ray.model.refusal import refused
from ocr_ray.model.tokenizer_json import PROCESSOR_FILES

_INDEX = "model.safetensors.index.json"
JSON_FILES = (
    "config.json",
    "generation_config.json",
    _INDEX,
    *(name for name in PROCESSOR_FILES if name.endswith(".json")),
)
_POINTER = b"version https://git-lfs.github.com/"
MAX_EXCESS = 2
"""A network may have this many times the tensors and the numbers of its weights file, because layers that no
loss reaches, such as a pooler, may be missing in the file."""
MAX_TIED = 50
"""Weights that a network uses in several places are counted at each while it is built."""
MAX_LABELS = 25_000
"""Classes of an encoder's pretraining, of which transformers makes a list; ImageNet-21k has 21,843."""


def refuse_pointers(folder: Path) -> None:
    """Check that no file is the short text that Git leaves in place of a large file.

    Raises:
        InputError: one is, because the folder was cloned without Git LFS.
    """
    for path in sorted(folder.iterdir()):
        if path.is_file():
            with path.open("rb") as file:
                start = file.read(len(_POINTER))
            if start == _POINTER:
                raise InputError(
                    f"{path} must be a file of the model, it is a pointer of Git LFS: install git-lfs and "
                    "run `git lfs pull` in its folder"
                )


def check_json(folder: Path) -> None:
    """Check that the JSON files of a model are objects, also those that transformers would do without.

    `num_labels` in config.json is limited, because transformers makes a list of the labels.

    Raises:
        InputError: a file is not a JSON object, the index names files outside the folder, or there are more
            labels than any encoder has.
    """
    documents = {}
    for name in JSON_FILES:
        path = folder / name
        if path.exists() or path.is_symlink():
            with refused(f"{path} must hold a JSON object"):
                documents[name] = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(documents[name], dict):
                raise InputError(f"{path} must hold a JSON object, got {type(documents[name]).__name__}")
    if (config := documents.get("config.json")) is None:
        raise InputError(f"{folder} must be a complete VisionEncoderDecoder, it has no config.json")
    shards = documents.get(_INDEX, {}).get("weight_map", {})
    names = list(shards.values()) if isinstance(shards, dict) else [shards]
    if odd := [name for name in names if not isinstance(name, str) or Path(name).name != name]:
        raise InputError(f"{folder / _INDEX} must name files of its folder, it names {odd[0]!r}")
    for part in (config, config.get("encoder"), config.get("decoder")):
        num_labels = part.get("num_labels") if isinstance(part, dict) else None
        if isinstance(num_labels, int) and num_labels > MAX_LABELS:
            raise InputError(
                f"{folder}: num_labels must be at most {MAX_LABELS}, config.json has {num_labels}"
            )


def check_claims(config: VisionEncoderDecoderConfig, folder: Path) -> None:
    """Check the number and sizes of the tensors of a network, by building it without memory.

    Raises:
        InputError: it has many more tensors or numbers than the weights files of the folder.
    """
    num_tensors, num_weights = _measure_weights(folder)
    num_registered = 0

    def count(module: Any, name: str, parameter: torch.Tensor | None) -> None:
        nonlocal num_registered
        num_registered += 1
        if num_registered > MAX_EXCESS * num_tensors + MAX_TIED:
            raise InputError(
                f"{file} must describe the network of its {num_tensors} weights, it describes more"
            )

    file = folder / "config.json"
    handle = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"):
            network = VisionEncoderDecoderModel(config=config)
    finally:
        handle.remove()
    computed = [  # such as sinusoidal positions
        value
        for module in network.modules()
        for value in (*module.buffers(recurse=False), *vars(module).values())
        if torch.is_tensor(value)
    ]
    num_claimed = sum(tensor.numel() for tensor in (*network.parameters(), *computed))
    if num_claimed > MAX_EXCESS * num_weights:
        raise InputError(
            f"{file} must describe the network of its weights, which are {num_weights} numbers, it describes "
            f"one of {num_claimed}"
        )


def _measure_weights(folder: Path) -> tuple[int, int]:
    """Return the number of tensors in the weights files of a folder, and of their elements.

    Raises:
        InputError: there are none, or weights are integers, as in a quantised model.
    """
    num_tensors = num_weights = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            weights = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            for name, weight in weights.items():
                if name.endswith((".weight", ".bias")) and "F" not in (kind := weight.get_dtype()):
                    raise InputError(
                        f"weights in {path} must be floating-point numbers, {name} is of type {kind}"
                    )
            num_tensors += len(weights)
            num_weights += sum(torch.Size(weight.get_shape()).numel() for weight in weights.values())
    if not num_tensors:
        raise InputError(f"{folder} must be a complete VisionEncoderDecoder, it has no model.safetensors")
    return num_tensors, num_weights

"""The model that a run starts from, recorded in its plan by content: a resumed run must have the same."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ocr_ray.dataset.hub import AI_HUB, read_licenses
from ocr_ray.dataset.plan import PLAN
from ocr_ray.errors import InputError
from ocr_ray.model.metrics_file import METRICS
from ocr_ray.model.tokenizer_json import PROCESSOR_FILES
from ocr_ray.storage.location import Location, exists, locate_model, read_json
from ocr_ray.training.config import TINY, TrainJobConfig

KEY = "model"
CONFIG_FILES = ("config.json", "generation_config.json")


def describe_model(folder: Path, source: Location | str) -> dict[str, Any]:
    """Return the location, the commit on the hub and the SHA-256 of each file that is loaded.

    `source` is a folder, or a hub id with `@` and its commit.
    """
    uri, _, commit = str(source).partition("@") if isinstance(source, str) else (source.uri, "", "")
    names = {path.name for path in folder.glob("*.safetensors*")}
    names |= {name for name in (*CONFIG_FILES, *PROCESSOR_FILES) if (folder / name).is_file()}
    return {"uri": uri, "commit": commit or None, "files": {n: _hash_file(folder / n) for n in sorted(names)}}


def read_model(run: Location) -> dict[str, Any]:
    """Return what the plan of a run records of its model; nothing if it has not begun."""
    plan = read_json(run / PLAN) if exists(run / PLAN) else {}
    return dict(plan.get(KEY) or {})


def check_same_model(run: Location, model: dict[str, Any]) -> None:
    """Check that a run goes on with the files that it began with.

    Raises:
        InputError: they differ; the message names each file.
    """
    there, now = read_model(run).get("files", model["files"]), model["files"]
    if differing := [name for name in sorted(there.keys() | now.keys()) if there.get(name) != now.get(name)]:
        files = "; ".join(
            f"{name}: {_shorten(there, name)} there, {_shorten(now, name)} now" for name in differing
        )
        raise InputError(
            f"--model must be the model that {run} began with, {model['uri']} has changed since ({files}); "
            "restore it, or choose another --run-name"
        )


def find_model_license(config: TrainJobConfig, datasets: Mapping[str, Location]) -> str | None:
    """Return the licence of a run's models: AI_HUB if a dataset or the base model has it, else that given."""
    sources = {*read_licenses(datasets).values(), _find_base_license(config.model)}
    return AI_HUB if AI_HUB in sources else config.hub.license


def _find_base_license(model: str) -> str | None:
    """Return the licence of a model that train_trocr made; earlier versions did not record it."""
    folder = None if model == TINY else locate_model(model)
    if not isinstance(folder, Location) or not exists(folder / METRICS):
        return None
    about = read_json(folder / METRICS)
    license_name: str | None = about.get("license", AI_HUB if about.get("datasets") else None)
    return license_name


def _shorten(files: dict[str, str], name: str) -> str:
    return f"{files[name][:12]}…" if name in files else "nothing"


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Exporting the models of a run: the best and the last checkpoint, each with a card and metrics.json."""

import logging
from collections.abc import Sequence
from typing import Any

from ocr_ray.cluster.monitoring import monitoring
from ocr_ray.dataset.plan import PLAN, check_reserved
from ocr_ray.errors import InputError
from ocr_ray.model.metrics_file import METRICS
from ocr_ray.storage.lease import LEASE
from ocr_ray.storage.location import (
    Location,
    check_writable,
    copy_files,
    delete_file,
    list_files,
    preflight,
    read_json,
    write_bytes,
    write_json,
)
from ocr_ray.training.checkpoint import HISTORY_FILE, is_model_file
from ocr_ray.training.loop import UNRATED, Metrics
from ocr_ray.training.model_card import model_card

log = logging.getLogger(__name__)

PROCESSOR = "processor_config.json"
"""Tells AutoProcessor and the pipelines of transformers to put tokenizer and image processor together."""
MODELS_FLAG = "--models-uri"


def check_models_free(models: Location, run: Location) -> None:
    """Check that the models folder can be written, and that no other run has exported there.

    Raises:
        InputError: it is the folder of the run, cannot be written, or holds other files or models of
            another run.
    """
    if models == run:
        raise InputError(f"{MODELS_FLAG} must not be the folder of the run, {run}; choose another folder")
    check_writable(models, MODELS_FLAG)
    with preflight(models, MODELS_FLAG) as folder:
        has_files = any(name not in (PLAN, LEASE) for name in list_files(folder))
    if has_files:  # a plan alone is of a run that has not made a model
        check_reserved(models, {"run": run.uri}, growing="", flag=MODELS_FLAG)


def reserve_models(models: Location, run: Location) -> None:
    """Reserve the models folder for a run, so that no other run exports there."""
    write_json(models / PLAN, {"config": {"run": run.uri}})


def choose_models(checkpoints: Sequence[tuple[Location, Metrics]]) -> dict[str, tuple[Location, Metrics]]:
    """Return the checkpoint of each model: best_ocr is the best (newer of equals), trained_ocr the last."""
    rated = [item for item in checkpoints if item[1]["score"] < UNRATED]
    best = min(rated, key=lambda item: (item[1]["score"], -item[1]["lines"]))
    return {"best_ocr": best, "trained_ocr": max(checkpoints, key=lambda item: int(item[1]["lines"]))}


def export_models(
    models: Location, chosen: dict[str, tuple[Location, Metrics]], facts: dict[str, Any]
) -> dict[str, Any]:
    """Copy the models that are not exported yet, with their cards and last `metrics.json`; return a summary.

    `facts` are the values common to both: run, base model, label column, datasets and more.
    """
    for name, (folder, metrics) in chosen.items():
        target = models / name
        saved = read_json(folder / HISTORY_FILE)
        history = [record for record in saved["history"] if record["kind"] == "validation"]
        about = {**facts, "metrics": metrics, "history": history}
        files = {file: size for file, size in list_files(folder).items() if is_model_file(file)}
        exported = list_files(target)
        if METRICS in exported and files.items() <= exported.items() and read_json(target / METRICS) == about:
            continue
        log.info("%s: the weights after %d lines", target, metrics["lines"])
        delete_file(target / METRICS)
        copy_files(folder, target, list(files))
        if PROCESSOR not in files:
            write_json(target / PROCESSOR, {"processor_class": "TrOCRProcessor"})
        card = b""
        with monitoring("the model card"):
            card = model_card(name, about, saved["samples"]).encode()
        write_bytes(target / "README.md", card)
        write_json(target / METRICS, about)
    return {name: {"uri": (models / name).uri, **metrics} for name, (_, metrics) in chosen.items()}

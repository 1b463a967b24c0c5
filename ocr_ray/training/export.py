"""The models of a run, copied from its checkpoints to where users find them."""

import logging
from collections.abc import Sequence
from typing import Any

from ocr_ray.dataset.plan import PLAN
from ocr_ray.storage.location import (
    Location,
    copy_files,
    delete_file,
    list_files,
    read_json,
    write_bytes,
    write_json,
)
from ocr_ray.training.checkpoint import HISTORY_FILE, is_model_file
from ocr_ray.training.loop import UNRATED, Metrics
from ocr_ray.training.model_card import training_card

log = logging.getLogger(__name__)

METRICS = "metrics.json"


def claim_models(models: Location, run: Location) -> None:
    """Write down whose models lie there."""
    write_json(models / PLAN, {"config": {"run": run.uri}})


def choose_models(checkpoints: Sequence[tuple[Location, Metrics]]) -> dict[str, tuple[Location, Metrics]]:
    """Return which checkpoint becomes which model: the best, of equals the newer, and the last."""
    rated = [item for item in checkpoints if item[1]["score"] < UNRATED]
    best = min(rated, key=lambda item: (item[1]["score"], -item[1]["lines"]))
    return {"best_ocr": best, "trained_ocr": max(checkpoints, key=lambda item: int(item[1]["lines"]))}


def export_models(
    models: Location, chosen: dict[str, tuple[Location, Metrics]], facts: dict[str, Any]
) -> dict[str, Any]:
    """Copy the models that are not yet there with their cards, `metrics.json` last; return what they are.

    `facts` is what holds for both: run, base model, label column, datasets.
    """
    for name, (folder, metrics) in chosen.items():
        target = models / name
        told = read_json(folder / HISTORY_FILE)
        history = [record for record in told["history"] if record["kind"] == "validation"]
        about = {**facts, "metrics": metrics, "history": history}
        files = {file: size for file, size in list_files(folder).items() if is_model_file(file)}
        there = list_files(target)
        if METRICS in there and files.items() <= there.items() and read_json(target / METRICS) == about:
            continue
        log.info("%s: the weights after %d lines", target, metrics["lines"])
        delete_file(target / METRICS)
        copy_files(folder, target, list(files))
        write_bytes(target / "README.md", training_card(name, about, told["samples"]).encode())
        write_json(target / METRICS, about)
    return {name: {"uri": (models / name).uri, **metrics} for name, (_, metrics) in chosen.items()}

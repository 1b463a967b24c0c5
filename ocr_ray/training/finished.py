"""The entry of train_trocr: a run that has finished is reported at once, without torch or Ray.

For another run Ray starts in the background, while the modules of the job are imported.
"""

import logging
import os
from importlib.metadata import version
from typing import Any

from ocr_ray.cli.flags import describe_flags, resolve_uri
from ocr_ray.cluster.early_start import early_ray
from ocr_ray.cluster.monitoring import monitoring
from ocr_ray.dataset.hub import check_push, push
from ocr_ray.dataset.manifest import read_digests, require_datasets
from ocr_ray.model.metrics_file import METRICS
from ocr_ray.storage.lease import LEASE
from ocr_ray.storage.location import PROBE, Location, exists, list_files, locate, read_json, write_json
from ocr_ray.storage.strict_json import parse_json, to_json
from ocr_ray.training.base_model import find_model_license
from ocr_ray.training.config import TrainJobConfig

log = logging.getLogger(__name__)

FINISHED = "finished.json"
"""In the folder of a run: what it was asked for, the files that it has left, and its summary."""


def train_unless_finished(config: TrainJobConfig) -> dict[str, Any]:
    """Start or resume a run, export its models, and return a summary; see `train_trocr`.

    Raises:
        InputError, ProductionError: those of `train_trocr`.
    """
    folders = require_datasets(config.lines_uri)
    run, models = locate(config.runs_uri) / config.run_name, locate(config.models_uri)
    check_push(config.hub, find_model_license(config, folders))
    asked = _describe(config, folders)
    if not config.fresh and (summary := _find_summary(run, models, asked)):
        log.info("run %s has finished its %d epochs: nothing to train", run, config.train.epochs)
        summary |= {"trained": False}
    else:
        summary = _train(config, run, models, asked)
    if config.hub.push_to_hub:
        summary |= {"hub": push(models / "best_ocr", config.hub.push_to_hub, "model")}
    return summary


def _train(config: TrainJobConfig, run: Location, models: Location, asked: Any) -> dict[str, Any]:
    """Train, and record that the run has finished."""
    num_cpus = max(config.num_workers or 1, os.cpu_count() or 1)
    has_models = exists(models / "trained_ocr" / METRICS)  # then the run has probably finished
    with early_ray(num_cpus=num_cpus, dashboard=config.dashboard, unless=has_models):
        from ocr_ray.training.job import train_trocr

        summary = train_trocr(config)
    with monitoring(f"writing {FINISHED}"):
        files = _list_files(run, models)
        write_json(run / FINISHED, {"asked": asked, "files": files, "summary": summary})
    return summary


def _describe(config: TrainJobConfig, folders: dict[str, Location]) -> Any:
    """Return what determines a run, and the version of this package, as JSON has it."""
    asked = {
        "flags": describe_flags(config, resolve=resolve_uri),
        "lines": read_digests(folders),
        "version": version("ocr_ray"),
    }
    return parse_json(to_json(asked))


def _find_summary(run: Location, models: Location, asked: Any) -> dict[str, Any] | None:
    """Return the summary of a run that has finished as it is asked for, with its files as it left them."""
    if not exists(run / FINISHED):
        return None
    found = read_json(run / FINISHED)
    if (
        not isinstance(found, dict)
        or found.get("asked") != asked
        or found.get("files") != _list_files(run, models)
    ):
        return None
    return dict(found["summary"])


def _list_files(run: Location, models: Location) -> list[dict[str, int]]:
    """Return the sizes of the files of a run and of its models."""
    return [
        {
            name: size
            for name, size in list_files(folder).items()
            if name != FINISHED and LEASE not in name and not name.startswith(PROBE)
        }
        for folder in (run, models)
    ]

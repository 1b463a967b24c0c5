"""Fine-tuning over data-parallel workers with Ray Train: one run, found again by its name."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ray.train
import torch
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.constants import ENV_VARS_TO_PROPAGATE

from ocr_ray.cli.flags import changed_flags
from ocr_ray.cluster.capacity import count_workers, joins_cluster
from ocr_ray.cluster.session import ray_session
from ocr_ray.cluster.stop_signal import stop_signal
from ocr_ray.cluster.worker_logs import relayed_logs
from ocr_ray.dataset.manifest import read_digests, require_datasets
from ocr_ray.dataset.plan import PLAN, check_reserved
from ocr_ray.errors import InputError, ProductionError
from ocr_ray.model.precision import check_precision
from ocr_ray.storage.location import Location, copy_files, exists, locate, write_json
from ocr_ray.training.config import TINY, TrainJobConfig
from ocr_ray.training.export import choose_models, claim_models, export_models
from ocr_ray.training.feed.row_groups import LineDataset
from ocr_ray.training.label_check import remember_labels
from ocr_ray.training.loop import Metrics
from ocr_ray.training.mixture import count_sources, describe_mixture
from ocr_ray.training.model_card import describe_datasets, describe_versions
from ocr_ray.training.setup import TrainData, check_all_labels, first_model, open_splits
from ocr_ray.training.worker import WorkerInputs, train_worker

log = logging.getLogger(__name__)

SNAPSHOT = "checkpoint_manager_snapshot.json"
"""Where Ray Train lists a run's checkpoints."""
SCORE = "score"
LABELS = "labels"


def train_trocr(config: TrainJobConfig) -> dict[str, Any]:
    """Run, or go on with, a training run; export its best and its last model; return a summary.

    Raises:
        InputError: a dataset or the model is missing or does not fit, the run or the models' place belongs to
            another configuration, or the workers can never be had; found before any work.
        ProductionError: the run was asked to stop before its end, and has saved a checkpoint.
    """
    places = require_datasets(config.lines_uri)
    shares = parse_shares(config.mix, places)
    check_precision(config.train.precision, torch.device("cuda" if config.use_gpu else "cpu"))
    run, models = locate(config.runs_uri) / config.run_name, locate(config.models_uri)
    plan = _describe_run(config, places, shares)
    if config.fresh and exists(run / PLAN):
        raise InputError(
            f"--fresh needs a new --run-name, {run} was begun; leave --fresh out to go on with it"
        )
    check_reserved(run, plan, growing="epochs", flag="--run-name")
    check_reserved(models, {"run": run.uri}, growing="", flag="--models-uri")
    checkpoints = _read_checkpoints(run)
    finished = _is_finished(checkpoints, config)
    datasets = tuple(LineDataset(name=name, place=place) for name, place in places.items())
    sources = {split.name: count_sources(split) for split in open_splits(datasets)[0]}
    mixture = describe_mixture(sources, shares, pretraining_lines=config.pretraining_lines)
    if finished:
        log.info("run %s has finished its %d epochs: nothing is trained", run, config.train.epochs)
    else:
        log.info(mixture.text)
        if mixture.warning:
            log.warning(mixture.warning)
        _run(config, run, datasets, shares=shares, plan=plan)
        checkpoints = _read_checkpoints(run)
        if not _is_finished(checkpoints, config):
            raise ProductionError(
                f"{run} was asked to stop; run the same command to go on from its last checkpoint",
                {"run": run.uri, "trained": True, "finished": False},
            )
    claim_models(models, run)
    facts = {
        "run": run.uri,
        "base_model": config.model,
        "label_column": config.train.label_column,
        "datasets": describe_datasets(places),
        "config": plan,
        "mixture": mixture.text,
        "mixture_warning": mixture.warning,
        "versions": describe_versions(),
    }
    exported = export_models(models, choose_models(checkpoints), facts)
    return {"run": run.uri, "trained": not finished, "finished": True, **exported}


def describe_flags(config: TrainJobConfig) -> dict[str, Any]:
    """Return the flags of the job that differ from their defaults, by their names."""
    standard = TrainJobConfig(lines_uri=("",), models_uri="", run_name="-")
    return changed_flags(config, standard, {"train": ""})


def parse_shares(mix: Sequence[str], places: Mapping[str, Location]) -> dict[str, float] | None:
    """Return the share of each dataset by its name, or None without any.

    Raises:
        InputError: one is no URI=SHARE, or the datasets named are not those of `places`, each once.
    """
    if not mix:
        return None
    names = {place.uri: name for name, place in places.items()}
    shares: dict[str, float] = {}
    for word in mix:
        uri, _, number = word.rpartition("=")
        name = names.get(locate(uri).uri) if uri else None
        try:
            share = float(number)
        except ValueError:
            share = 0.0
        if name is None or name in shares or not 0 < share < float("inf"):
            raise InputError(
                f"--mix must be URI=SHARE for each of --lines-uri once, share above 0, got {word!r}"
            )
        shares[name] = share
    if missing := names.values() - shares.keys():
        raise InputError(f"--mix must name each of --lines-uri, {', '.join(sorted(missing))} is missing")
    return {name: shares[name] / sum(shares.values()) for name in places}


def _describe_run(
    config: TrainJobConfig, places: Mapping[str, Location], shares: Mapping[str, float] | None
) -> dict[str, Any]:
    """Return what makes a run itself; of the datasets their content, not their place."""
    return {
        "job": "train_trocr",
        "lines": read_digests(places),
        "model": config.model,
        "shares": shares,
        **config.train.describe(config.num_workers),
    }


def _is_finished(checkpoints: Sequence[tuple[Location, Metrics]], config: TrainJobConfig) -> bool:
    return bool(checkpoints) and checkpoints[-1][1]["epochs_done"] >= config.train.epochs


def _run(
    config: TrainJobConfig,
    run: Location,
    datasets: tuple[LineDataset, ...],
    *,
    shares: Mapping[str, float] | None,
    plan: Mapping[str, Any],
) -> None:
    """Train until the last epoch is done or the job is asked to stop."""
    with first_model(config.model, run, datasets, config.train) as (folder, model):
        labels = check_all_labels(folder, datasets, config.train, run / LABELS)
        reads = [dataset.place for dataset in datasets]
        if isinstance(model, Location) and config.model != TINY:
            reads.append(model)
        num_cpus = max(config.num_workers, os.cpu_count() or 1)
        # Fills /api/train/v2/runs/v1 of the dashboard, whose pages show no training in Ray 2.60.
        os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_TRACKING", "1")
        with ray_session(num_cpus=num_cpus, reads=reads, writes=[run]):
            count_workers(config.num_workers, use_gpu=config.use_gpu)
            write_json(run / PLAN, {"config": plan})
            claim_models(locate(config.models_uri), run)
            for key, found in labels.values():
                remember_labels(run / LABELS, key, found)
            if isinstance(model, Location) and not exists(model / "config.json"):
                names = [path.name for path in folder.iterdir()]
                copy_files(locate(str(folder)), model, sorted(names, key="config.json".__eq__))
            lengths = {name: found for (split, name), (_, found) in labels.items() if split == "train"}
            data = TrainData(datasets=datasets, shares=shares, lengths=lengths)
            _fit(config, run, data, model)


def _fit(config: TrainJobConfig, run: Location, data: TrainData, model: Location | str) -> None:
    total = config.train.count_global(config.num_workers)
    log.info(
        "global batch %d = batch size %d x %d workers x %d passes",
        total,
        config.train.batch_size,
        config.num_workers,
        total // (config.train.batch_size * config.num_workers),
    )
    resources = {"CPU": 1, "GPU": 1} if config.use_gpu else {"CPU": 1}
    with relayed_logs() as logs, stop_signal() as stop:
        inputs = WorkerInputs(
            data=data,
            lines_per_epoch=sum(map(len, (data.lengths or {}).values())),
            model=model,
            config=config.train,
            run=run,
            stop=stop,
            logs=logs,
        )
        trainer = TorchTrainer(
            train_worker,
            train_loop_config={"inputs": inputs},
            scaling_config=ray.train.ScalingConfig(
                num_workers=config.num_workers, use_gpu=config.use_gpu, resources_per_worker=resources
            ),
            run_config=ray.train.RunConfig(
                name=config.run_name,
                storage_path=run.path.rsplit("/", 1)[0],
                storage_filesystem=run.filesystem,
                failure_config=ray.train.FailureConfig(max_failures=config.max_failures),
                # Keeps the best and, whatever its score, the latest; every report has the score.
                checkpoint_config=ray.train.CheckpointConfig(
                    num_to_keep=config.keep_checkpoints,
                    checkpoint_score_attribute=SCORE,
                    checkpoint_score_order="min",
                ),
            ),
        )
        try:
            with _ray_named():
                trainer.fit()
        except ray.train.WorkerGroupError as error:
            raise next(iter(error.worker_failures.values()), error) from error
        except ray.train.ControllerError as error:
            raise error.controller_failure from error


@contextmanager
def _ray_named() -> Iterator[None]:
    """Have the actors that Ray Train starts beside the workers ask this Ray what lives.

    By themselves they ask the last that `ray start` began on the machine, and wait if it is gone.
    """
    if joins_cluster():
        yield
        return
    ENV_VARS_TO_PROPAGATE.add("RAY_ADDRESS")
    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    try:
        yield
    finally:
        del os.environ["RAY_ADDRESS"]


def _read_checkpoints(run: Location) -> list[tuple[Location, Metrics]]:
    """Return the checkpoints that Ray Train keeps of a run with their metrics, the latest last."""
    if not exists(run / SNAPSHOT):
        return []
    result = ray.train.Result.from_path(run.path, storage_filesystem=run.filesystem)
    kept = [(Location(run.filesystem, c.path), metrics) for c, metrics in result.best_checkpoints or []]
    return sorted(kept, key=lambda item: int(item[1]["lines"]))

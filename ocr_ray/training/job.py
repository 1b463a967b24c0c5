"""Fine-tuning over data-parallel workers with Ray Train; a run is started or resumed by its name."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import ray
import ray.train
import torch

from ocr_ray.cluster.capacity import count_workers
from ocr_ray.cluster.failures import Failures, summarize
from ocr_ray.cluster.on_gpu import call_on_gpu
from ocr_ray.cluster.ray_private import SignalKeepingTrainer, environment_for_ray_train
from ocr_ray.cluster.session import ray_session
from ocr_ray.cluster.stop_signal import stop_signal
from ocr_ray.cluster.worker_logs import relayed_logs
from ocr_ray.dataset.manifest import read_digests, require_datasets
from ocr_ray.dataset.plan import PLAN, check_reserved, read_plan_config
from ocr_ray.errors import InputError, StoppedError
from ocr_ray.model.precision import check_precision, find_capability
from ocr_ray.storage.error_messages import raise_if_refused
from ocr_ray.storage.lease import hold_lease
from ocr_ray.storage.location import (
    Location,
    copy_files,
    exists,
    locate,
    locate_model,
    read_json,
    translate_errors,
    write_json,
)
from ocr_ray.training.base_model import (
    KEY,
    check_same_model,
    describe_model,
    find_model_license,
    read_model,
)
from ocr_ray.training.config import CPU_WORKERS, TINY, TrainJobConfig
from ocr_ray.training.data.label_check import save_lengths
from ocr_ray.training.data.mixture import count_sources, describe_mixture
from ocr_ray.training.data.row_groups import LineDataset
from ocr_ray.training.export import check_models_free, choose_models, export_models, reserve_models
from ocr_ray.training.learning_rate import check_warmup
from ocr_ray.training.loop import Metrics
from ocr_ray.training.model_card import describe_datasets, describe_versions
from ocr_ray.training.setup import TrainData, check_all_labels, first_model, open_splits
from ocr_ray.training.tracking.services import check_services, reporting
from ocr_ray.training.worker import WorkerInputs, train_worker

log = logging.getLogger(__name__)

SNAPSHOT = "checkpoint_manager_snapshot.json"
"""The file in which Ray Train lists the checkpoints of a run."""
SCORE = "score"
LABELS = "labels"


def train_trocr(config: TrainJobConfig) -> dict[str, Any]:
    """Start or resume a run, export its best and its last model, and return a summary.

    Raises:
        InputError: a dataset or the model is missing or does not fit, the run or the models folder belongs to
            another configuration, or the cluster can never have enough workers. Raised before any work.
        ProductionError: the run was stopped before its end, and has saved a checkpoint.
    """
    folders = require_datasets(config.lines_uri)
    mixture_weights = parse_mixture(config.mix, folders)
    run, models = locate(config.runs_uri) / config.run_name, locate(config.models_uri)
    config = _settle_now(config, run)
    plan = _describe_run(config, folders, mixture_weights)
    if config.fresh and exists(run / PLAN):
        raise InputError(
            f"--fresh needs a new --run-name, {run} exists already; leave out --fresh to resume it"
        )
    check_reserved(run, plan, growing="epochs", flag="--run-name")
    check_models_free(models, run)
    check_services(config.report_to, run)
    with (
        hold_lease(run, "--run-name"),
        hold_lease(models, "--models-uri"),
        reporting(config.report_to, run, plan),
    ):
        datasets = tuple(LineDataset(name=name, folder=folder) for name, folder in folders.items())
        sources = {split.name: count_sources(split) for split in open_splits(datasets)[0]}
        mixture = describe_mixture(sources, mixture_weights, pretraining_lines=config.pretraining_lines)
        checkpoints = _read_checkpoints(run)
        is_finished = _is_finished(checkpoints, config)
        if is_finished:
            log.info("run %s has finished its %d epochs: nothing to train", run, config.train.epochs)
        else:
            log.info(mixture.text)
            if mixture.warning:
                log.warning(mixture.warning)
            exit_code = _run(config, run, datasets, folders, mixture_weights)
            checkpoints = _read_checkpoints(run)
            if not _is_finished(checkpoints, config):
                raise StoppedError(
                    f"{run} was stopped; run the same command again to resume from its last checkpoint",
                    {"run": run.uri, "trained": True, "finished": False},
                    exit_code=exit_code,
                )
        facts = {
            "run": run.uri,
            "base_model": config.model,
            "base_model_files": read_model(run),
            "label_column": config.train.label_column,
            "license": find_model_license(config, folders),
            "datasets": describe_datasets(folders),
            "config": read_json(run / PLAN)["config"],
            "mixture": mixture.text,
            "mixture_warning": mixture.warning,
            "versions": describe_versions(),
        }
        reserve_models(models, run)
        exported = export_models(models, choose_models(checkpoints), facts)
    return {"run": run.uri, "trained": not is_finished, "finished": True, **exported}


def parse_mixture(mix: Sequence[str], datasets: Mapping[str, Location]) -> dict[str, float] | None:
    """Return the mixture weight of each dataset by its name, with a sum of 1; None without any.

    Raises:
        InputError: one is not URI=WEIGHT, or they do not name each of the datasets once.
    """
    if not mix:
        return None
    names = {folder.uri: name for name, folder in datasets.items()}
    weights: dict[str, float] = {}
    for word in mix:
        uri, _, number = word.rpartition("=")
        name = names.get(locate(uri).uri) if uri else None
        try:
            weight = float(number)
        except ValueError:
            weight = 0.0
        if name is None or name in weights or not 0 < weight < float("inf"):
            raise InputError(
                f"--mix must be URI=WEIGHT for each of --lines-uri once, weight above 0, got {word!r}"
            )
        weights[name] = weight
    if missing := names.values() - weights.keys():
        raise InputError(f"--mix must name each of --lines-uri, {', '.join(sorted(missing))} is missing")
    return {name: weights[name] / sum(weights.values()) for name in datasets}


def _settle_now(config: TrainJobConfig, run: Location) -> TrainJobConfig:
    """Return the configuration with the defaults that are known before Ray starts, and check its precision.

    Raises:
        InputError: the sizes do not fit each other or the run, or the device does not support the precision.
    """
    decided = read_plan_config(run, "--run-name")
    try:
        config = config.keep(decided or {})
        if not config.use_gpu:
            config = replace(config, train=config.train.settle(None))
        if config.num_workers is not None or not config.use_gpu:
            config = config.settle(config.num_workers or CPU_WORKERS)
    except ValueError as error:
        raise InputError(str(error)) from error
    if config.train.precision != "auto":
        check_precision(config.train.precision, torch.device("cuda" if config.use_gpu else "cpu"))
    return config


def _settle(config: TrainJobConfig) -> TrainJobConfig:
    """Return the configuration with the defaults that depend on the GPUs of the cluster.

    Raises:
        InputError: the cluster can never have enough workers, the sizes do not fit them, or its GPUs do not
            support the precision.
    """
    num_workers = count_workers(config.num_workers, use_gpu=config.use_gpu)
    try:
        config = config.settle(num_workers)
    except ValueError as error:
        raise InputError(str(error)) from error
    if not config.use_gpu:
        return config
    capability, chosen = find_capability(call_on_gpu), config.train.precision
    config = replace(config, train=config.train.settle(capability))
    check_precision(config.train.number_format, torch.device("cuda"), capability)
    if chosen == "auto":
        name = ".".join(map(str, capability))
        log.info("precision %s, chosen for a GPU of capability %s", config.train.precision, name)
    return config


def _describe_run(
    config: TrainJobConfig, datasets: Mapping[str, Location], mixture_weights: Mapping[str, float] | None
) -> dict[str, Any]:
    """Return the values that identify a run; a dataset counts by its content, not by its location."""
    return {
        "job": "train_trocr",
        "lines": read_digests(datasets),
        "model": config.model if config.model == TINY else str(locate_model(config.model)),
        "shares": mixture_weights,
        **config.train.describe(),
    }


def _is_finished(checkpoints: Sequence[tuple[Location, Metrics]], config: TrainJobConfig) -> bool:
    return bool(checkpoints) and checkpoints[-1][1]["epochs_done"] >= config.train.epochs


def _run(
    config: TrainJobConfig,
    run: Location,
    datasets: tuple[LineDataset, ...],
    folders: Mapping[str, Location],
    mixture_weights: Mapping[str, float] | None,
) -> int:
    """Train until the last epoch is done or the job is stopped; return the exit code for a stopped job."""
    with first_model(config.model, run, datasets, config.train) as (folder, model):
        described = describe_model(folder, model)
        check_same_model(run, described)
        labels = check_all_labels(folder, datasets, config.train, run / LABELS)
        lengths = {name: of for (split, name), (_, of) in labels.items() if split == "train"}
        reads = [dataset.folder for dataset in datasets]
        if isinstance(model, Location) and config.model != TINY:
            reads.append(model)
        num_cpus = max(config.num_workers or 1, os.cpu_count() or 1)
        with ray_session(num_cpus=num_cpus, reads=reads, writes=[run]):
            config = _settle(config)
            check_warmup(config.train, num_lines=config.train.count_lines(lengths))
            plan = _describe_run(config, folders, mixture_weights)
            write_json(run / PLAN, {"config": plan, KEY: described})
            for key, of_split in labels.values():
                save_lengths(run / LABELS, key, of_split)
            if isinstance(model, Location) and not exists(model / "config.json"):
                names = [path.name for path in folder.iterdir()]
                copy_files(locate(str(folder)), model, sorted(names, key="config.json".__eq__))
            data = TrainData(datasets=datasets, mixture_weights=mixture_weights, lengths=lengths)
            return _train(config, run, data, model)


def _train(config: TrainJobConfig, run: Location, data: TrainData, model: Location | str) -> int:
    """Run `train_worker` on every worker, again from the latest checkpoint after failures; see `_run`."""
    num_workers, batch_size = config.num_workers or CPU_WORKERS, config.train.lines_per_batch
    total = config.train.count_global(num_workers)
    log.info(
        "global batch size %d = batch size %d x %d workers x %d gradient accumulation steps, precision %s",
        total,
        batch_size,
        num_workers,
        total // (batch_size * num_workers),
        config.train.number_format,
    )
    with relayed_logs() as logs, stop_signal() as stop:
        inputs = WorkerInputs(
            data=data,
            lines_per_epoch=config.train.count_lines(data.lengths),
            model=model,
            config=config.train,
            run=run,
            events="tensorboard" in config.report_to,
            stop=stop,
            logs=logs,
        )
        failures = Failures(config.max_failures, run)
        while not stop.number:
            try:
                _fit(config, run, inputs)
                break
            except ray.train.WorkerGroupError as error:
                failures.add(error)
            except ray.train.ControllerError as error:
                with translate_errors(run):
                    raise error.controller_failure from error
        log.debug("training ended", extra={"progress": {"name": "training", "done": 1, "total": 1}})
        return stop.exit_code


def _fit(config: TrainJobConfig, run: Location, inputs: WorkerInputs) -> None:
    """Train with Ray Train until the end, a stop or a failure; a node that is drained is none."""
    resources = {"CPU": 1, "GPU": 1} if config.use_gpu else {"CPU": 1}
    trainer = SignalKeepingTrainer(
        train_worker,
        # As a reference: Ray Train's controller would load it, and import torch and transformers for that.
        train_loop_config={"inputs": ray.put(inputs)},
        scaling_config=ray.train.ScalingConfig(
            num_workers=config.num_workers or CPU_WORKERS,
            use_gpu=config.use_gpu,
            resources_per_worker=resources,
        ),
        run_config=ray.train.RunConfig(
            name=config.run_name,
            storage_path=run.path.rsplit("/", 1)[0],
            storage_filesystem=run.filesystem,
            failure_config=ray.train.FailureConfig(max_failures=0),
            # Keeps the best checkpoints and always the latest; every report has a score.
            checkpoint_config=ray.train.CheckpointConfig(
                num_to_keep=config.keep_checkpoints,
                checkpoint_score_attribute=SCORE,
                checkpoint_score_order="min",
            ),
        ),
    )
    with environment_for_ray_train(config.run_name):
        trainer.fit()


def _read_checkpoints(run: Location) -> list[tuple[Location, Metrics]]:
    """Return the checkpoints that Ray Train keeps of a run, with their metrics, the latest last.

    Raises:
        InputError: the list of them is damaged, as after a full disk, or a checkpoint is missing.
    """
    if not exists(run / SNAPSHOT):
        return []
    try:
        result = ray.train.Result.from_path(run.path, storage_filesystem=run.filesystem)
    except Exception as error:  # of a private class of Ray Train
        with translate_errors(run):
            raise_if_refused(error)
        raise InputError(
            f"{run} cannot be resumed: {SNAPSHOT} must be complete and each of its checkpoints be there, "
            f"{summarize(error)}; choose another --run-name, its --model can be a checkpoint of this run"
        ) from error
    kept = [(Location(run.filesystem, c.path), metrics) for c, metrics in result.best_checkpoints or []]
    return sorted(kept, key=lambda item: int(item[1]["lines"]))

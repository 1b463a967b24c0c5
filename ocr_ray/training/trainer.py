"""Fine-tuning over data-parallel workers with Ray Train: one run, found again by its name."""

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pyarrow.parquet as pq
import ray
import ray.train
import ray.train.torch
import tyro
from ray.train.torch import TorchTrainer

from ocr_ray.cards import model_card
from ocr_ray.cluster import count_workers, ray_session, relay_logs, relayed_logs
from ocr_ray.lines import LabelColumn
from ocr_ray.manifests import read_digests, require_datasets
from ocr_ray.parts import PLAN, check_claim
from ocr_ray.storage import (
    Location,
    copy_files,
    exists,
    list_files,
    locate,
    locate_model,
    read_json,
    write_bytes,
    write_json,
)
from ocr_ray.training.checkpoint import HISTORY_FILE, is_model_file
from ocr_ray.training.feed import LineDataset, check_labels
from ocr_ray.training.loop import TrainConfig, open_splits, train
from ocr_ray.training.model import load_model, model_files
from ocr_ray.training.tiny import write_tiny_model

log = logging.getLogger(__name__)

TINY = "tiny"
SNAPSHOT = "checkpoint_manager_snapshot.json"
"""Where Ray Train lists a run's checkpoints."""
SCORE = "validation_loss"
METRICS = "metrics.json"
TOKENIZER_LINES = 20_000
"""Texts that the tiny model's tokenizer is trained on, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJobConfig:
    """Fine-tune a TrOCR on lines, data-parallel, with a checkpoint after every epoch.

    Run again with the same --run-name it goes on from the last checkpoint.
    """

    lines_uri: tuple[str, ...]
    """Datasets of lines, as render_lines and crop_pages make them; every line of their train splits is read
    once an epoch."""
    models_uri: str
    """Where best_ocr/ and trained_ocr/ go."""
    run_name: str
    """The run that is begun, or gone on with."""
    model: str = "team-lucid/trocr-small-korean"
    """A hub id, a folder or s3:// folder of any Hugging Face VisionEncoderDecoder, such as an earlier run's
    best_ocr; tiny: a small one of random weights, to try things out."""
    runs_uri: str = "runs"
    """Where runs keep their checkpoints, each in a folder of its name."""
    num_workers: int = 2
    """Data-parallel workers; the global batch is --batch-size times this."""
    use_gpu: bool = False
    """Each worker takes a GPU."""
    train: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        if not self.lines_uri:
            raise ValueError("lines_uri must name at least one dataset")
        if not self.run_name or "/" in self.run_name:
            raise ValueError(f"run_name must be a folder's name, got {self.run_name!r}")
        if self.num_workers < 1:
            raise ValueError(f"num_workers must be at least 1, got {self.num_workers}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInputs:
    """What every worker is given."""

    datasets: tuple[LineDataset, ...]
    model: Location | str
    """A folder, or a hub id."""
    config: TrainConfig


def train_trocr(config: TrainJobConfig) -> dict[str, Any]:
    """Run, or go on with, a training run; export its best and its last model; return a summary.

    Raises:
        InputError: a dataset or the model is missing or does not fit, the run or the models' place belongs to
            another configuration; found before any work.
    """
    places = require_datasets(config.lines_uri)
    run, models = locate(config.runs_uri) / config.run_name, locate(config.models_uri)
    plan = _describe_run(config, places)
    check_claim(run, plan, growing="epochs", flag="--run-name")
    check_claim(models, {"run": run.uri}, growing="", flag="--models-uri")
    checkpoints = _read_checkpoints(run)
    finished = bool(checkpoints) and checkpoints[-1][1]["epoch"] >= config.train.epochs
    if finished:
        log.info("run %s has finished its %d epochs: nothing is trained", run, config.train.epochs)
    else:
        datasets = tuple(LineDataset(name=name, place=place) for name, place in places.items())
        with _first_model(config, run, places) as (folder, model):
            if not checkpoints:
                _check_fit(folder, datasets, config.train.label_column)
            reads = [*places.values()]
            if isinstance(model, Location) and config.model != TINY:
                reads.append(model)
            num_cpus = max(config.num_workers, os.cpu_count() or 1)
            with ray_session(num_cpus=num_cpus, reads=reads, writes=[run]):
                count_workers(config.num_workers, use_gpu=config.use_gpu)
                write_json(run / PLAN, {"config": plan})
                _claim_models(models, run)
                if isinstance(model, Location) and not exists(model / "config.json"):
                    names = [path.name for path in folder.iterdir()]
                    copy_files(locate(str(folder)), model, sorted(names, key="config.json".__eq__))
                _fit(config, run, WorkerInputs(datasets=datasets, model=model, config=config.train))
    return {"run": run.uri, "trained": not finished, **_export(config, run, models)}


def _describe_run(config: TrainJobConfig, places: Mapping[str, Location]) -> dict[str, Any]:
    """Return what makes a run itself; of the datasets their content, not their place."""
    return {
        "job": "train_trocr",
        "lines": read_digests(places),
        "model": config.model,
        "num_workers": config.num_workers,
        **asdict(config.train),
    }


@contextmanager
def _first_model(
    config: TrainJobConfig, run: Location, places: Mapping[str, Location]
) -> Iterator[tuple[Path, Location | str]]:
    """Give the model that training begins with as a local folder, and where workers will find it.

    A tiny one is made from the texts; it comes to lie in the run's folder when training starts.
    """
    tiny = run / "tiny_model"
    if config.model == TINY and not exists(tiny / "config.json"):
        with tempfile.TemporaryDirectory() as folder:
            write_tiny_model(Path(folder), _read_texts(places, config.train.label_column), config.train.seed)
            yield Path(folder), tiny
        return
    model = tiny if config.model == TINY else locate_model(config.model)
    with model_files(model) as folder:
        yield folder, model


def _check_fit(folder: Path, datasets: Sequence[LineDataset], label_column: LabelColumn) -> None:
    """Refuse a model that does not load, or has no room for a label, before hours of training meet it."""
    ocr = load_model(folder)
    for splits in open_splits(datasets):
        for split in splits:
            check_labels(ocr, split, label_column)


def _read_texts(places: Mapping[str, Location], label_column: LabelColumn) -> list[str]:
    texts: list[str] = []
    for place in places.values():
        for name in list_files(place / "train"):
            if len(texts) < TOKENIZER_LINES and name.endswith(".parquet"):
                with place.filesystem.open_input_file((place / "train" / name).path) as file:
                    texts += pq.read_table(file, columns=[label_column])[label_column].to_pylist()
    return texts[:TOKENIZER_LINES]


def _fit(config: TrainJobConfig, run: Location, inputs: WorkerInputs) -> None:
    log.info(
        "global batch %d = batch size %d x %d workers",
        config.train.batch_size * config.num_workers,
        config.train.batch_size,
        config.num_workers,
    )
    resources = {"CPU": 1, "GPU": 1} if config.use_gpu else {"CPU": 1}
    with relayed_logs() as logs:
        trainer = TorchTrainer(
            _train_worker,
            train_loop_config={"inputs": inputs, "logs": logs},
            scaling_config=ray.train.ScalingConfig(
                num_workers=config.num_workers, use_gpu=config.use_gpu, resources_per_worker=resources
            ),
            run_config=ray.train.RunConfig(
                name=config.run_name,
                storage_path=run.path.rsplit("/", 1)[0],
                storage_filesystem=run.filesystem,
                # Keeps the best and, whatever its score, the latest; every report has the score.
                checkpoint_config=ray.train.CheckpointConfig(
                    num_to_keep=1, checkpoint_score_attribute=SCORE, checkpoint_score_order="min"
                ),
            ),
        )
        try:
            trainer.fit()
        except ray.train.WorkerGroupError as error:
            raise next(iter(error.worker_failures.values()), error) from error


def _train_worker(settings: dict[str, Any]) -> None:
    """Train on one rank: the body of every Ray Train worker."""
    inputs: WorkerInputs = settings["inputs"]
    if ray.train.get_context().get_world_rank() == 0:
        relay_logs(settings["logs"])

    def report(metrics: dict[str, float], folder: Path) -> None:
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(str(folder)))

    with model_files(inputs.model) as model_folder:
        ocr = load_model(model_folder)
        ocr.network.to(ray.train.torch.get_device())
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            train(ocr, inputs.datasets, inputs.config, report=report)
        else:
            with checkpoint.as_directory() as folder:
                train(ocr, inputs.datasets, inputs.config, report=report, resume_from=Path(folder))


def _read_checkpoints(run: Location) -> list[tuple[Location, dict[str, Any]]]:
    """Return the checkpoints that Ray Train keeps of a run with their metrics, the latest last."""
    if not exists(run / SNAPSHOT):
        return []
    result = ray.train.Result.from_path(run.path, storage_filesystem=run.filesystem)
    kept = [(Location(run.filesystem, c.path), metrics) for c, metrics in result.best_checkpoints or []]
    return sorted(kept, key=lambda item: item[1]["epoch"])


def _claim_models(models: Location, run: Location) -> None:
    write_json(models / PLAN, {"config": {"run": run.uri}})


def _export(config: TrainJobConfig, run: Location, models: Location) -> dict[str, Any]:
    """Copy the best and the last checkpoint's model to where users find them, if not yet there."""
    _claim_models(models, run)
    checkpoints = _read_checkpoints(run)
    chosen = {
        "best_ocr": min(checkpoints, key=lambda item: (item[1][SCORE], -item[1]["epoch"])),
        "trained_ocr": checkpoints[-1],
    }
    for name, (folder, metrics) in chosen.items():
        facts = {
            "run": run.uri,
            "base_model": config.model,
            "label_column": config.train.label_column,
            "lines": list(config.lines_uri),
            "metrics": metrics,
            "history": read_json(folder / HISTORY_FILE),
        }
        target = models / name
        files = {file: size for file, size in list_files(folder).items() if is_model_file(file)}
        there = list_files(target)
        if METRICS in there and files.items() <= there.items() and read_json(target / METRICS) == facts:
            continue
        log.info("%s: the weights of epoch %d", target, metrics["epoch"])
        if exists(target / METRICS):
            target.filesystem.delete_file((target / METRICS).path)
        copy_files(folder, target, list(files))
        figures = {key: value for key, value in metrics.items() if "/" not in key}
        about = {"run": run.uri, "base model": config.model, "lines": ", ".join(config.lines_uri)}
        write_bytes(target / "README.md", model_card(name, {**about, **figures}).encode())
        write_json(target / METRICS, facts)
    return {name: {"uri": (models / name).uri, **metrics} for name, (_, metrics) in chosen.items()}

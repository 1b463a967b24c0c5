"""The training loop: steps, validation, and a report with a checkpoint after every epoch. Free of Ray."""

import io
import logging
import math
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist
from PIL import Image
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ocr_ray.errors import InputError, ProductionError
from ocr_ray.lines import LabelColumn
from ocr_ray.randomness import MAX_SEED, keyed_generator
from ocr_ray.training.checkpoint import Training, TrainState, load_checkpoint, save_checkpoint
from ocr_ray.training.feed import Batch, Feed, LineDataset, make_pixel_values
from ocr_ray.training.model import OcrModel
from ocr_ray.training.splits import Split, open_split
from ocr_ray.training.validation import ValidationSums, line_losses, reduce_sums, validate

log = logging.getLogger(__name__)

Metrics = dict[str, float | int]
Report = Callable[[Metrics, Path], None]
"""Takes an epoch's metrics and a folder with this rank's files of its checkpoint, deleted afterwards."""

PROGRESS_INTERVAL_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How a model is fine-tuned; the defaults are the brief's."""

    epochs: int = 5
    """How often every line is trained on."""
    batch_size: int = 16
    """Lines of one worker in one step; the global batch is this times the number of workers."""
    lr: float = 5e-5
    """Learning rate of Adam at the start."""
    lr_patience: int = 0
    """Epochs without a better validation loss after which the learning rate is reduced."""
    lr_factor: float = 0.5
    """What the learning rate is multiplied by then."""
    seed: int = 0
    """Of the order of the lines and of dropout."""
    label_column: LabelColumn = "text"
    """text: what is printed; markup: with the maths in $...$ as AI Hub writes it."""
    select_on: Literal["page", "all"] = "page"
    """The validation lines that choose the best model: page (all where no dataset has any) or all."""
    max_generated_lines: int = 2000
    """Validation lines of each dataset that are read for CER and WER; the loss is taken over all."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "max_generated_lines"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.lr < 1:
            raise ValueError(f"lr must be between 0 and 1, got {self.lr}")
        if self.lr_patience < 0:
            raise ValueError(f"lr_patience must be at least 0, got {self.lr_patience}")
        if not 0 < self.lr_factor < 1:
            raise ValueError(f"lr_factor must be between 0 and 1, got {self.lr_factor}")
        if not 0 <= self.seed <= MAX_SEED:
            raise ValueError(f"seed must be in 0..{MAX_SEED}, got {self.seed}")
        if self.label_column not in ("text", "markup"):
            raise ValueError(f"label_column must be text or markup, got {self.label_column!r}")
        if self.select_on not in ("page", "all"):
            raise ValueError(f"select_on must be page or all, got {self.select_on!r}")


def train(
    ocr: OcrModel,
    datasets: Sequence[LineDataset],
    config: TrainConfig,
    *,
    report: Report,
    resume_from: Path | None = None,
) -> TrainState:
    """Train for the epochs that are left, on the device of the network; return how far training came.

    Within an initialised `torch.distributed` every rank calls this; `report` is then called by every rank.

    Raises:
        InputError: there is no line to train on or to validate with.
        CheckpointError: the checkpoint to go on from is missing or half-written.
        ProductionError: a loss is not finite.
    """
    rank, world_size = _find_rank()
    train_splits, validation_splits = open_splits(datasets)
    _seed_generators(config.seed, rank)
    blank = make_blank_batch(ocr)
    freeze_unused(ocr, blank)
    optimizer = torch.optim.Adam(
        [parameter for parameter in ocr.network.parameters() if parameter.requires_grad], lr=config.lr
    )
    scheduler = ReduceLROnPlateau(optimizer, factor=config.lr_factor, patience=config.lr_patience)
    training = Training(ocr=ocr, optimizer=optimizer, scheduler=scheduler, rank=rank, world_size=world_size)
    state = load_checkpoint(resume_from, training) if resume_from else TrainState()
    feed = _make_feed(training, config, train_splits)
    validation_feeds = [_make_feed(training, config, [split]) for split in validation_splits]
    network = ocr.network
    if world_size > 1:
        network = DistributedDataParallel(network, broadcast_buffers=False)
    for epoch in range(state.epoch, config.epochs):
        metrics: Metrics = {"epoch": epoch + 1, "lr": float(optimizer.param_groups[0]["lr"])}
        metrics |= _train_epoch(network, training, feed, epoch=epoch, blank=blank)
        metrics |= _collect_metrics(validate(ocr, validation_feeds, config.max_generated_lines), config)
        scheduler.step(metrics["validation_loss"])
        state = _advance(state, metrics, num_steps=feed.num_batches)
        _log_epoch(metrics, config, rank)
        with tempfile.TemporaryDirectory(prefix="ocr_ray-checkpoint-") as folder:
            save_checkpoint(Path(folder), training, state)
            report(dict(state.history[-1]), Path(folder))
    return state


def open_splits(datasets: Sequence[LineDataset]) -> tuple[list[Split], list[Split]]:
    """Return the train and the validation splits.

    Raises:
        InputError: all the train or all the validation splits are empty, or two datasets share a name.
    """
    names = [dataset.name for dataset in datasets]
    if len(set(names)) < len(names):
        raise InputError(f"datasets must have different names, got {', '.join(names)}")
    opened = {}
    for split in ("train", "validation"):
        opened[split] = [open_split(dataset.name, dataset.place / split) for dataset in datasets]
        if not any(part.num_lines for part in opened[split]):
            places = ", ".join(str(dataset.place / split) for dataset in datasets)
            raise InputError(f"the {split} split must have at least one line, there is none in {places}")
    return opened["train"], opened["validation"]


def _find_rank() -> tuple[int, int]:
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def _seed_generators(seed: int, rank: int) -> None:
    """Seed the three global generators; dropout draws from torch's."""
    for_torch, for_numpy, for_python = (
        keyed_generator(seed, "training", rank).integers(2**32, size=3).tolist()
    )
    torch.manual_seed(for_torch)
    np.random.seed(for_numpy)
    random.seed(for_python)


def _make_feed(training: Training, config: TrainConfig, splits: Sequence[Split]) -> Feed:
    return Feed(
        splits=tuple(splits),
        ocr=training.ocr,
        batch_size=config.batch_size,
        rank=training.rank,
        world_size=training.world_size,
        seed=config.seed,
        label_column=config.label_column,
    )


def make_blank_batch(ocr: OcrModel) -> Batch:
    """Return one empty white line, for a rank that the last lines did not reach."""
    buffer = io.BytesIO()
    Image.new("L", (64, 64), 255).save(buffer, "PNG")
    return Batch(
        pixel_values=make_pixel_values(ocr, [buffer.getvalue()]),
        labels=torch.tensor([[ocr.network.config.eos_token_id]]),
        texts=[""],
        line_ids=[""],
        sources=[""],
        positions=[-1],
    )


def freeze_unused(ocr: OcrModel, blank: Batch) -> None:
    """Freeze the parameters that no loss reaches, such as an encoder's pooler: DDP would wait for them."""
    ocr.network.eval()
    losses = line_losses(ocr.network, blank.pixel_values.to(ocr.device), blank.labels.to(ocr.device))
    torch.autograd.backward(losses.sum())
    unused = [name for name, parameter in ocr.network.named_parameters() if parameter.grad is None]
    for parameter in ocr.network.parameters():
        parameter.requires_grad_(parameter.grad is not None)
    ocr.network.zero_grad(set_to_none=True)
    if unused:
        log.info(
            "%d parameters do not reach the loss and stay as they are: %s", len(unused), ", ".join(unused)
        )


def _train_epoch(network: Any, training: Training, feed: Feed, *, epoch: int, blank: Batch) -> Metrics:
    """Take a step for each batch; return the loss per token over all ranks and the pace."""
    network.train()
    device = training.ocr.device
    loss_sum = torch.zeros((), dtype=torch.float64, device=device)
    num_tokens = 0
    started = shown = time.monotonic()
    for index, batch in enumerate(feed.batches(epoch), start=1):
        loss_sum += compute_gradients(network, batch if len(batch) else blank, weight=float(len(batch) > 0))
        training.optimizer.step()
        num_tokens += batch.num_tokens
        if training.rank == 0 and time.monotonic() - shown > PROGRESS_INTERVAL_S:
            shown = time.monotonic()
            _log_progress(
                epoch, index, feed, loss=float(loss_sum) / max(1, num_tokens), seconds=shown - started
            )
    total_loss, total_tokens = reduce_sums([float(loss_sum), num_tokens], device)
    train_loss = total_loss / total_tokens
    if not math.isfinite(train_loss):
        raise ProductionError(f"the training loss must be finite, got {train_loss}: use a smaller --lr")
    return {
        "train_loss": train_loss,
        "train_lines_per_second": feed.num_lines / (time.monotonic() - started),
    }


def compute_gradients(network: Any, batch: Batch, *, weight: float = 1.0) -> torch.Tensor:
    """Set the gradients of the loss per token over all ranks' lines; return this rank's summed loss.

    DDP averages gradients over ranks, so that each rank's sum is multiplied by their number and divided by
    the tokens of all. A rank without lines passes any batch with weight 0, to take part in it.
    """
    device = next(network.parameters()).device
    labels = batch.labels.to(device)
    [num_tokens] = reduce_sums([batch.num_tokens * weight], device)
    network.zero_grad(set_to_none=True)
    loss = line_losses(network, batch.pixel_values.to(device), labels).sum() * weight
    torch.autograd.backward(loss * (_find_rank()[1] / num_tokens))
    return loss.detach().double()


def _collect_metrics(sums: dict[str, ValidationSums], config: TrainConfig) -> Metrics:
    """Return the metrics of all validation lines and of each dataset, and the loss that selects the best."""
    metrics: Metrics = dict(sum(sums.values(), start=ValidationSums()).to_metrics())
    for name, dataset_sums in sums.items():
        metrics |= dataset_sums.to_metrics(prefix=f"{name}/")
    overall = metrics["validation_loss_all"]
    metrics["validation_loss"] = (
        metrics.get("validation_loss_page", overall) if config.select_on == "page" else overall
    )
    if not math.isfinite(overall):
        raise ProductionError(f"the validation loss must be finite, got {overall}: use a smaller --lr")
    return metrics


def _advance(state: TrainState, metrics: Metrics, *, num_steps: int) -> TrainState:
    """Return the state after an epoch."""
    loss = float(metrics["validation_loss"])
    best_so_far = math.inf if state.best_validation_loss is None else state.best_validation_loss
    is_best = loss <= best_so_far  # of equals the newer, as Ray Train keeps them
    global_step = state.global_step + num_steps
    best_loss = min(loss, best_so_far)
    metrics |= {"is_best": int(is_best), "best_validation_loss": best_loss, "global_step": global_step}
    return replace(
        state,
        epoch=state.epoch + 1,
        global_step=global_step,
        best_validation_loss=best_loss,
        best_epoch=state.epoch + 1 if is_best else state.best_epoch,
        history=[*state.history, metrics],
    )


def _log_progress(epoch: int, index: int, feed: Feed, *, loss: float, seconds: float) -> None:
    lines = min(index * feed.batch_size * feed.world_size, feed.num_lines)
    log.info(
        "epoch %d: %d of %d lines, loss %.3f, %.0f lines/s",
        epoch + 1,
        lines,
        feed.num_lines,
        loss,
        lines / seconds,
    )


def _log_epoch(metrics: Metrics, config: TrainConfig, rank: int) -> None:
    if rank == 0:
        log.info(
            "epoch %d of %d: train loss %.4f, validation loss %.4f, CER %.4f, %.0f lines/s%s",
            metrics["epoch"],
            config.epochs,
            metrics["train_loss"],
            metrics["validation_loss"],
            metrics["validation_cer"],
            metrics["train_lines_per_second"],
            ", the best so far" if metrics["is_best"] else "",
        )

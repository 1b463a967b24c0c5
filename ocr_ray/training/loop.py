"""The training loop: steps, validations, and checkpoints within epochs and at their ends. No Ray here."""

import logging
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from ocr_ray.errors import ProductionError
from ocr_ray.model.load import OcrModel
from ocr_ray.training.checkpoint import Throughput, TrainState, load_checkpoint, save_checkpoint
from ocr_ray.training.config import TrainConfig
from ocr_ray.training.data.loader import StepBatches
from ocr_ray.training.learning_rate import find_lr_share
from ocr_ray.training.setup import (
    TrainData,
    make_network,
    make_train_loader,
    make_validation_loader,
    open_splits,
    prepare,
)
from ocr_ray.training.steps import apply_gradients, compute_gradients, make_blank_batch
from ocr_ray.training.validation import ValidationSums, reduce_sums, validate

log = logging.getLogger(__name__)

Metrics = dict[str, Any]
Signal = Literal["", "save", "stop"]

RECORDS_PER_EPOCH = 100
POLL_SECONDS = 1.0
"""How often the ranks agree on whether to save or to stop."""
UNRATED = 1e9
"""The score of a checkpoint without a validation: finite, and worse than any real score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Callbacks to the program that runs the loop."""

    report: Callable[[Metrics, Path], None]
    """Gets metrics with a `score`, lower is better, and a folder with this rank's files of a checkpoint,
    which is deleted afterwards. Called by every rank."""
    poll: Callable[[], Signal] = lambda: ""
    """Returns whether to save a checkpoint, or to save and stop. Called by every rank at the same steps."""
    record: Callable[[TrainState], None] = lambda state: None
    """Gets the state after each new record of its history. Called only by the first rank."""
    step: Callable[[StepBatches], None] = lambda step: None
    """Gets the batches of each step of this rank before they are trained on."""


def train(
    ocr: OcrModel, data: TrainData, config: TrainConfig, *, hooks: Hooks, resume_from: Path | None = None
) -> TrainState:
    """Train the remaining epochs on the device of the network; return the final state.

    Within an initialised `torch.distributed` every rank calls this.

    Raises:
        InputError: there are no lines to train on or to validate with, or a label does not fit the model.
        CheckpointError: a file of the checkpoint to resume from is missing or half-written.
        ProductionError: a loss is not finite.
    """
    loop = _TrainingLoop(ocr, data, config, hooks)
    if resume_from:
        loop.state = load_checkpoint(resume_from, loop.training)
    while loop.state.epoch < config.epochs and not loop.is_stopped:
        loop.train_epoch()
    return loop.state


class _TrainingLoop:
    """The loop of one rank: its model, data loaders and state."""

    def __init__(self, ocr: OcrModel, data: TrainData, config: TrainConfig, hooks: Hooks) -> None:
        train_splits, validation_splits = open_splits(data.datasets)
        self.training = prepare(ocr, config)
        self.blank = make_blank_batch(ocr)
        self.network = make_network(self.training, config, data)
        self.config, self.hooks, self.state = config, hooks, TrainState()
        self.loader = make_train_loader(self.training, data, config, train_splits)
        self.validation_loaders = [
            make_validation_loader(self.training, config, split) for split in validation_splits
        ]
        self.num_steps = config.epochs * self.loader.num_steps
        self.record_steps = max(1, self.loader.num_steps // RECORDS_PER_EPOCH)
        self.is_stopped = False
        self.lr = config.lr
        """Of the last step of this process."""
        self.loss = torch.zeros((), dtype=torch.float64, device=ocr.device)
        self.tokens = 0
        """Of this rank since the last `_flush`, as is `loss`; the other counts are in `throughput`."""
        self.throughput = Throughput()
        self.saved_s = self.polled_s = time.monotonic()
        self.polled_step = self.next_poll = 0

    def train_epoch(self) -> None:
        """Train on the remaining lines of an epoch and validate at its end."""
        epoch = self.state.epoch
        self.network.train()
        with closing(self.loader.steps(epoch, start_line=self.state.lines_done)) as steps:
            for step, wait_seconds in _timed(steps):
                started_s = time.monotonic()
                self.hooks.step(step)
                self.loss += compute_gradients(
                    self.network, self.training, step, blank=self.blank, config=self.config
                )
                self.tokens += sum(batch.num_tokens for batch in step.batches)
                share = find_lr_share(self.config, self.state.global_step, self.num_steps)
                self.lr = apply_gradients(self.training, self.config, lr_share=share)
                seconds = wait_seconds + time.monotonic() - started_s
                self._advance(step, seconds, wait_seconds)
                if self._is_validation_due(step):
                    self._validate()
                    self.network.train()
                else:
                    self._poll()
                if self.is_stopped or self.state.epoch > epoch:
                    return

    def _advance(self, step: StepBatches, seconds: float, wait_seconds: float) -> None:
        """Count a step that was trained."""
        self.throughput += Throughput(lines=step.num_lines, seconds=seconds, wait_seconds=wait_seconds)
        self.state = replace(
            self.state,
            lines_done=step.first_position + step.num_lines,
            lines=self.state.lines + step.num_lines,
            global_step=self.state.global_step + 1,
        )
        if self.state.global_step % self.record_steps == 0:
            self._record()

    def _flush(self) -> None:
        """Sum the loss over all ranks and move the counts into the state."""
        started_s = time.monotonic()  # a GPU is still computing steps whose time ended when it was given them
        loss, tokens = reduce_sums([float(self.loss), self.tokens], self.training.ocr.device)
        seconds = self.throughput.seconds + time.monotonic() - started_s
        if not math.isfinite(loss):
            raise ProductionError(f"the training loss must be finite, got {loss}: use a smaller --lr")
        throughput = replace(self.throughput, loss=loss, tokens=round(tokens), seconds=seconds)
        self.state = replace(
            self.state,
            seconds=self.state.seconds + throughput.seconds,
            since_record=self.state.since_record + throughput,
            since_validation=self.state.since_validation + throughput,
        )
        self.loss.zero_()
        self.tokens = 0
        self.throughput = Throughput()

    def _record(self) -> None:
        """Add a training record to the history."""
        self._flush()
        record = self._describe("train") | self.state.since_record.to_metrics()
        self._add_record(record)
        self.state = replace(self.state, since_record=Throughput())

    def _describe(self, kind: str) -> Metrics:
        state = self.state
        return {
            "kind": kind,
            "epoch": state.epoch + 1,
            "lines": state.lines,
            "step": state.global_step,
            "seconds": round(state.seconds, 3),
            "lr": self.lr,
        }

    def _add_record(self, record: Metrics) -> None:
        self.state = replace(self.state, history=[*self.state.history, record])
        if self.training.rank == 0:
            self.hooks.record(self.state)

    def _is_validation_due(self, step: StepBatches) -> bool:
        done, every = self.state.lines_done, self.config.validate_every_lines
        return done == self.loader.num_lines or bool(every and done // every > step.first_position // every)

    def _validate(self) -> None:
        """Validate, reduce the learning rate after a plateau, and save a checkpoint with its score."""
        self._flush()
        started_s = time.monotonic()
        sums, samples = validate(self.training.ocr, self.validation_loaders, self.config)
        metrics = collect_metrics(sums, self.config)
        score = float(metrics["validation_cer" if self.config.best_by == "cer" else "validation_loss"])
        best = self.state.best_score
        is_best = best is None or score <= best  # of equal scores the newer, which Ray Train keeps too
        of_training = self.state.since_validation.to_metrics()
        best_score = score if best is None else min(best, score)
        record = {
            **self._describe("validation"),
            **{f"train_{name}": value for name, value in of_training.items()},
            **metrics,
            "score": score,
            "is_best": int(is_best),
            "best_score": best_score,
        }
        if self.config.lr_schedule == "plateau":
            self.training.scheduler.step(score)
        state = self.state
        is_epoch_end = state.lines_done == self.loader.num_lines
        self.state = replace(
            state,
            epoch=state.epoch + is_epoch_end,
            lines_done=0 if is_epoch_end else state.lines_done,
            seconds=state.seconds + time.monotonic() - started_s,
            since_validation=Throughput(),
            best_score=best_score,
            best_lines=state.lines if is_best else state.best_lines,
            samples=[*state.samples, *({"lines": state.lines, **sample} for sample in samples)],
        )
        self._add_record(record)
        if self.training.rank == 0:
            _log_validation(record, self.config)
        self._save(record)

    def _poll(self) -> None:
        """Agree with all ranks, about once a second, on whether to save a checkpoint or to stop."""
        if self.state.global_step < self.next_poll:
            return
        now_s, signal = time.monotonic(), self.hooks.poll()
        every_s = 60 * self.config.checkpoint_every_minutes
        is_due = signal == "save" or (every_s > 0 and now_s - self.saved_s >= every_s)
        values = [is_due, signal == "stop", now_s - self.polled_s]
        save, stop, seconds = reduce_sums(values, self.training.ocr.device)
        steps = self.state.global_step - self.polled_step
        # `seconds` is a sum over ranks, so that all ranks compute the same rate and poll at the same step.
        steps_per_second = max(1, steps) * self.training.world_size / max(seconds, 1e-9)
        self.polled_s, self.polled_step = now_s, self.state.global_step
        self.next_poll = self.state.global_step + max(1, int(POLL_SECONDS * steps_per_second))
        self.is_stopped = bool(stop)
        if save or stop:
            self._flush()
            self._save(self._describe("checkpoint") | {"score": UNRATED})

    def _save(self, metrics: Metrics) -> None:
        with tempfile.TemporaryDirectory(prefix="ocr_ray-checkpoint-") as folder:
            save_checkpoint(Path(folder), self.training, self.state)
            self.hooks.report({**metrics, "epochs_done": self.state.epoch}, Path(folder))
        self.saved_s = time.monotonic()


def collect_metrics(sums: dict[str, ValidationSums], config: TrainConfig) -> Metrics:
    """Return the metrics over all validation lines and by dataset, and the loss that selects the best."""
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


def _timed(steps: Iterator[StepBatches]) -> Iterator[tuple[StepBatches, float]]:
    """Yield each step with the seconds spent waiting for it."""
    while True:
        started_s = time.monotonic()
        step = next(steps, None)
        if step is None:
            return
        yield step, time.monotonic() - started_s


def _log_validation(record: Metrics, config: TrainConfig) -> None:
    log.info(
        "epoch %d of %d, %d lines: train loss %.4f, validation loss %.4f, CER %.4f, %.0f lines/s%s",
        record["epoch"],
        config.epochs,
        record["lines"],
        record["train_loss"],
        record["validation_loss"],
        record["validation_cer"],
        record["train_lines_per_second"],
        ", the best so far" if record["is_best"] else "",
    )

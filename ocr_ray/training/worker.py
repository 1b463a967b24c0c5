"""One rank of a run: the function that every Ray Train worker runs."""

import logging
import os
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch

from ocr_ray.cluster.monitoring import monitoring
from ocr_ray.cluster.progress import show_training
from ocr_ray.cluster.stop_signal import StopSignal
from ocr_ray.cluster.worker_logs import relay_logs
from ocr_ray.errors import InputError, ProductionError
from ocr_ray.model.load import load_model, model_files
from ocr_ray.storage.location import Location, translate_errors
from ocr_ray.training.checkpoint import TrainState, name_file
from ocr_ray.training.config import TrainConfig, share_cores
from ocr_ray.training.loop import Hooks, Metrics, Signal, train
from ocr_ray.training.setup import TrainData
from ocr_ray.training.tracking.tracker import Tracker, format_progress

log = logging.getLogger(__name__)

PROGRESS_INTERVAL_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInputs:
    """The arguments of every worker."""

    data: TrainData
    lines_per_epoch: int
    model: Location | str
    """A folder, or a hub id."""
    config: TrainConfig
    run: Location
    events: bool
    """Whether to write files for TensorBoard."""
    stop: StopSignal
    logs: Any


def train_worker(settings: dict[str, Any]) -> None:
    """Train on one rank, from the latest checkpoint if there is one."""
    inputs: WorkerInputs = ray.get(settings["inputs"])
    is_first = ray.train.get_context().get_world_rank() == 0
    if is_first:
        relay_logs(inputs.logs)
    with (
        closing(_Recorder(inputs)) as recorder,
        model_files(inputs.model) as model_folder,
        ExitStack() as stack,
    ):
        hooks = Hooks(report=partial(_report, inputs.run), poll=_Poll(inputs.stop, is_first), record=recorder)
        ocr = load_model(model_folder, is_checked=True)
        ocr.network.to(ray.train.torch.get_device())
        resume_from = None
        if checkpoint := ray.train.get_checkpoint():
            with name_file(Path(tempfile.gettempdir())):  # where a checkpoint on S3 is copied to
                resume_from = Path(stack.enter_context(checkpoint.as_directory()))
        try:
            train(ocr, inputs.data, _share_cores(inputs.config), hooks=hooks, resume_from=resume_from)
        except InputError as error:  # a damaged image, found after work began
            raise ProductionError(f"{error}; leave the line out and make its dataset again") from error


def _share_cores(config: TrainConfig) -> TrainConfig:
    """Return the configuration with the number of loader threads for the workers of this node."""
    if config.loader_threads is not None:
        return config
    context = ray.train.get_context()
    threads = share_cores(
        os.cpu_count() or 1,
        context.get_local_world_size(),
        on_gpu=ray.train.torch.get_device().type == "cuda",
    )
    if context.get_world_rank() == 0:
        log.info("%d loader threads per worker", threads)
    return replace(config, loader_threads=threads)


def _report(run: Location, metrics: Metrics, folder: Path) -> None:
    with translate_errors(run):  # of copying the checkpoint, which do not name a file
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(str(folder)))


class _Poll:
    """Returns whether to stop, or to save a checkpoint because a node will soon be taken away.

    Training continues until the node is gone; Ray Train then restarts it from the checkpoint.
    """

    def __init__(self, stop: StopSignal, is_first: bool) -> None:
        self._stop, self._is_first = stop, is_first
        self._preempted: Any = None

    def __call__(self) -> Signal:
        preempted = ray.train.get_preemption_info()  # a barrier: all workers wait for each other here
        is_new = preempted is not None and preempted != self._preempted
        self._preempted = preempted
        if self._is_first and self._stop.is_set():
            return "stop"
        if is_new:
            log.warning("a node will be taken away: saving a checkpoint")
        return "save" if is_new else ""


class _Recorder:
    """Publishes the training records: Prometheus gauges, tracking files, and progress in the log."""

    def __init__(self, inputs: WorkerInputs) -> None:
        self._name, self._epochs = inputs.run.name, inputs.config.epochs
        self._lines_per_epoch = inputs.lines_per_epoch
        self._logged_s = time.monotonic()
        self._tracker = Tracker(inputs.run, events=inputs.events)

    def __call__(self, state: TrainState) -> None:
        show_training(self._name, state.history[-1])
        self._tracker.update(state.history, state.samples)
        now_s = time.monotonic()
        if state.history[-1]["kind"] == "train" and now_s - self._logged_s >= PROGRESS_INTERVAL_S:
            self._logged_s = now_s
            with monitoring("the progress in the log"):
                text = format_progress(
                    state.history, epochs=self._epochs, lines_per_epoch=self._lines_per_epoch
                )
                total = self._epochs * self._lines_per_epoch
                progress = {
                    "name": "training",
                    "done": state.lines,
                    "total": total,
                    "numbers": text.partition(" lines, ")[2],
                }
                log.info(text, extra={"progress": progress})

    def close(self) -> None:
        """Write pending records to the tracking files."""
        self._tracker.close()

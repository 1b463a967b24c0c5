"""One of several ranks of a run that saves a checkpoint within an epoch, and is killed two steps later.

For training/data/test_exactly_once.py. It writes the ids of the lines of each of its steps.
"""

import os
import signal
from pathlib import Path

import torch
import torch.distributed as dist
from builders.training_data import make_tiny_model

from ocr_ray.storage.location import locate
from ocr_ray.training import loop
from ocr_ray.training.config import TrainConfig
from ocr_ray.training.data.loader import StepBatches
from ocr_ray.training.data.row_groups import LineDataset
from ocr_ray.training.loop import Hooks, Metrics, Signal, train
from ocr_ray.training.setup import TrainData

CONFIG = TrainConfig(
    epochs=1,
    batch_size=2,
    global_batch_size=8,
    lr=1e-3,
    seed=3,
    checkpoint_every_minutes=0,
    max_generated_lines=1,
)
NUM_SAVED, NUM_KILLED = 3, 5
"""Steps after which the checkpoint is saved and the ranks are killed."""


class Watch:
    """Writes the lines that a rank sees to a file, and kills the rank."""

    def __init__(self, out: Path, rank: int, *, is_killed: bool) -> None:
        self.out, self.rank, self.is_killed = out, rank, is_killed
        self.num_steps = 0

    def step(self, step: StepBatches) -> None:
        if self.is_killed and self.num_steps == NUM_KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        self.num_steps += 1
        with (self.out / f"seen-{self.rank}.txt").open("a") as seen:
            for batch in step.batches:
                seen.writelines(f"{self.num_steps} {line_id}\n" for line_id in batch.line_ids)

    def poll(self) -> Signal:
        return "save" if self.is_killed and self.num_steps == NUM_SAVED else ""

    def report(self, metrics: Metrics, folder: Path) -> None:
        target = self.out / f"checkpoint-{metrics['lines']}"
        target.mkdir(exist_ok=True)
        for path in folder.iterdir():
            (target / path.name).write_bytes(path.read_bytes())
        if dist.is_initialized():
            dist.barrier()


def train_rank(
    out: Path, model: Path, folder: str, resume_from: Path | None, rank: int, world_size: int
) -> None:
    torch.set_num_threads(1)
    loop.POLL_SECONDS = 0.0
    if world_size > 1:
        rendezvous = f"file://{out}/rendezvous"
        dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=world_size)
    watch = Watch(out, rank, is_killed=resume_from is None)
    train(
        make_tiny_model(model),
        TrainData(datasets=(LineDataset(name="lines", folder=locate(folder)),)),
        CONFIG,
        hooks=Hooks(report=watch.report, poll=watch.poll, step=watch.step),
        resume_from=resume_from,
    )
    if world_size > 1:
        dist.destroy_process_group()

"""The two sides of the training benchmarks: our loop, and transformers' `Seq2SeqTrainer` as in its examples.

Both start from the files of a model and from encoded images. They are timed from the first step after the
warm-up to the last, always at the moment when a batch is ready, so that waiting for data counts and start-up
does not. Neither validates or saves while it is timed.
"""

import gc
import io
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import transformers
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    VisionEncoderDecoderModel,
)

from benchmarks.train_data import SEED, TrainInputs
from ocr_ray.model.load import load_model
from ocr_ray.model.options import Precision
from ocr_ray.model.pixels import to_pixel_values
from ocr_ray.model.precision import autocast
from ocr_ray.training.checkpoint import TrainState
from ocr_ray.training.config import TrainConfig
from ocr_ray.training.data.loader import LineLoader, StepBatches
from ocr_ray.training.data.row_groups import read_lines
from ocr_ray.training.loop import Hooks, Metrics, train
from ocr_ray.training.setup import open_splits
from ocr_ray.training.steps import line_losses

LR = 5e-5


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The settings of both sides."""

    inputs: TrainInputs
    global_batch_size: int
    num_steps: int
    """Steps that are timed."""
    warmup_steps: int
    num_threads: int = 1
    """Threads of torch in each process."""
    device: str = "cpu"
    precision: Precision = "fp32"
    flags: Mapping[str, Any] = field(default_factory=dict)
    """Fields of our `TrainConfig` that override this setup."""


class Enough(Exception):  # noqa: N818
    """Raised when all steps to be timed are done."""


@dataclass(kw_only=True)
class Clock:
    """Records when steps start; it waits for the GPU only at the first and the last."""

    setup: Setup
    num_started: int = 0
    times_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    """CPU time of the training thread."""

    def tick(self) -> None:
        """Record the time when a batch is ready; raise Enough after the last step to be timed."""
        is_end = self.num_started == self.setup.warmup_steps + self.setup.num_steps
        if is_end or self.num_started == self.setup.warmup_steps:
            if self.setup.device == "cuda":
                torch.cuda.synchronize()
            self.times_s.append(time.perf_counter())
            self.cpu_s.append(time.thread_time())
        if is_end:
            raise Enough
        self.num_started += 1

    def to_turn(self, feed_wait_share: float | None = None) -> "Turn":
        """Return the speed of the timed steps."""
        num_lines = self.setup.num_steps * self.setup.global_batch_size
        (started_s, ended_s), (started_cpu_s, ended_cpu_s) = self.times_s, self.cpu_s
        return Turn(
            lines_per_second=num_lines / (ended_s - started_s),
            lines_per_cpu_second=num_lines / (ended_cpu_s - started_cpu_s),
            feed_wait_share=feed_wait_share,
        )


@dataclass(frozen=True, kw_only=True)
class Turn:
    """The result of one turn of a side."""

    lines_per_second: float
    lines_per_cpu_second: float
    """Per CPU second of the training thread: the speed if nothing else ran and loading kept up."""
    feed_wait_share: float | None = None


def train_ours(setup: Setup, *, loader_threads: int, world_size: int = 1, clock: Clock | None = None) -> Turn:
    """Train with the loop of this package; each rank calls this."""
    clock, states = clock or Clock(setup=setup), [TrainState()]

    def step(_: StepBatches) -> None:
        clock.tick()

    def report(_: Metrics, __: Path) -> None:
        raise AssertionError("the dataset must have more lines than are trained on")

    usual: dict[str, Any] = {
        "epochs": 1,
        "batch_size": setup.global_batch_size // world_size,
        "global_batch_size": setup.global_batch_size,
        "lr": LR,
        "precision": setup.precision,
        "seed": SEED,
        "checkpoint_every_minutes": 0,
        "loader_threads": loader_threads,
    }
    config = TrainConfig(**usual | dict(setup.flags))
    ocr = load_model(setup.inputs.model)
    ocr.network.to(setup.device)
    hooks = Hooks(report=report, step=step, record=states.append)
    with suppress(Enough):
        train(ocr, setup.inputs.data, config, hooks=hooks)
    gc.collect()
    records = [record for record in states[-1].history if record["step"] > setup.warmup_steps]
    waits = [float(record["feed_wait_share"]) for record in records[1:]]  # the first started in the warm-up
    return clock.to_turn(round(sum(waits) / len(waits), 4) if waits else None)


def run_processes(setup: Setup, folder: Path, world_size: int) -> Turn:
    """Return the result of the first rank; each rank is a process."""
    with tempfile.TemporaryDirectory(dir=folder) as meeting:
        turns = run_apart(partial(_train_rank, setup, Path(meeting) / "ranks", world_size), world_size)
    first: Turn = turns[0]
    return first


def _train_rank(setup: Setup, meeting: Path, world_size: int, rank: int) -> Turn:
    torch.set_num_threads(setup.num_threads)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world_size)
    try:
        return train_ours(setup, loader_threads=1, world_size=world_size)
    finally:
        dist.destroy_process_group()


def run_apart(work: Callable[[int], Any], count: int) -> list[Any]:
    """Return `work(0)`, `work(1)`, …, each run in a new process at the same time."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        return list(pool.map(work, range(count)))


def count_flops_per_line(setup: Setup) -> float:
    """Return the floating-point operations of a forward and a backward pass, per line of a first batch."""
    ocr = load_model(setup.inputs.model)
    ocr.network.to(setup.device).train()
    loader = LineLoader(
        splits=tuple(open_splits(setup.inputs.data.datasets)[0]), ocr=ocr, batch_size=64, seed=SEED
    )
    with closing(loader.steps(0)) as steps:
        batch = next(steps).batches[0]
    pixel_values = to_pixel_values(ocr, batch.pixels, ocr.device)
    with FlopCounterMode(display=False) as counter:
        with autocast(setup.precision, ocr.device):
            loss = line_losses(ocr.network, pixel_values, batch.labels).sum()
        torch.autograd.backward(loss)
    operations: int = counter.get_total_flops()
    return operations / len(batch)


@dataclass(frozen=True, kw_only=True)
class EncodedLine:
    """A line as it is stored."""

    image_bytes: bytes
    text: str


def read_encoded(inputs: TrainInputs, count: int) -> list[EncodedLine]:
    """Return the first lines of the dataset in memory, so that reading costs the Trainer nothing."""
    groups = [group for split in open_splits(inputs.data.datasets)[0] for group in split.row_groups]
    stored = (line for group in groups for line in read_lines(group, "text") if line)
    return [EncodedLine(image_bytes=line.image_bytes, text=line.text) for line in islice(stored, count)]


class Collator:
    """Makes a batch with the model's own image processor and tokenizer."""

    def __init__(self, folder: Path) -> None:
        self.processor = AutoImageProcessor.from_pretrained(folder)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def __call__(self, lines: Sequence[EncodedLine]) -> dict[str, Any]:
        images = [Image.open(io.BytesIO(line.image_bytes)).convert("RGB") for line in lines]
        encoded = self.tokenizer([line.text for line in lines], padding=True, return_tensors="pt")
        return {
            "pixel_values": self.processor(images=images, return_tensors="pt").pixel_values,
            "labels": encoded.input_ids.masked_fill(encoded.attention_mask == 0, -100),
        }


class _Ticks(TrainerCallback):  # type: ignore[misc]
    """Ticks when the Trainer starts a step with its batch ready."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.clock.tick()


def train_theirs(setup: Setup, lines: Sequence[EncodedLine], *, num_workers: int, folder: Path) -> Turn:
    """Train with `Seq2SeqTrainer`; it writes nothing but an empty folder."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    clock = Clock(setup=setup)
    settings = Seq2SeqTrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=setup.global_batch_size,
        max_steps=setup.warmup_steps + setup.num_steps + 1,
        learning_rate=LR,
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        weight_decay=0.0,
        max_grad_norm=0.0,  # no clipping
        bf16=setup.precision == "bf16",
        use_cpu=setup.device == "cpu",
        dataloader_num_workers=num_workers,
        dataloader_persistent_workers=num_workers > 0,
        dataloader_prefetch_factor=4 if num_workers else None,
        dataloader_pin_memory=setup.device == "cuda",
        dataloader_drop_last=True,
        remove_unused_columns=False,
        logging_strategy="no",
        save_strategy="no",
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=SEED,
    )
    trainer = Seq2SeqTrainer(
        model=VisionEncoderDecoderModel.from_pretrained(setup.inputs.model, dtype=torch.float32),
        args=settings,
        data_collator=Collator(setup.inputs.model),
        train_dataset=lines,
        callbacks=[_Ticks(clock)],
    )
    with suppress(Enough):
        trainer.train()
    del trainer
    gc.collect()
    return clock.to_turn()

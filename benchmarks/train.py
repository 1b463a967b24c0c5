"""Speed and memory of training: `python -m benchmarks.train [--cases …] [--device cuda]`.

Every case is a line of JSON on standard output with `case` and `ratio`; notes go to standard error. The lines
are rendered squares of 384 px in JPEG, with labels of 5 to 30 Korean characters, 20 kB a line.

- `trainer_tiny`, `trainer_small`: our lines per second from encoded images on, divided by those of
  transformers' `Seq2SeqTrainer` with the model's own image processor in its collator. Both have the same
  model, global batch size, fused Adam without decay or clipping, constant learning rate, precision, number of
  steps and threads of torch. The Trainer has the best of three numbers of loader processes, ours one loader
  thread (GPU: 8, the least of the three). Its images are in memory, ours in Parquet. Ours sorts labels by
  length, as by default. All take turns, and the best turn of each counts. `ratio_of_cpu` is the ratio per
  second of CPU time of the training threads, by median turns: other work on the machine hardly changes it.
- `loader`: steps loaded from Parquet over the same steps held in memory, tiny model.
- `two_workers`: two processes over one at the same global batch size, gloo, tiny model.
- `memory`: growth of a process that loads 40,000 lines of a dataset of 1.6 GB, over the growth that
  `ocr_ray/training/data/loader.py` states.
- `small_64`, `small_128` (GPU): as `trainer_small`, in bf16 at that batch size, with
  `model_flops_utilisation`: the operations of products, convolutions and attention that PyTorch's
  `FlopCounterMode` counts in a forward and a backward pass, padding included, per second over
  `--peak-tflops`; and `feed_wait_share`, the share of time spent waiting for data.
"""

import statistics
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import psutil
import torch
import tyro

from benchmarks.train_data import (
    SEED,
    Size,
    TrainInputs,
    draw_lines,
    make_inputs,
    print_case,
    print_note,
    write_dataset,
)
from benchmarks.train_sides import (
    LR,
    Clock,
    Enough,
    Setup,
    Turn,
    count_flops_per_line,
    read_encoded,
    run_apart,
    run_processes,
    train_ours,
    train_theirs,
)
from ocr_ray.model.load import load_model
from ocr_ray.training.config import TrainConfig
from ocr_ray.training.setup import make_train_loader, open_splits, prepare
from ocr_ray.training.steps import apply_gradients, compute_gradients, make_blank_batch

Case = Literal["trainer_tiny", "trainer_small", "loader", "two_workers", "memory", "small_64", "small_128"]
CPU_CASES: tuple[Case, ...] = ("trainer_tiny", "trainer_small", "loader", "two_workers", "memory")
GPU_CASES: tuple[Case, ...] = ("small_64", "small_128")
STATED_GROWTH_MB = 370
"""Growth of a rank's process at world size 1; see `ocr_ray/training/data/loader.py`."""
MB = 1e6


@dataclass(frozen=True, kw_only=True)
class Config:
    """Measure training: against transformers' Trainer, the data loader, two workers, memory."""

    cases: tuple[Case, ...] = ()
    """Default: all cases of the device."""
    device: Literal["cpu", "cuda"] = "cpu"
    turns: int = 4
    """Turns of each side."""
    threads: int = 1
    """Threads of torch in each process."""
    num_lines: int = 76_800
    """Lines of the dataset; 1.6 GB."""
    num_drawn: int = 4096
    """Different lines among them."""
    peak_tflops: float = 989.0
    """Peak of the GPU in bf16 without sparsity; H100 and H200: 989, A100: 312."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """The inputs that all cases share."""

    config: Config
    folder: Path
    inputs: dict[Size, TrainInputs]

    def setup(self, size: Size, global_batch_size: int, num_steps: int, warmup_steps: int) -> Setup:
        return Setup(
            inputs=self.inputs[size],
            global_batch_size=global_batch_size,
            num_steps=num_steps,
            warmup_steps=warmup_steps,
            num_threads=self.config.threads,
            device=self.config.device,
        )


def take_turns(sides: dict[str, Callable[[], Turn]], num_turns: int) -> dict[str, Turn]:
    """Measure the sides in turns; return the best of each."""
    turns: dict[str, list[Turn]] = {name: [] for name in sides}
    for _ in range(num_turns):
        for name, side in sides.items():
            turn = side()
            turns[name].append(turn)
            rates = f"{turn.lines_per_second:.2f} lines/s, {turn.lines_per_cpu_second:.2f} per CPU second"
            print_note(f"  {name}: {rates}")
    return {name: _find_best(of_side) for name, of_side in turns.items()}


def _find_best(turns: list[Turn]) -> Turn:
    """Return the best wall time, because other work can only slow it down, and the median CPU time."""
    waits = [turn.feed_wait_share for turn in turns if turn.feed_wait_share is not None]
    return Turn(
        lines_per_second=max(turn.lines_per_second for turn in turns),
        lines_per_cpu_second=statistics.median(turn.lines_per_cpu_second for turn in turns),
        feed_wait_share=min(waits, default=None),
    )


def compare_trainers(context: Context, setup: Setup, case: Case) -> None:
    """Print a comparison of our loop with the Trainer."""
    workers = (0, 1, 2) if setup.device == "cpu" else (8, 12, 16)
    loader_threads = 1 if setup.device == "cpu" else 8
    lines = read_encoded(setup.inputs, (setup.warmup_steps + setup.num_steps + 2) * setup.global_batch_size)
    trainer = partial(train_theirs, setup, lines, folder=context.folder / "trainer")
    sides: dict[str, Callable[[], Turn]] = {"ours": partial(train_ours, setup, loader_threads=loader_threads)}
    sides |= {f"trainer, {number} loaders": partial(trainer, num_workers=number) for number in workers}
    turns = take_turns(sides, context.config.turns)
    ours = turns.pop("ours")
    best = max(turns, key=lambda name: turns[name].lines_per_second)
    values: dict[str, Any] = {
        "lines_per_second": round(ours.lines_per_second, 2),
        "trainer_lines_per_second": {name: round(t.lines_per_second, 2) for name, t in turns.items()},
        "feed_wait_share": ours.feed_wait_share,
        "batch": setup.global_batch_size,
        "precision": setup.precision,
    }
    if setup.device == "cuda":
        flops = count_flops_per_line(setup)
        utilisation = ours.lines_per_second * flops / (context.config.peak_tflops * 1e12)
        values |= {
            "gflops_per_line": round(flops / 1e9, 1),
            "model_flops_utilisation": round(utilisation, 4),
        }
    else:
        theirs = max(turn.lines_per_cpu_second for turn in turns.values())
        values["ratio_of_cpu"] = round(ours.lines_per_cpu_second / theirs, 3)
    print_case(case, ours.lines_per_second / turns[best].lines_per_second, best=best, **values)


def compare_loading(context: Context, setup: Setup) -> None:
    """Print the speed of steps loaded from Parquet over that of steps held in memory."""
    config = TrainConfig(batch_size=setup.global_batch_size, lr=LR, seed=SEED, loader_threads=1)
    ocr = load_model(setup.inputs.model)
    training = prepare(ocr, config)
    data = setup.inputs.data
    loader = make_train_loader(training, data, config, open_splits(data.datasets)[0])
    blank = make_blank_batch(ocr)
    num_steps = setup.warmup_steps + setup.num_steps
    with closing(loader.steps(0)) as steps:
        held = list(islice(steps, num_steps + 1))

    def run(steps: Any) -> Turn:
        clock = Clock(setup=setup)
        ocr.network.train()
        for step in steps:
            try:
                clock.tick()
            except Enough:
                break
            compute_gradients(ocr.network, training, step, blank=blank, config=config)
            apply_gradients(training, config)
        return clock.to_turn()

    def run_loaded() -> Turn:
        with closing(loader.steps(0)) as steps:
            return run(steps)

    turns = take_turns({"loaded": run_loaded, "held": lambda: run(iter(held))}, context.config.turns)
    loaded, from_memory = turns["loaded"], turns["held"]
    print_case(
        "loader",
        loaded.lines_per_second / from_memory.lines_per_second,
        loaded_lines_per_second=round(loaded.lines_per_second, 2),
        held_lines_per_second=round(from_memory.lines_per_second, 2),
        ratio_of_cpu=round(loaded.lines_per_cpu_second / from_memory.lines_per_cpu_second, 3),
    )


def compare_workers(context: Context, setup: Setup) -> None:
    """Print the speed of two processes over that of one."""
    sides: dict[str, Callable[[], Turn]] = {
        f"{world_size} processes": partial(run_processes, setup, context.folder, world_size)
        for world_size in (1, 2)
    }
    one, two = take_turns(sides, context.config.turns).values()
    rates = {"one": round(one.lines_per_second, 2), "two": round(two.lines_per_second, 2)}
    print_case(
        "two_workers",
        two.lines_per_second / one.lines_per_second,
        lines_per_second=rates,
        ratio_of_cpu=round(two.lines_per_cpu_second / one.lines_per_cpu_second, 3),
    )


def measure_memory(context: Context, setup: Setup) -> None:
    """Print the growth of a process that takes batches from the loader."""
    (grown_bytes,) = run_apart(partial(_drain_loader, setup), 1)
    dataset_bytes = sum(path.stat().st_size for path in context.folder.glob("lines/train/*.parquet"))
    print_case(
        "memory",
        grown_bytes / MB / STATED_GROWTH_MB,
        grown_mb=round(grown_bytes / MB),
        stated_mb=STATED_GROWTH_MB,
        dataset_mb=round(dataset_bytes / MB),
    )


def _drain_loader(setup: Setup, _: int) -> int:
    """Return the growth of this process in bytes while it takes steps and drops them."""
    torch.set_num_threads(setup.num_threads)
    ocr = load_model(setup.inputs.model)
    config = TrainConfig(batch_size=setup.global_batch_size, seed=SEED)
    data = setup.inputs.data
    loader = make_train_loader(prepare(ocr, config), data, config, open_splits(data.datasets)[0])
    process = psutil.Process()
    base = peak = process.memory_info().rss
    with closing(loader.steps(0)) as steps:
        for _step in islice(steps, setup.num_steps):
            peak = max(peak, process.memory_info().rss)
    growth: int = peak - base
    return growth


def run_case(case: Case, context: Context) -> None:
    """Measure and print a case."""
    print_note(case)
    match case:
        case "trainer_tiny":
            compare_trainers(context, context.setup("tiny", 16, num_steps=30, warmup_steps=6), case)
        case "trainer_small":
            compare_trainers(context, context.setup("small", 4, num_steps=3, warmup_steps=1), case)
        case "loader":
            compare_loading(context, context.setup("tiny", 16, num_steps=50, warmup_steps=10))
        case "two_workers":
            compare_workers(context, context.setup("tiny", 16, num_steps=40, warmup_steps=10))
        case "memory":
            measure_memory(context, context.setup("tiny", 16, num_steps=2500, warmup_steps=0))
        case "small_64" | "small_128":
            batch = int(case.removeprefix("small_"))
            setup = context.setup("small", batch, num_steps=50, warmup_steps=15)
            compare_trainers(context, replace(setup, precision="bf16"), case)


def main() -> None:
    """Make the datasets and models, and run the cases."""
    config = tyro.cli(Config, description=__doc__)
    if config.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda needs an NVIDIA GPU and a build of torch for it")
    torch.set_num_threads(config.threads)
    cases = config.cases or (CPU_CASES if config.device == "cpu" else GPU_CASES)
    sizes: set[Size] = {"small" if "small" in case else "tiny" for case in cases}
    with tempfile.TemporaryDirectory(prefix="ocr_ray-bench-") as name:
        folder = Path(name)
        dataset = write_dataset(folder / "lines", draw_lines(config.num_drawn), config.num_lines)
        inputs = {size: make_inputs(folder, dataset, size) for size in sorted(sizes)}
        context = Context(config=config, folder=folder, inputs=inputs)
        for case in cases:
            run_case(case, context)


if __name__ == "__main__":
    main()

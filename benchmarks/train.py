"""How fast training is, and what it holds: `python -m benchmarks.train [--cases …] [--device cuda]`.

Every case is a line of JSON on standard output with `case` and `ratio`; notes go to standard error. Lines are
rendered squares of 384 px in JPEG, labels of 5 to 30 Korean characters, 20 kB a line.

- `trainer_tiny`, `trainer_small`: lines per second from encoded images on, ours over transformers'
  `Seq2SeqTrainer` with the model's own image processor in its collator. Both have the same model, global
  batch, fused Adam without decay or clipping, constant learning rate, precision, steps and threads of
  torch. The Trainer has the best of three numbers of loader processes, ours one loader thread (GPU: 8, as the
  least of the three); its images are in memory, ours in Parquet. Ours puts labels of like length together, as
  it does by default. All take turns; the best of each counts. `ratio_of_cpu` is the same per second of CPU
  time of the training threads alone, by median turns: other work on the machine changes it little.
- `loader`: steps loaded from Parquet over the same steps held in memory, tiny model.
- `two_workers`: two processes over one at the same global batch, gloo, tiny model.
- `memory`: how much a process grows that takes 40,000 lines from the loader of a dataset of 1.6 GB, over the
  growth that `ocr_ray/training/data/loader.py` states.
- `small_64`, `small_128` (GPU): as `trainer_small`, in bf16 at that batch, with `model_flops_utilisation`:
  operations of products, convolutions and attention that PyTorch's `FlopCounterMode` counts in a forward and
  a backward pass, padding included, per second over `--peak-tflops`; and `feed_wait_share`.
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
    Material,
    Size,
    draw_lines,
    make_material,
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
"""Of a rank's process at world size 1; see `ocr_ray/training/data/loader.py`."""
MB = 1e6


@dataclass(frozen=True, kw_only=True)
class Config:
    """Measure training: against transformers' Trainer, its loader, two workers, its memory."""

    cases: tuple[Case, ...] = ()
    """None: all of the device."""
    device: Literal["cpu", "cuda"] = "cpu"
    turns: int = 4
    """Of each side."""
    threads: int = 1
    """Of torch in a process."""
    num_lines: int = 76_800
    """Of the dataset; 1.6 GB."""
    num_drawn: int = 4096
    """Different ones among them."""
    peak_tflops: float = 989.0
    """Of the GPU in bf16 without sparsity; H100 and H200: 989, A100: 312."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What the cases of a run share."""

    config: Config
    folder: Path
    materials: dict[Size, Material]

    def setup(self, size: Size, global_batch_size: int, num_steps: int, warmup_steps: int) -> Setup:
        return Setup(
            material=self.materials[size],
            global_batch_size=global_batch_size,
            num_steps=num_steps,
            warmup_steps=warmup_steps,
            num_threads=self.config.threads,
            device=self.config.device,
        )


def take_turns(sides: dict[str, Callable[[], Turn]], num_turns: int) -> dict[str, Turn]:
    """Let the sides take turns, one after the other; return what each gave."""
    turns: dict[str, list[Turn]] = {name: [] for name in sides}
    for _ in range(num_turns):
        for name, side in sides.items():
            turn = side()
            turns[name].append(turn)
            rates = f"{turn.lines_per_second:.2f} lines/s, {turn.lines_per_cpu_second:.2f} per CPU second"
            print_note(f"  {name}: {rates}")
    return {name: _find_best(some) for name, some in turns.items()}


def _find_best(turns: list[Turn]) -> Turn:
    """Return the best wall time, which what else runs can only spoil, and the median CPU time."""
    waits = [turn.feed_wait_share for turn in turns if turn.feed_wait_share is not None]
    return Turn(
        lines_per_second=max(turn.lines_per_second for turn in turns),
        lines_per_cpu_second=statistics.median(turn.lines_per_cpu_second for turn in turns),
        feed_wait_share=min(waits, default=None),
    )


def compare_trainers(scene: Scene, setup: Setup, case: Case) -> None:
    """Print a case of ours against the Trainer."""
    workers = (0, 1, 2) if setup.device == "cpu" else (8, 12, 16)
    loader_threads = 1 if setup.device == "cpu" else 8
    lines = read_encoded(setup.material, (setup.warmup_steps + setup.num_steps + 2) * setup.global_batch_size)
    trainer = partial(train_theirs, setup, lines, folder=scene.folder / "trainer")
    sides: dict[str, Callable[[], Turn]] = {"ours": partial(train_ours, setup, loader_threads=loader_threads)}
    sides |= {f"trainer, {number} loaders": partial(trainer, num_workers=number) for number in workers}
    turns = take_turns(sides, scene.config.turns)
    ours = turns.pop("ours")
    best = max(turns, key=lambda name: turns[name].lines_per_second)
    figures: dict[str, Any] = {
        "lines_per_second": round(ours.lines_per_second, 2),
        "trainer_lines_per_second": {name: round(t.lines_per_second, 2) for name, t in turns.items()},
        "feed_wait_share": ours.feed_wait_share,
        "batch": setup.global_batch_size,
        "precision": setup.precision,
    }
    if setup.device == "cuda":
        flops = count_flops_per_line(setup)
        utilisation = ours.lines_per_second * flops / (scene.config.peak_tflops * 1e12)
        figures |= {
            "gflops_per_line": round(flops / 1e9, 1),
            "model_flops_utilisation": round(utilisation, 4),
        }
    else:
        theirs = max(turn.lines_per_cpu_second for turn in turns.values())
        figures["ratio_of_cpu"] = round(ours.lines_per_cpu_second / theirs, 3)
    print_case(case, ours.lines_per_second / turns[best].lines_per_second, best=best, **figures)


def compare_loading(scene: Scene, setup: Setup) -> None:
    """Print how much slower steps are that come from Parquet than those that are there already."""
    config = TrainConfig(batch_size=setup.global_batch_size, lr=LR, seed=SEED, loader_threads=1)
    ocr = load_model(setup.material.model)
    training = prepare(ocr, config)
    data = setup.material.data
    loader = make_train_loader(training, data, config, open_splits(data.datasets)[0])
    blank = make_blank_batch(ocr)
    num_steps = setup.warmup_steps + setup.num_steps
    with closing(loader.steps(0)) as steps:
        held = list(islice(steps, num_steps + 1))

    def run(steps: Any) -> Turn:
        clock = Clock(setup=setup)
        ocr.network.train()
        for number, step in enumerate(steps):
            try:
                clock.tick()
            except Enough:
                break
            compute_gradients(ocr.network, training, step, blank=blank, config=config)
            apply_gradients(training, config, number)
        return clock.to_turn()

    def run_fed() -> Turn:
        with closing(loader.steps(0)) as steps:
            return run(steps)

    turns = take_turns({"fed": run_fed, "held": lambda: run(iter(held))}, scene.config.turns)
    fed, from_memory = turns["fed"], turns["held"]
    print_case(
        "loader",
        fed.lines_per_second / from_memory.lines_per_second,
        fed_lines_per_second=round(fed.lines_per_second, 2),
        held_lines_per_second=round(from_memory.lines_per_second, 2),
        ratio_of_cpu=round(fed.lines_per_cpu_second / from_memory.lines_per_cpu_second, 3),
    )


def compare_workers(scene: Scene, setup: Setup) -> None:
    """Print what two processes give over one."""
    sides: dict[str, Callable[[], Turn]] = {
        f"{world_size} processes": partial(run_processes, setup, scene.folder, world_size)
        for world_size in (1, 2)
    }
    one, two = take_turns(sides, scene.config.turns).values()
    rates = {"one": round(one.lines_per_second, 2), "two": round(two.lines_per_second, 2)}
    print_case(
        "two_workers",
        two.lines_per_second / one.lines_per_second,
        lines_per_second=rates,
        ratio_of_cpu=round(two.lines_per_cpu_second / one.lines_per_cpu_second, 3),
    )


def measure_memory(scene: Scene, setup: Setup) -> None:
    """Print how much a process grows that takes batches from the loader."""
    (grown_bytes,) = run_apart(partial(_drain_loader, setup), 1)
    dataset_bytes = sum(path.stat().st_size for path in scene.folder.glob("lines/train/*.parquet"))
    print_case(
        "memory",
        grown_bytes / MB / STATED_GROWTH_MB,
        grown_mb=round(grown_bytes / MB),
        stated_mb=STATED_GROWTH_MB,
        dataset_mb=round(dataset_bytes / MB),
    )


def _drain_loader(setup: Setup, _: int) -> int:
    """Return by how many bytes this process grows while it takes steps and drops them."""
    torch.set_num_threads(setup.num_threads)
    ocr = load_model(setup.material.model)
    config = TrainConfig(batch_size=setup.global_batch_size, seed=SEED)
    data = setup.material.data
    loader = make_train_loader(prepare(ocr, config), data, config, open_splits(data.datasets)[0])
    process = psutil.Process()
    base = peak = process.memory_info().rss
    with closing(loader.steps(0)) as steps:
        for _step in islice(steps, setup.num_steps):
            peak = max(peak, process.memory_info().rss)
    growth: int = peak - base
    return growth


def run_case(case: Case, scene: Scene) -> None:
    """Measure a case and print it."""
    print_note(case)
    match case:
        case "trainer_tiny":
            compare_trainers(scene, scene.setup("tiny", 16, num_steps=30, warmup_steps=6), case)
        case "trainer_small":
            compare_trainers(scene, scene.setup("small", 4, num_steps=3, warmup_steps=1), case)
        case "loader":
            compare_loading(scene, scene.setup("tiny", 16, num_steps=50, warmup_steps=10))
        case "two_workers":
            compare_workers(scene, scene.setup("tiny", 16, num_steps=40, warmup_steps=10))
        case "memory":
            measure_memory(scene, scene.setup("tiny", 16, num_steps=2500, warmup_steps=0))
        case "small_64" | "small_128":
            batch = int(case.removeprefix("small_"))
            setup = scene.setup("small", batch, num_steps=50, warmup_steps=15)
            compare_trainers(scene, replace(setup, precision="bf16"), case)


def main() -> None:
    """Make what is measured on, and measure."""
    config = tyro.cli(Config, description=__doc__)
    if config.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda needs an NVIDIA GPU and a build of torch for it, here is none")
    torch.set_num_threads(config.threads)
    cases = config.cases or (CPU_CASES if config.device == "cpu" else GPU_CASES)
    sizes: set[Size] = {"small" if "small" in case else "tiny" for case in cases}
    with tempfile.TemporaryDirectory(prefix="ocr_ray-bench-") as name:
        folder = Path(name)
        dataset = write_dataset(folder / "lines", draw_lines(config.num_drawn), config.num_lines)
        materials = {size: make_material(folder, dataset, size) for size in sorted(sizes)}
        scene = Scene(config=config, folder=folder, materials=materials)
        for case in cases:
            run_case(case, scene)


if __name__ == "__main__":
    main()

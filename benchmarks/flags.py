"""The effect of each training flag on speed: `python -m benchmarks.flags [--size small]`.

A line of JSON for each flag on standard output; `ratio` is lines per CPU second of the training thread with
the flag over without it, by median turns, everything else the same: threads of torch, the model of
`benchmarks.train`, lines of 5 to 30 characters. `--augment` works in the loader's thread: its ratio is of all
lines per second. All take turns.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
import tyro

from benchmarks.train import take_turns
from benchmarks.train_data import Size, draw_lines, make_inputs, print_case, write_dataset
from benchmarks.train_sides import Setup, Turn, train_ours

NUM_DRAWN = 1024
NUM_LINES = 20_480


@dataclass(frozen=True, kw_only=True)
class Config:
    """Measure the effect of flags on the speed of training on a CPU."""

    size: Size = "tiny"
    turns: int = 3
    """Turns of each flag."""
    threads: int = 1
    """Threads of torch."""


def list_setups(usual: Setup, batch_size: int) -> dict[str, Setup]:
    """Return the setup of each flag, and one without any flag."""
    shuffled = {"batch_by_length": False}
    return {
        "none": usual,
        "--no-batch-by-length": replace(usual, flags=shuffled),
        "--precision bf16": replace(usual, precision="bf16"),
        "--max-grad-norm 1": replace(usual, flags={"max_grad_norm": 1.0}),
        "--augment": replace(usual, flags={"augment": True}),
        f"--global-batch-size {4 * batch_size}": replace(
            usual,
            global_batch_size=4 * batch_size,
            num_steps=max(1, usual.num_steps // 4),
            warmup_steps=max(1, usual.warmup_steps // 4),
            flags={"batch_size": batch_size},
        ),
    }


def main() -> None:
    """Run the benchmark."""
    config = tyro.cli(Config, description=__doc__)
    torch.set_num_threads(config.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = [replace(line, source="page") for line in draw_lines(NUM_DRAWN)]
        inputs = make_inputs(folder, write_dataset(folder / "lines", lines, NUM_LINES), config.size)
        batch_size, num_steps, warmup_steps = (16, 24, 4) if config.size == "tiny" else (4, 4, 1)
        usual = Setup(
            inputs=inputs,
            global_batch_size=batch_size,
            num_steps=num_steps,
            warmup_steps=warmup_steps,
            num_threads=config.threads,
        )
        sides: dict[str, Callable[[], Turn]] = {
            flag: partial(train_ours, setup, loader_threads=1)
            for flag, setup in list_setups(usual, batch_size).items()
        }
        turns = take_turns(sides, config.turns)
        without = turns.pop("none")
        for flag, turn in turns.items():
            by_wall = turn.lines_per_second / without.lines_per_second
            by_cpu = turn.lines_per_cpu_second / without.lines_per_cpu_second
            print_case(
                flag,
                by_wall if flag == "--augment" else by_cpu,
                lines_per_second=round(turn.lines_per_second, 2),
                model=config.size,
                batch=batch_size,
            )


if __name__ == "__main__":
    main()

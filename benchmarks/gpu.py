"""All measurements and checks on a GPU: `python -m benchmarks.gpu --out DIR [--minutes 9]`.

Needs one NVIDIA GPU and a Korean font, and no network: the models are made on the spot, with random weights.
The work is divided into pieces. A call runs those that fit into its minutes; the next call with the same
`--out` goes on with the others. `DIR/results.json` and `DIR/results.md` hold what is done:

- `losses`, `resume`, `tokens`, `sync`: checks. Losses of compiled steps against uncompiled ones, and of bf16
  against fp32; a resumed run under `--deterministic` against an undisturbed one, bit for bit; the tokens of
  greedy reading against those of `generate`; ten steps without waiting for the GPU.
- `step_…`: a training step at a batch size, uncompiled and as by default: time, speed, share of the card's
  peak (see `model_flops_utilisation` of `benchmarks.train`), memory.
- `trainer_…`: training compared with transformers' Trainer, as in `benchmarks.train`.
- `reading_…`: reading compared with a plain loop, as in `benchmarks.evaluate`; `encoder`: the encoder alone.
- `profile`: the kernels that take most of a step.
- `job`: `train_trocr` from its command to its end; `rendering`: `render_lines` on all cores.

The last line of the output is JSON. The exit code is 1 if a piece failed or a check does not hold, 2 if
something that all pieces need is missing. `--device cpu --tiny` runs the same pieces on a CPU in minutes, to
test them.
"""

import logging
import multiprocessing
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from benchmarks.gpu_settings import Bench, Device
from benchmarks.pieces import LEFT, Piece, Results, call, find_open, run_piece, run_pieces
from ocr_ray.cli.run_job import run_job
from ocr_ray.errors import InputError, ProductionError

PREPARE_MINUTES = 2.0
MODULES = ["benchmarks.gpu_pieces", "benchmarks.gpu_checks"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Measure and check training, reading and rendering on a machine with a GPU."""

    out: str
    """Folder of the results; a call goes on with those of earlier calls."""
    minutes: float = 9.0
    """Time of this call."""
    pieces: tuple[str, ...] = ()
    """Pieces to run. Default: all."""
    retry: bool = False
    """Also run pieces that failed in an earlier call."""
    device: Device = "cuda"
    tiny: bool = False
    """Use a tiny model and few lines, to test the command."""
    peak_tflops: float | None = None
    """Peak of the card in bf16 without sparsity. Default: by its name, if it is a usual one."""


def list_pieces(bench: Bench) -> list[Piece]:
    """Return all pieces, with the most minutes that each may take."""
    sizes = bench.sizes
    table: list[tuple[str, str, float, tuple[Any, ...]]] = [
        ("losses", "gpu_checks:compare_losses", 3, ()),
        ("resume", "gpu_checks:compare_resumed", 2, ()),
        ("tokens", "gpu_checks:compare_tokens", 2, ()),
        ("sync", "gpu_checks:check_synchronisation", 2, ()),
        *((f"step_{batch}", "gpu_pieces:measure_step", 3, (batch,)) for batch in sizes.step_batches),
        *((f"trainer_{batch}", "gpu_pieces:compare_trainer", 5, (batch,)) for batch in sizes.trainer_batches),
        *(
            (f"reading_{batch or 'default'}", "gpu_pieces:measure_reading", 4, (batch,))
            for batch in sizes.reading_batches
        ),
        ("encoder", "gpu_pieces:measure_encoder", 2, ()),
        ("profile", "gpu_pieces:profile_step", 2, ()),
        ("job", "gpu_pieces:measure_job", 5, ()),
        ("rendering", "gpu_pieces:measure_rendering", 5, ()),
    ]
    return [
        Piece(name=name, work=partial(call, f"benchmarks.{function}", bench, *arguments), minutes=minutes)
        for name, function, minutes, arguments in table
    ]


def run_benchmark(config: Config) -> Mapping[str, Any]:
    """Run the pieces that are left and fit into the minutes; return a summary.

    Raises:
        InputError: a flag is wrong, the results are those of another machine, or a GPU, font or package is
            missing.
        ProductionError: a piece failed, now or in an earlier call, or a check does not hold.
    """
    end_s = time.monotonic() + 60 * config.minutes
    with tempfile.TemporaryDirectory(prefix="ocr_ray-gpu-") as folder:
        bench = Bench(
            folder=Path(folder),
            device=config.device,
            is_tiny=config.tiny,
            peak_tflops=config.peak_tflops,
        )
        pieces = list_pieces(bench)
        check_flags(config, pieces)
        results = Results.read(Path(config.out))
        chosen = [piece for piece in pieces if not config.pieces or piece.name in config.pieces]
        if to_do := find_open(chosen, results, retry=config.retry):
            os.environ["OMP_NUM_THREADS"] = "1"  # as Ray sets it for a worker
            # A fork of a process that has looked for a GPU, as libraries do when imported, cannot use it.
            context = multiprocessing.get_context("spawn" if config.device == "cuda" else "forkserver")
            context.set_forkserver_preload(MODULES)
            machine = prepare(bench, context)
            check_machine(results, machine)
            results.machine = machine
            results.pieces = {piece.name: results.pieces.get(piece.name, LEFT) for piece in pieces}
            results.write()
            run_pieces(to_do, results, end_s=end_s, context=context)
    return summarise(results)


def check_flags(config: Config, pieces: list[Piece]) -> None:
    """Check that the pieces exist and that each fits into the minutes."""
    names = [piece.name for piece in pieces]
    if unknown := [name for name in config.pieces if name not in names]:
        raise InputError(f"--pieces must be of {', '.join(names)}; got {unknown[0]}")
    least = PREPARE_MINUTES + max(piece.minutes for piece in pieces)
    if config.minutes < least:
        raise InputError(
            f"--minutes must be at least {least:g}, so that every piece fits, got {config.minutes:g}"
        )


def prepare(bench: Bench, context: BaseContext) -> dict[str, Any]:
    """Make the inputs of all pieces; return the machine."""
    work = partial(call, "benchmarks.gpu_pieces:prepare", bench)
    outcome = run_piece(Piece(name="prepare", work=work, minutes=PREPARE_MINUTES), context)
    if "error" in outcome:
        _, is_input, message = outcome["error"].partition("InputError: ")
        raise InputError(message) if is_input else ProductionError("\n".join(outcome["log"]))
    machine: dict[str, Any] = outcome["rows"][0]
    return machine


def check_machine(results: Results, machine: dict[str, Any]) -> None:
    """Raise InputError if earlier results are those of another machine."""
    for name, value in machine.items() if results.machine else ():
        if results.machine.get(name) != value:
            raise InputError(
                f"--out must hold results of the same machine, {name} was {results.machine.get(name)} "
                f"and is {value}; choose another folder"
            )


def summarise(results: Results) -> Mapping[str, Any]:
    """Return the summary of a call; raise ProductionError if a piece failed or a check does not hold."""
    failed, wrong = results.names_with("failed"), results.names_of_wrong()
    summary = {
        "results": str(results.folder / "results.json"),
        "done": len(results.names_with("done")),
        "failed": failed,
        "wrong": wrong,
        "left": results.names_with("left"),
    }
    if failed:
        raise ProductionError(f"pieces failed: {', '.join(failed)}; --retry runs them again", summary)
    if wrong:
        raise ProductionError(f"checks do not hold: {', '.join(wrong)}", summary)
    return summary


def main() -> None:
    """Run the benchmark."""
    run_job(Config, lambda: run_benchmark, prog="python -m benchmarks.gpu", description=__doc__ or "")


if __name__ == "__main__":
    main()

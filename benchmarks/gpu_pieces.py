"""The measurements of `benchmarks.gpu`: each function is a piece and returns the rows of its table."""

import io
import json
import os
import pickle
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.profiler import ProfilerActivity, profile

from benchmarks import evaluate, train
from benchmarks.gpu_settings import SIDES, Bench, count_loader_threads, find_peak_tflops
from benchmarks.pieces import Rows
from benchmarks.train_data import SEED, draw_lines, make_inputs, write_dataset
from benchmarks.train_sides import Clock, Enough, Setup, count_flops_per_line, train_ours
from ocr_ray.cli.flags import list_arguments
from ocr_ray.errors import InputError, require_package
from ocr_ray.model.load import load_model
from ocr_ray.model.precision import autocast
from ocr_ray.render.fonts.find import DEFAULT_FONTS, find_available_fonts

ROOT = Path(__file__).parent.parent
INPUTS = "inputs.pickle"
"""`TrainInputs`, with the lengths of all labels, as `train_trocr` gives them to its workers."""
NUM_KERNELS = 10
POLL_S = 0.1


def prepare(bench: Bench) -> Rows:
    """Check what the pieces need, write the dataset and the models that they share; return the machine.

    Raises:
        InputError: a GPU, a font or a package is missing.
    """
    if bench.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda needs an NVIDIA GPU and a build of torch for it; else: --device cpu")
    for package in ("accelerate", "psutil"):
        require_package(package, needed_by="benchmarks.gpu", install=package)
    try:
        find_available_fonts(DEFAULT_FONTS)
    except InputError as error:
        raise InputError(f"{error}, or pip install koreanize-matplotlib, whose font needs no root") from error
    sizes = bench.sizes
    dataset = write_dataset(bench.folder / "lines", draw_lines(sizes.drawn_lines), sizes.lines)
    (bench.folder / INPUTS).write_bytes(pickle.dumps(make_inputs(bench.folder, dataset, sizes.model)))
    write_dataset(
        bench.folder / "few_lines", draw_lines(sizes.check_batch), sizes.check_batch * sizes.check_steps
    )
    return [describe_machine(bench)]


def describe_machine(bench: Bench) -> dict[str, Any]:
    """Return what the results depend on."""
    facts: dict[str, Any] = {"card": "none", "driver": "none", "memory_gb": None}
    if bench.device == "cuda":
        driver = "unknown"  # some containers have no nvidia-smi
        if shutil.which("nvidia-smi"):
            query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
            driver = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
        memory_gb = round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1)
        facts = {"card": torch.cuda.get_device_name(0), "driver": driver, "memory_gb": memory_gb}
    return {
        **facts,
        "cores": len(os.sched_getaffinity(0)),
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "none",
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "peak_tflops": _find_peak(bench),
        "sizes": "tiny" if bench.is_tiny else "full",
    }


def _find_peak(bench: Bench) -> float | None:
    if bench.peak_tflops or bench.device == "cpu":
        return bench.peak_tflops
    return find_peak_tflops(torch.cuda.get_device_name(0))


def make_setup(bench: Bench, batch: int, side: str = "default", **steps: int) -> Setup:
    """Return the settings of a training of `benchmarks.train_sides`; `steps` replace the usual numbers."""
    sizes = bench.sizes
    steps = {"num_steps": sizes.timed_steps, "warmup_steps": sizes.warmup_steps} | steps
    return Setup(
        inputs=pickle.loads((bench.folder / INPUTS).read_bytes()),
        global_batch_size=batch,
        device=bench.device,
        precision=bench.precision,
        flags=SIDES[side],
        **steps,
    )


def measure_step(bench: Bench, batch: int) -> Rows:
    """Return the speed and memory of a training step, without and with compilation."""
    peak_tflops = _find_peak(bench)
    flops = count_flops_per_line(make_setup(bench, batch)) if peak_tflops else 0.0
    rows = []
    for side in SIDES:
        if bench.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        setup, started_s = make_setup(bench, batch, side), time.perf_counter()
        turn = train_ours(setup, loader_threads=count_loader_threads(bench.device))
        timed_s = setup.num_steps * batch / turn.lines_per_second
        memory = torch.cuda.max_memory_allocated() if bench.device == "cuda" else None
        share = turn.lines_per_second * flops / (peak_tflops * 1e12) if peak_tflops else None
        rows.append(
            {
                "batch": batch,
                "side": side,
                "ms_per_step": round(1e3 * timed_s / setup.num_steps, 1),
                "lines_per_s": round(turn.lines_per_second, 1),
                "share_of_peak": None if share is None else round(share, 4),
                "feed_wait_share": turn.feed_wait_share,
                "peak_memory_gb": None if memory is None else round(memory / 1e9, 2),
                "warm_up_s": round(time.perf_counter() - started_s - timed_s, 1),
            }
        )
    return rows


def compare_trainer(bench: Bench, batch: int) -> Rows:
    """Return the speed of our training over that of transformers' Trainer."""
    config = train.Config(device=bench.device, turns=bench.sizes.turns)
    context = train.Context(config=config, folder=bench.folder, inputs={})
    setup = make_setup(bench, batch, num_steps=bench.sizes.trainer_steps)
    case = capture_case(lambda: train.compare_trainers(context, setup, "trainer_small"))
    row = {"batch": batch, "ratio": case["ratio"], "lines_per_s": case["lines_per_second"]}
    theirs = case["trainer_lines_per_second"]
    return [row | theirs | {"feed_wait_share": case["feed_wait_share"]}]


def measure_reading(bench: Bench, batch: int | None) -> Rows:
    """Return the speed of reading lines, and that of the plain loop over `generate`."""
    config = evaluate.Config(
        device=bench.device, batch_size=batch, lines=bench.sizes.read_lines, turns=bench.sizes.turns
    )
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        case = capture_case(lambda: evaluate.measure(config, bench.sizes.model, Path(folder)))
    rates = case["lines_per_second"]
    return [
        {
            "batch": case["batch"],
            "chosen_by": "flag" if batch else "default",
            "lines_per_s": rates["ours"],
            "plain_lines_per_s": rates["plain"],
            "ratio": case["ratio"],
            "same_readings": case["same_readings"],
        }
    ]


def capture_case(work: Callable[[], None]) -> dict[str, Any]:
    """Return the case that another benchmark prints as a line of JSON."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        work()
    case: dict[str, Any] = json.loads(printed.getvalue())
    return case


def measure_encoder(bench: Bench) -> Rows:
    """Return the speed of the encoder alone, without gradients: the most that reading can reach."""
    sizes, ocr = bench.sizes, load_model(bench.folder / bench.sizes.model)
    ocr.network.to(bench.device).eval()

    def encode(pixel_values: torch.Tensor, count: int) -> float:
        with torch.inference_mode(), autocast(bench.precision, ocr.device):
            for _ in range(count):
                ocr.network.encoder(pixel_values)
        _wait(bench)
        return time.perf_counter()

    rows = []
    for batch in sizes.encoder_batches:
        pixel_values = torch.rand(batch, 3, 384, 384, device=bench.device)
        started_s = encode(pixel_values, sizes.warmup_steps)
        seconds = encode(pixel_values, sizes.timed_steps) - started_s
        rows.append({"batch": batch, "lines_per_s": round(sizes.timed_steps * batch / seconds, 1)})
    return rows


def _wait(bench: Bench) -> None:
    if bench.device == "cuda":
        torch.cuda.synchronize()


@dataclass(kw_only=True)
class ProfilingClock(Clock):
    """Profiles the steps that it times."""

    profiler: profile

    def tick(self) -> None:
        if self.num_started == self.setup.warmup_steps:
            self.profiler.start()
        try:
            super().tick()
        except Enough:
            self.profiler.stop()
            raise


def profile_step(bench: Bench) -> Rows:
    """Return where the time of a training step goes: all kernels, and the largest ones."""
    batch, num_steps = bench.sizes.profile_batch, bench.sizes.timed_steps
    is_gpu = bench.device == "cuda"
    setup = make_setup(bench, batch)
    profiler = profile(activities=[ProfilerActivity.CUDA if is_gpu else ProfilerActivity.CPU])
    clock = ProfilingClock(setup=setup, profiler=profiler)
    turn = train_ours(setup, loader_threads=count_loader_threads(bench.device), clock=clock)
    times_ms: list[tuple[float, int, str]] = []
    for event in profiler.key_averages():
        taken_us = event.self_device_time_total if is_gpu else event.self_cpu_time_total
        if event.device_type.name == ("CUDA" if is_gpu else "CPU") and not event.is_user_annotation:
            times_ms.append((taken_us / 1e3 / num_steps, event.count, event.key))
    step_ms = 1e3 * batch / turn.lines_per_second
    all_ms, num_calls = sum(time_ms for time_ms, _, _ in times_ms), sum(count for _, count, _ in times_ms)
    largest = [("all", all_ms, num_calls)]
    largest += [
        (key[:80], time_ms, count) for time_ms, count, key in sorted(times_ms, reverse=True)[:NUM_KERNELS]
    ]
    return [
        {
            "kernel": key,
            "ms_per_step": round(time_ms, 2),
            "share_of_step": round(time_ms / step_ms, 3),
            "launches_per_step": round(count / num_steps, 1),
            "batch": batch,
        }
        for key, time_ms, count in largest
    ]


def measure_rendering(bench: Bench) -> Rows:
    """Return the speed of `render_lines` on all cores, and the time that does not depend on the lines."""
    (few, few_s), (many, many_s) = ((count, render(bench, count)[1]) for count in bench.sizes.rendered_lines)
    lines_per_s = (many - few) / (many_s - few_s)
    rows: Rows = [
        {"lines": count, "seconds": round(taken_s, 1)} for count, taken_s in ((few, few_s), (many, many_s))
    ]
    fixed_s = many_s - many / lines_per_s
    return [*rows, {"lines_per_s": round(lines_per_s, 1), "fixed_s": round(fixed_s, 1)}]


def render(bench: Bench, num_lines: int) -> tuple[Path, float]:
    """Render a dataset; return its folder and the seconds of the whole command."""
    fonts = {font.key: font.name for font in find_available_fonts(DEFAULT_FONTS)}
    folder = bench.folder / f"rendered-{num_lines}"
    started_s = time.perf_counter()
    flags = {"out-uri": folder, "num-lines": num_lines, "seed": SEED, "fonts": list(fonts.values())}
    subprocess.run(job_command("render_lines", flags | {"validation-share": 0.05}), cwd=ROOT, check=True)
    return folder, time.perf_counter() - started_s


def measure_job(bench: Bench) -> Rows:
    """Return the speed of `train_trocr` from its command to its end, with the time to its first record."""
    lines, _ = render(bench, bench.sizes.rendered_lines[0])
    flags: dict[str, Any] = {
        "lines-uri": lines,
        "model": bench.folder / bench.sizes.model,
        "run-name": "run",
        "runs-uri": bench.folder / "runs",
        "models-uri": bench.folder / "models",
        "num-workers": 1,
        "use-gpu": bench.device == "cuda",
        "epochs": 3,
        "batch-size": bench.sizes.job_batch,
    }
    metrics = bench.folder / "runs/run/metrics.jsonl"
    started_s, first_s = time.perf_counter(), None
    job = subprocess.Popen(job_command("train_trocr", flags), cwd=ROOT)
    while job.poll() is None:
        if first_s is None and metrics.exists():
            first_s = round(time.perf_counter() - started_s, 1)
        time.sleep(POLL_S)
    total_s = time.perf_counter() - started_s
    if job.returncode:
        raise RuntimeError(f"train_trocr ended with exit code {job.returncode}")
    records = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    last = [record for record in records if record["kind"] == "validation"][-1]
    return [
        {
            "lines": last["lines"],
            "batch": bench.sizes.job_batch,
            "lines_per_s": round(last["train_lines_per_second"], 1),
            "feed_wait_share": round(last["train_feed_wait_share"], 4),
            "first_record_s": first_s,
            "training_s": last["seconds"],
            "total_s": round(total_s, 1),
        }
    ]


def job_command(name: str, flags: Mapping[str, Any]) -> list[str]:
    """Return the command of a job; what it prints goes to the log of the piece."""
    return [sys.executable, "-m", f"jobs.{name}", *list_arguments(flags)]

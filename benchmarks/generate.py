"""The overhead of Ray: parts of rendered lines made by `produce`, and the same parts by plain processes.

    python -m benchmarks.generate

Both make the parts of the default recipe, with one process per CPU. They take turns of a few parts each, so
that a busy machine slows both. Ray is started before. A turn lasts from the start of its first part until
every process is ready for a part of the next turn; the number of parts is a multiple of the CPUs, so that no
CPU idles at the end. Two turns are not measured: the first, which loads modules and glyphs, and the last, so
that neither side cleans up while the other works. The last line of the output is JSON:

- `efficiency`: lines per second of `produce` / lines per second of plain processes; `efficiency_by_turn`: its
  variation on this machine; `background_cpus`: CPUs used by the driver and Ray in addition to the makers of
  parts. They are used during the turns of both sides, so `efficiency_with_background` subtracts them from the
  rate of `produce`;
- `cost_ratio`: cost per line of all lines / cost per line of few lines, both relative to plain processes at
  the same time; `cost_ratio_raw`: the same in seconds, which shows if the machine was slow for a while;
- `driver_rss_growth_mb`: from the first measured turn on; `worker_peak_rss_mb`: of the largest worker;
- `stub_seconds`: the time for a dataset with one ready line per part, like three million lines without the
  rendering; `stub_rerun_seconds`: the time to find that nothing is left to do.
"""

import io
import json
import logging
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray.data
import tyro
from PIL import Image

from benchmarks.watching import ResourceMonitor
from ocr_ray.cluster.produce import produce
from ocr_ray.cluster.produce_options import ProduceOptions
from ocr_ray.dataset.lines import FIRST_NUMBERS, PartSpec, Reject, TextLine
from ocr_ray.dataset.parts import read_part_footer, write_part
from ocr_ray.dataset.plan import Plan, cut_parts
from ocr_ray.render.config import RenderConfig
from ocr_ray.render.job import plan_rendering
from ocr_ray.render.lines import RenderInputs, render_part
from ocr_ray.storage.location import locate
from ocr_ray.text.hangul import KS_X_1001

LINES_PER_PART = RenderConfig(out_uri="").lines_per_part
WARM_UP_LINES = 4096
"""Lines per process that are not measured."""
ROUNDS_PER_TURN = 2
"""Parts per CPU in a turn."""
POLL_S = 0.01
CPUS = len(os.sched_getaffinity(0))
MB = 1e6


@dataclass(frozen=True, kw_only=True)
class Config:
    """Measure the overhead of Ray for a dataset of rendered lines."""

    num_lines: int = 100_000
    few_lines: int = 10_000
    """Lines of the smaller dataset to compare with; made once before and once after."""
    stub_parts: int = 733
    """Parts of the dataset without rendering; 733 correspond to three million lines."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Paced:
    """The shared inputs of all parts, and the turn of each."""

    inputs: RenderInputs
    folder: str
    """Folder of the files that open turns, and that record when each part was ready and when it started."""
    turns: dict[PartSpec, int]


def render_in_turn(shared: Paced, spec: PartSpec) -> Iterator[TextLine | Reject]:
    """Yield the lines of a part once its turn has come."""
    folder, turn = Path(shared.folder), shared.turns[spec]
    record_time(folder / f"ready-{turn}-{spec.index}")
    while not (folder / f"open-{turn}").exists():
        time.sleep(POLL_S)
    record_time(folder / f"started-{turn}-{spec.index}")
    yield from render_part(shared.inputs, spec)


def record_time(path: Path) -> None:
    """Write the time to a file, atomically."""
    partial = path.with_name(f".{path.name}")
    partial.write_text(str(time.time_ns()))
    partial.rename(path)


_process_inputs: list[tuple[str, str, Paced]] = []
"""The inputs of a plain process: URI of the dataset, its digest, the shared inputs of parts."""


def set_inputs(*values: Any) -> None:
    """Store the inputs of a plain process."""
    _process_inputs[:] = [values]


def write_in_process(spec: PartSpec) -> None:
    """Write a part, in a plain process."""
    ((uri, config_sha256, shared),) = _process_inputs
    write_part(locate(uri), spec, config_sha256, render_in_turn(shared, spec))


def produce_with_processes(uri: str, plan: Plan, shared: Paced) -> None:
    """Make all parts of a plan with plain processes."""
    spawn = multiprocessing.get_context("spawn")
    inputs = (uri, plan.config_sha256, shared)
    with ProcessPoolExecutor(CPUS, mp_context=spawn, initializer=set_inputs, initargs=inputs) as pool:
        list(pool.map(write_in_process, plan.parts))


def produce_with_ray(uri: str, plan: Plan, shared: Paced) -> None:
    """Make a whole dataset with `produce`."""
    produce(locate(uri), plan, render_in_turn, shared, ProduceOptions())


class Contestant:
    """A running production of the dataset, which pauses between turns."""

    def __init__(self, run: Any, folder: Path, plan: Plan, shared: Paced, pool: ThreadPoolExecutor) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.shared = replace(shared, folder=str(folder))
        self.running: Future[None] = pool.submit(run, str(folder / "lines"), plan, self.shared)

    def take_turn(self, turn: int) -> float:
        """Make the parts of a turn; return the seconds until all processes are ready for the next."""
        is_last = turn == max(self.shared.turns.values())
        (self.folder / f"open-{turn}").touch()
        while len(self._read_times(f"ready-{turn + 1}")) < CPUS and not (is_last and self.running.done()):
            if self.running.done():
                self.running.result()
                raise RuntimeError(f"parts of turn {turn + 1} must be left, all are made")
            time.sleep(POLL_S)
        ends_ns = [time.time_ns()] if is_last else self._read_times(f"ready-{turn + 1}")
        return round((max(ends_ns) - min(self._read_times(f"started-{turn}"))) / 1e9, 3)

    def open_all(self) -> None:
        """Open all turns, so that the remaining parts are made."""
        for turn in set(self.shared.turns.values()):
            (self.folder / f"open-{turn}").touch()

    def _read_times(self, prefix: str) -> list[int]:
        return [int(path.read_text()) for path in self.folder.glob(f"{prefix}-*")]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Seconds of each measured turn of both productions."""

    num_lines: int
    plain_s: tuple[float, ...]
    ray_s: tuple[float, ...]
    monitor: ResourceMonitor


def plan_turns(num_lines: int) -> dict[PartSpec, int]:
    """Return the turn of each part; the first and the last, of other splits, are not measured."""
    rounds = max(1, round(num_lines / LINES_PER_PART / CPUS))
    lines_per_part = -(-num_lines // (rounds * CPUS))
    warm_up = cut_parts("validation", FIRST_NUMBERS["validation"], CPUS * WARM_UP_LINES, WARM_UP_LINES)
    parts = cut_parts("train", 0, num_lines, lines_per_part)
    turns = {part: 1 + part.index // (ROUNDS_PER_TURN * CPUS) for part in parts}
    last = cut_parts("test", FIRST_NUMBERS["test"], CPUS, 1)
    return dict.fromkeys(warm_up, 0) | turns | dict.fromkeys(last, max(turns.values()) + 1)


def compare(num_lines: int) -> Measured:
    """Make the same dataset with plain processes and with Ray, in turns."""
    turns = plan_turns(num_lines)
    plan, inputs = plan_rendering(RenderConfig(out_uri="", num_lines=num_lines))
    plan = replace(plan, parts=tuple(turns))
    shared = Paced(inputs=inputs, folder="", turns=turns)
    monitor = ResourceMonitor()
    with tempfile.TemporaryDirectory() as name, ray_running(), ThreadPoolExecutor(2) as pool:
        runs = {"plain": produce_with_processes, "ray": produce_with_ray}
        contestants = {
            side: Contestant(run, Path(name) / side, plan, shared, pool) for side, run in runs.items()
        }
        monitor.start()
        turn_seconds = []
        try:
            for turn in range(max(turns.values()) + 1):
                order = list(contestants) if turn % 2 else list(contestants)[::-1]
                turn_seconds.append({side: contestants[side].take_turn(turn) for side in order})
                print_progress(f"{num_lines} lines, turn {turn}: {turn_seconds[-1]}")
                if turn == 0:
                    monitor.mark()
        finally:  # otherwise a part would wait for its turn forever after an error
            for contestant in contestants.values():
                contestant.open_all()
        monitor.stop()
        check_same_rows(plan, *(Path(name) / side / "lines" for side in contestants))
    return Measured(
        num_lines=num_lines,
        plain_s=tuple(turn["plain"] for turn in turn_seconds[1:-1]),
        ray_s=tuple(turn["ray"] for turn in turn_seconds[1:-1]),
        monitor=monitor,
    )


def check_same_rows(plan: Plan, *datasets: Path) -> None:
    """Check that both datasets have the same rows in every part."""
    for part in plan.parts:
        footers = [read_part_footer(locate(str(path)), part, plan.config_sha256) for path in datasets]
        if None in footers or len({footer[0].rows_sha256 for footer in footers if footer}) != 1:
            raise RuntimeError(f"both datasets must have the same rows, {part.path} differs")


@contextmanager
def ray_running() -> Iterator[None]:
    """Run Ray on this machine, without its dashboard."""
    ray.init(address="local", num_cpus=CPUS, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()


def make_stub(shared: TextLine, spec: PartSpec) -> Iterator[TextLine]:
    """Yield one ready line for the whole part."""
    yield replace(shared, line_id=f"{spec.start:09d}")


def measure_stub(num_parts: int) -> dict[str, float]:
    """Measure a dataset of `num_parts` parts without rendering, Ray being up."""
    image = io.BytesIO()
    Image.new("L", (384, 384), 255).save(image, "JPEG")
    text = "".join(KS_X_1001)  # the text statistics are as large as those of a real part
    texts = {"text": text, "markup": text, "source": "words"}
    line = TextLine(line_id="", image_bytes=image.getvalue(), width_px=384, height_px=384, **texts)
    parts = cut_parts("train", 0, num_parts * LINES_PER_PART, LINES_PER_PART)
    plan = Plan(config={"job": "stub"}, parts=tuple(parts))
    monitor, seconds = ResourceMonitor(), []
    with tempfile.TemporaryDirectory() as name, ray_running():
        make = partial(produce, locate(name), plan, make_stub, line, ProduceOptions())
        monitor.start()
        monitor.mark()
        for _ in range(2):
            started_s = time.monotonic()
            make()
            seconds.append(time.monotonic() - started_s)
        monitor.stop()
    return {
        "stub_parts": num_parts,
        "stub_seconds": round(seconds[0], 1),
        "stub_rerun_seconds": round(seconds[1], 1),
        "stub_driver_rss_growth_mb": round(monitor.driver_growth_bytes / MB, 1),
    }


def print_progress(text: str) -> None:
    """Print a line to standard error."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Run the benchmark and print its results."""
    logging.basicConfig(level=logging.WARNING)
    config = tyro.cli(Config)
    stub = measure_stub(config.stub_parts)
    print_progress(f"stub: {stub}")
    few = config.few_lines
    before, whole, after = (compare(number) for number in (few, config.num_lines, few))
    ray_s, plain_s = sum(whole.ray_s), sum(whole.plain_s)
    few_ray_s, few_plain_s = sum(before.ray_s + after.ray_s), sum(before.plain_s + after.plain_s)
    results = {
        "efficiency": round(plain_s / ray_s, 3),
        "efficiency_with_background": round(plain_s / ray_s * (1 - whole.monitor.background_cpus / CPUS), 3),
        "background_cpus": round(whole.monitor.background_cpus, 3),
        "efficiency_by_turn": [round(p / r, 2) for p, r in zip(whole.plain_s, whole.ray_s, strict=True)],
        "ray_lines_per_s": round(whole.num_lines / ray_s, 1),
        "plain_lines_per_s": round(whole.num_lines / plain_s, 1),
        "cpus": CPUS,
        "lines": whole.num_lines,
        "few_lines": few,
        "cost_ratio": round(ray_s / plain_s / (few_ray_s / few_plain_s), 3),
        "cost_ratio_raw": round(ray_s / whole.num_lines / (few_ray_s / (2 * few)), 3),
        "driver_rss_growth_mb": round(whole.monitor.driver_growth_bytes / MB, 1),
        "worker_peak_rss_mb": round(whole.monitor.worker_peak_bytes / MB, 1),
    }
    print(json.dumps(results | stub))


if __name__ == "__main__":
    main()

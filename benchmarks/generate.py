"""Overhead of Ray: the same parts of rendered lines, produced with Ray and by plain processes.

    python -m benchmarks.generate

Both produce the parts of the default recipe with as many processes as there are CPUs. They alternate in
turns of a few parts, so that a busy machine slows down both. Ray is started before. A turn lasts from the
start of its first part until every process is ready for a part of the next turn; the number of parts is a
multiple of the number of CPUs, so that none idles at the end. The first turn, which loads modules and
glyphs, and the last one, which keeps clean-up out of the other turns, do not count. The last line of the
output is JSON:

- `efficiency`: lines per second with Ray over those of the plain processes; `efficiency_by_turn`: its
  variation; `background_cpus`: CPUs used by the driver and Ray in addition to the processes that produce
  parts. Both kinds of turns bear that load, so `efficiency_with_background` charges it to Ray only;
- `cost_ratio`: cost per line for all lines over that for few lines, each relative to the plain processes at
  that time; `cost_ratio_raw`: the same in seconds, which also shows slow phases of the machine;
- `driver_rss_growth_mb`: since the start of the first counted turn; `worker_peak_rss_mb`: of the largest
  worker;
- `stub_seconds`: time of a dataset whose parts contain one ready line each, which is that of three million
  lines without rendering; `stub_rerun_seconds`: time of a second run, which has nothing to do.
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
"""Lines per process in the first turn, which does not count."""
PARTS_PER_TURN = 2
"""Parts per CPU in a turn."""
POLL_S = 0.01
CPUS = len(os.sched_getaffinity(0))
MB = 1e6


@dataclass(frozen=True, kw_only=True)
class Config:
    """Measure the overhead of Ray for a dataset of rendered lines."""

    num_lines: int = 100_000
    few_lines: int = 10_000
    """Number of lines for comparison, produced once before and once after."""
    stub_parts: int = 733
    """Parts of the dataset without rendering; 733 parts correspond to three million lines."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TurnInputs:
    """Inputs of all parts: those of the lines, and the turns of the parts."""

    inputs: RenderInputs
    folder: str
    """Folder of files that open the turns, and of the times when each part was ready and started."""
    turns: dict[PartSpec, int]


def render_in_turn(shared: TurnInputs, spec: PartSpec) -> Iterator[TextLine | Reject]:
    """Wait for the turn of a part, then yield its lines."""
    folder, turn = Path(shared.folder), shared.turns[spec]
    note_time(folder / f"ready-{turn}-{spec.index}")
    while not (folder / f"open-{turn}").exists():
        time.sleep(POLL_S)
    note_time(folder / f"started-{turn}-{spec.index}")
    yield from render_part(shared.inputs, spec)


def note_time(path: Path) -> None:
    """Write the time into a file atomically."""
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(str(time.time_ns()))
    unfinished.rename(path)


_process_inputs: list[tuple[str, str, TurnInputs]] = []
"""Inputs of a plain process, set when it starts: URI and digest of the dataset, and inputs of its parts."""


def start_process(*values: Any) -> None:
    """Set the inputs of a plain process."""
    _process_inputs[:] = [values]


def write_in_process(spec: PartSpec) -> None:
    """Write a part in a plain process."""
    ((uri, config_sha256, shared),) = _process_inputs
    write_part(locate(uri), spec, config_sha256, render_in_turn(shared, spec))


def produce_with_processes(uri: str, plan: Plan, shared: TurnInputs) -> None:
    """Produce all parts of a plan with plain processes."""
    spawn = multiprocessing.get_context("spawn")
    inputs = (uri, plan.config_sha256, shared)
    with ProcessPoolExecutor(CPUS, mp_context=spawn, initializer=start_process, initargs=inputs) as pool:
        list(pool.map(write_in_process, plan.parts))


def produce_with_ray(uri: str, plan: Plan, shared: TurnInputs) -> None:
    """Produce a whole dataset with Ray."""
    produce(locate(uri), plan, (render_in_turn, shared), ProduceOptions())


class Arm:
    """A running production of the dataset, by Ray or by plain processes, which pauses between turns."""

    def __init__(
        self, produce_parts: Any, folder: Path, plan: Plan, shared: TurnInputs, pool: ThreadPoolExecutor
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.shared = replace(shared, folder=str(folder))
        self.running: Future[None] = pool.submit(produce_parts, str(folder / "lines"), plan, self.shared)

    def take_turn(self, turn: int) -> float:
        """Produce the parts of a turn; return the seconds until all processes are ready for the next."""
        is_last = turn == max(self.shared.turns.values())
        (self.folder / f"open-{turn}").touch()
        while len(self._read_times(f"ready-{turn + 1}")) < CPUS and not (is_last and self.running.done()):
            if self.running.done():
                self.running.result()
                raise RuntimeError(f"there must be parts of turn {turn + 1}, but all parts are done")
            time.sleep(POLL_S)
        ends_ns = [time.time_ns()] if is_last else self._read_times(f"ready-{turn + 1}")
        return round((max(ends_ns) - min(self._read_times(f"started-{turn}"))) / 1e9, 3)

    def open_all(self) -> None:
        """Open all turns, so that the remaining parts are produced."""
        for turn in set(self.shared.turns.values()):
            (self.folder / f"open-{turn}").touch()

    def _read_times(self, what: str) -> list[int]:
        return [int(path.read_text()) for path in self.folder.glob(f"{what}-*")]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Seconds of each counted turn of a dataset, produced with both."""

    num_lines: int
    plain_s: tuple[float, ...]
    ray_s: tuple[float, ...]
    monitor: ResourceMonitor


def plan_turns(num_lines: int) -> dict[PartSpec, int]:
    """Return the turn of each part; the first and last turns, which do not count, use other splits."""
    rounds = max(1, round(num_lines / LINES_PER_PART / CPUS))
    lines_per_part = -(-num_lines // (rounds * CPUS))
    warm_up = cut_parts("validation", FIRST_NUMBERS["validation"], CPUS * WARM_UP_LINES, WARM_UP_LINES)
    parts = cut_parts("train", 0, num_lines, lines_per_part)
    turns = {part: 1 + part.index // (PARTS_PER_TURN * CPUS) for part in parts}
    last = cut_parts("test", FIRST_NUMBERS["test"], CPUS, 1)
    return dict.fromkeys(warm_up, 0) | turns | dict.fromkeys(last, max(turns.values()) + 1)


def compare(num_lines: int) -> Measured:
    """Produce the same dataset alternately with plain processes and with Ray."""
    turns = plan_turns(num_lines)
    plan, inputs = plan_rendering(RenderConfig(out_uri="", num_lines=num_lines))
    plan = replace(plan, parts=tuple(turns))
    shared = TurnInputs(inputs=inputs, folder="", turns=turns)
    monitor = ResourceMonitor()
    with tempfile.TemporaryDirectory() as name, run_ray(), ThreadPoolExecutor(2) as pool:
        functions = {"plain": produce_with_processes, "ray": produce_with_ray}
        arms = {
            arm: Arm(function, Path(name) / arm, plan, shared, pool) for arm, function in functions.items()
        }
        monitor.start()
        seconds = []
        try:
            for turn in range(max(turns.values()) + 1):
                order = list(arms) if turn % 2 else list(arms)[::-1]
                seconds.append({arm: arms[arm].take_turn(turn) for arm in order})
                log(f"{num_lines} lines, turn {turn}: {seconds[-1]}")
                if turn == 0:
                    monitor.mark()
        finally:  # without this, waiting processes would never end after an error
            for arm in arms.values():
                arm.open_all()
        monitor.stop()
        check_same_rows(plan, *(Path(name) / arm / "lines" for arm in arms))
    return Measured(
        num_lines=num_lines,
        plain_s=tuple(turn["plain"] for turn in seconds[1:-1]),
        ray_s=tuple(turn["ray"] for turn in seconds[1:-1]),
        monitor=monitor,
    )


def check_same_rows(plan: Plan, *folders: Path) -> None:
    """Check that both datasets have the same rows in every part."""
    for part in plan.parts:
        footers = [read_part_footer(locate(str(folder)), part, plan.config_sha256) for folder in folders]
        if None in footers or len({footer[0].rows_sha256 for footer in footers if footer}) != 1:
            raise RuntimeError(f"both datasets must have the same rows, {part.path} differs")


@contextmanager
def run_ray() -> Iterator[None]:
    """Run Ray on this machine, without its dashboard."""
    ray.init(address="local", num_cpus=CPUS, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()


def produce_stub(shared: TextLine, spec: PartSpec) -> Iterator[TextLine]:
    """Yield a single ready line for a part."""
    yield replace(shared, line_id=f"{spec.start:09d}")


def measure_stub(num_parts: int) -> dict[str, float]:
    """Measure a dataset of `num_parts` parts without rendering."""
    image = io.BytesIO()
    Image.new("L", (384, 384), 255).save(image, "JPEG")
    text = "".join(KS_X_1001)  # as many distinct characters to count as in a real part
    line = TextLine(
        line_id="",
        image_bytes=image.getvalue(),
        text=text,
        markup=text,
        source="words",
        width_px=384,
        height_px=384,
    )
    parts = cut_parts("train", 0, num_parts * LINES_PER_PART, LINES_PER_PART)
    plan = Plan(config={"job": "stub"}, parts=tuple(parts))
    monitor, seconds = ResourceMonitor(), []
    with tempfile.TemporaryDirectory() as name, run_ray():
        run = partial(produce, locate(name), plan, (produce_stub, line), ProduceOptions())
        monitor.start()
        monitor.mark()
        for _ in range(2):
            started_s = time.monotonic()
            run()
            seconds.append(time.monotonic() - started_s)
        monitor.stop()
    return {
        "stub_parts": num_parts,
        "stub_seconds": round(seconds[0], 1),
        "stub_rerun_seconds": round(seconds[1], 1),
        "stub_driver_rss_growth_mb": round(monitor.driver_growth_bytes / MB, 1),
    }


def log(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Run all measurements and print the results."""
    logging.basicConfig(level=logging.WARNING)
    config = tyro.cli(Config)
    stub = measure_stub(config.stub_parts)
    log(f"stub: {stub}")
    few = config.few_lines
    before, whole, after = (compare(number) for number in (few, config.num_lines, few))
    ray_s, plain_s = sum(whole.ray_s), sum(whole.plain_s)
    few_ray_s, few_plain_s = sum(before.ray_s + after.ray_s), sum(before.plain_s + after.plain_s)
    values = {
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
    print(json.dumps(values | stub))


if __name__ == "__main__":
    main()

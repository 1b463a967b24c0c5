"""What Ray costs: parts of rendered lines made by the engine, and the same parts by plain processes.

    python -m benchmarks.generate

Both make the parts of the default recipe, with as many processes as there are CPUs, and take turns of a few
parts each, so that a busy machine slows both. Ray is up before. A turn lasts from its first part's start
until every process is ready for a part of the next turn; the number of parts is a multiple of the CPUs, so
that none of them idles at the end. A first turn, in which modules and glyphs are loaded, and a last one, so
that neither cleans up while the other works, do not count. The last line of the output is JSON:

- `efficiency`: lines per second of the engine over those of the plain processes; `efficiency_by_turn`: how
  much the machine lets it vary; `background_cpus`: what driver and Ray used beside those that made parts.
  Since they did so in both turns, `efficiency_with_background` takes it from the engine's rate alone;
- `cost_ratio`: cost per line of all lines over that of few of them, each in units of what plain processes
  took at that time; `cost_ratio_raw`: in seconds, so that a machine that is slow for a while shows;
- `driver_rss_growth_mb`: from the first counted turn's start on; `worker_peak_rss_mb`: of the largest worker;
- `stub_seconds`: all of a dataset whose parts hold one ready line each, that is, three million lines without
  the rendering; `stub_rerun_seconds`: finding that nothing is left to do.
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

from benchmarks.watching import Watch
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
"""Of each process, which do not count."""
ROUNDS_PER_TURN = 2
"""Parts per CPU in a turn."""
POLL_S = 0.01
CPUS = len(os.sched_getaffinity(0))
MB = 1e6


@dataclass(frozen=True, kw_only=True)
class Config:
    """Measure what Ray costs a dataset of rendered lines."""

    num_lines: int = 100_000
    few_lines: int = 10_000
    """What the cost of a line is compared with; made once before and once after."""
    stub_parts: int = 733
    """Parts of the dataset that is not rendered; 733 hold three million lines."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Paced:
    """What all parts share: how lines are made, and when."""

    inputs: RenderInputs
    folder: str
    """Where a file opens a turn, and where each part notes when it was ready and when it started."""
    turns: dict[PartSpec, int]


def render_in_turn(shared: Paced, spec: PartSpec) -> Iterator[TextLine | Reject]:
    """Yield the lines of a part once its turn has come."""
    folder, turn = Path(shared.folder), shared.turns[spec]
    note_time(folder / f"ready-{turn}-{spec.index}")
    while not (folder / f"open-{turn}").exists():
        time.sleep(POLL_S)
    note_time(folder / f"started-{turn}-{spec.index}")
    yield from render_part(shared.inputs, spec)


def note_time(path: Path) -> None:
    """Write the time into a file, which appears whole."""
    partial = path.with_name(f".{path.name}")
    partial.write_text(str(time.time_ns()))
    partial.rename(path)


_given: list[tuple[str, str, Paced]] = []
"""What a plain process was given when it started: the dataset's place, its digest, what its parts share."""


def give(*values: Any) -> None:
    """Keep what a plain process is given."""
    _given[:] = [values]


def write_plainly(spec: PartSpec) -> None:
    """Write a part, in a plain process."""
    ((uri, config_sha256, shared),) = _given
    write_part(locate(uri), spec, config_sha256, render_in_turn(shared, spec))


def produce_plainly(uri: str, plan: Plan, shared: Paced) -> None:
    """Make all parts of a plan with plain processes."""
    spawn = multiprocessing.get_context("spawn")
    given = (uri, plan.config_sha256, shared)
    with ProcessPoolExecutor(CPUS, mp_context=spawn, initializer=give, initargs=given) as pool:
        list(pool.map(write_plainly, plan.parts))


def produce_with_ray(uri: str, plan: Plan, shared: Paced) -> None:
    """Make a whole dataset with the engine."""
    produce(locate(uri), plan, render_in_turn, shared, ProduceOptions())


class Arm:
    """One way to make a dataset, under way; it pauses between turns."""

    def __init__(self, way: Any, folder: Path, plan: Plan, shared: Paced, pool: ThreadPoolExecutor) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.shared = replace(shared, folder=str(folder))
        self.running: Future[None] = pool.submit(way, str(folder / "lines"), plan, self.shared)

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
        """Let all parts be made that are left."""
        for turn in set(self.shared.turns.values()):
            (self.folder / f"open-{turn}").touch()

    def _read_times(self, what: str) -> list[int]:
        return [int(path.read_text()) for path in self.folder.glob(f"{what}-*")]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A dataset made in both ways: seconds of each turn that counts."""

    num_lines: int
    plain_s: tuple[float, ...]
    ray_s: tuple[float, ...]
    watch: Watch


def plan_turns(num_lines: int) -> dict[PartSpec, int]:
    """Return the turn of each part; the first and the last, whose lines are of other splits, do not count."""
    rounds = max(1, round(num_lines / LINES_PER_PART / CPUS))
    lines_per_part = -(-num_lines // (rounds * CPUS))
    warm_up = cut_parts("validation", FIRST_NUMBERS["validation"], CPUS * WARM_UP_LINES, WARM_UP_LINES)
    parts = cut_parts("train", 0, num_lines, lines_per_part)
    turns = {part: 1 + part.index // (ROUNDS_PER_TURN * CPUS) for part in parts}
    farewell = cut_parts("test", FIRST_NUMBERS["test"], CPUS, 1)
    return dict.fromkeys(warm_up, 0) | turns | dict.fromkeys(farewell, max(turns.values()) + 1)


def compare(num_lines: int) -> Measured:
    """Make the same dataset with plain processes and with Ray, in turns."""
    turns = plan_turns(num_lines)
    plan, inputs = plan_rendering(RenderConfig(out_uri="", num_lines=num_lines))
    plan = replace(plan, parts=tuple(turns))
    shared = Paced(inputs=inputs, folder="", turns=turns)
    watch = Watch()
    with tempfile.TemporaryDirectory() as name, ray_up(), ThreadPoolExecutor(2) as pool:
        ways = {"plain": produce_plainly, "ray": produce_with_ray}
        arms = {way: Arm(made, Path(name) / way, plan, shared, pool) for way, made in ways.items()}
        watch.start()
        taken = []
        try:
            for turn in range(max(turns.values()) + 1):
                order = list(arms) if turn % 2 else list(arms)[::-1]
                taken.append({way: arms[way].take_turn(turn) for way in order})
                say(f"{num_lines} lines, turn {turn}: {taken[-1]}")
                if turn == 0:
                    watch.mark()
        finally:  # without this, what waits for its turn would wait for ever after an error
            for arm in arms.values():
                arm.open_all()
        watch.stop()
        check_same_rows(plan, *(Path(name) / way / "lines" for way in arms))
    return Measured(
        num_lines=num_lines,
        plain_s=tuple(turn["plain"] for turn in taken[1:-1]),
        ray_s=tuple(turn["ray"] for turn in taken[1:-1]),
        watch=watch,
    )


def check_same_rows(plan: Plan, *places: Path) -> None:
    """Check that both ways made the same rows of every part."""
    for part in plan.parts:
        footers = [read_part_footer(locate(str(place)), part, plan.config_sha256) for place in places]
        if None in footers or len({footer[0].rows_sha256 for footer in footers if footer}) != 1:
            raise RuntimeError(f"both ways must make the same rows, {part.path} differs")


@contextmanager
def ray_up() -> Iterator[None]:
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
    text = "".join(KS_X_1001)  # what is counted of a part is as large as that of a real one
    said = {"text": text, "markup": text, "source": "words"}
    line = TextLine(line_id="", image_bytes=image.getvalue(), width_px=384, height_px=384, **said)
    parts = cut_parts("train", 0, num_parts * LINES_PER_PART, LINES_PER_PART)
    plan = Plan(config={"job": "stub"}, parts=tuple(parts))
    watch, seconds = Watch(), []
    with tempfile.TemporaryDirectory() as name, ray_up():
        make = partial(produce, locate(name), plan, make_stub, line, ProduceOptions())
        watch.start()
        watch.mark()
        for _ in range(2):
            started_s = time.monotonic()
            make()
            seconds.append(time.monotonic() - started_s)
        watch.stop()
    return {
        "stub_parts": num_parts,
        "stub_seconds": round(seconds[0], 1),
        "stub_rerun_seconds": round(seconds[1], 1),
        "stub_driver_rss_growth_mb": round(watch.driver_growth_bytes / MB, 1),
    }


def say(text: str) -> None:
    """Print a line for a human."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure all and print what it gives."""
    logging.basicConfig(level=logging.WARNING)
    config = tyro.cli(Config)
    stub = measure_stub(config.stub_parts)
    say(f"stub: {stub}")
    few = config.few_lines
    before, whole, after = (compare(number) for number in (few, config.num_lines, few))
    ray_s, plain_s = sum(whole.ray_s), sum(whole.plain_s)
    few_ray_s, few_plain_s = sum(before.ray_s + after.ray_s), sum(before.plain_s + after.plain_s)
    figures = {
        "efficiency": round(plain_s / ray_s, 3),
        "efficiency_with_background": round(plain_s / ray_s * (1 - whole.watch.background_cpus / CPUS), 3),
        "background_cpus": round(whole.watch.background_cpus, 3),
        "efficiency_by_turn": [round(p / r, 2) for p, r in zip(whole.plain_s, whole.ray_s, strict=True)],
        "ray_lines_per_s": round(whole.num_lines / ray_s, 1),
        "plain_lines_per_s": round(whole.num_lines / plain_s, 1),
        "cpus": CPUS,
        "lines": whole.num_lines,
        "few_lines": few,
        "cost_ratio": round(ray_s / plain_s / (few_ray_s / few_plain_s), 3),
        "cost_ratio_raw": round(ray_s / whole.num_lines / (few_ray_s / (2 * few)), 3),
        "driver_rss_growth_mb": round(whole.watch.driver_growth_bytes / MB, 1),
        "worker_peak_rss_mb": round(whole.watch.worker_peak_bytes / MB, 1),
    }
    print(json.dumps(figures | stub))


if __name__ == "__main__":
    main()

"""Seconds from a command to its first part or step, and to its end: `python -m benchmarks.start`.

Each job runs on a small input, 100 lines or 12 pages and the tiny model, in a process of its own. Its first
part or step is observed from outside, as a file that appears or a line of its log. With nothing to do
the same command runs once more. Prints a line of JSON per job:

- `first_s`: until the first part or step; null where nothing is to do; `end_s`: until the process has ended;
- `cpu_s`: CPU time of the job and of all processes of its Ray, sampled; on a busy machine a better measure;
- `ray`: whether a Ray was started; `load`: the load of the machine before.

`--cold` runs each job with neither bytecode (a fresh PYTHONPYCACHEPREFIX) nor cached pages of the installed
packages (`posix_fadvise`, which leaves those that another process has mapped).
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import tyro

from ocr_ray.pages.synthetic.pages import write_pages
from ocr_ray.render.fonts.find import DEFAULT_FONTS, find_available_fonts
from ocr_ray.storage.location import locate

SAMPLE_S = 0.05
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, kw_only=True)
class Config:
    """Measure how long each job takes to start and to end."""

    jobs: tuple[str, ...] = ()
    """Names of the cases to report, such as crop_pages. Default: all. Those before them run too."""
    cold: bool = False
    """Without bytecode and cached pages of the installed packages."""
    dashboard: bool = True
    """With Ray's dashboard, as by default."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command, and what shows that its first part or step is done."""

    name: str
    arguments: tuple[str, ...]
    file: str = ""
    """A pattern of files."""
    line: str = ""
    """A pattern of log lines; both empty: nothing is to do."""


def list_cases(folder: Path) -> Iterator[Case]:
    """Yield the cases in the order in which they need each other's output."""
    lines, pages = str(folder / "lines"), str(folder / "pages")
    flags = {
        "render_lines": ("--out-uri", lines, "--num-lines", "100", "--validation-share", "0.23"),
        "crop_pages": ("--pages-uri", pages, "--out-uri", str(folder / "crops")),
        "audit_lines": ("--lines-uri", lines),
        "train_trocr": (
            *("--model", "tiny", "--lines-uri", lines, "--run-name", "run", "--num-workers", "1"),
            *("--runs-uri", str(folder / "runs"), "--models-uri", str(folder / "models"), "--epochs", "1"),
        ),
        "evaluate_trocr": (
            *("--model-uri", str(folder / "models/best_ocr"), "--lines-uri", lines),
            *("--out-uri", str(folder / "report")),
        ),
        "label_pages": (
            *("--model-uri", str(folder / "models/best_ocr"), "--pages-uri", pages),
            *("--out-uri", str(folder / "labelled"), "--max-reject-fraction", "1"),
        ),
    }
    first = {
        "render_lines": "lines/*/part-*.parquet",
        "crop_pages": "crops/*/part-*.parquet",
        "train_trocr": "runs/run/metrics.jsonl",
        "evaluate_trocr": "report/predictions/part-*.parquet",
        "label_pages": "labelled/train/part-*.parquet",
    }
    for job, arguments in flags.items():
        if job == "audit_lines":
            yield Case(name=job, arguments=(job, *arguments), line=r"\d+ of \d+ parts")
            continue
        yield Case(name=job, arguments=(job, *arguments), file=first[job])
        yield Case(name=f"{job} again", arguments=(job, *arguments))


class Watcher(threading.Thread):
    """Samples a process and its descendants until it ends, and notes when the first part or step is done."""

    def __init__(self, process: psutil.Popen, case: Case, folder: Path, log: Path) -> None:
        super().__init__(daemon=True)
        self.first_s: float | None = None
        self.uses_ray = False
        self._case, self._folder, self._log = case, folder, log
        self._process, self._started_s = process, time.monotonic()
        self._seen: dict[int, psutil.Process] = {process.pid: process}
        self._cpu_s: dict[int, float] = {}

    @property
    def cpu_s(self) -> float:
        return sum(self._cpu_s.values())

    def run(self) -> None:
        while self._process.poll() is None:
            if self.first_s is None and self._is_first_done():
                self.first_s = round(time.monotonic() - self._started_s, 1)
            self._sample()
            time.sleep(SAMPLE_S)

    def _is_first_done(self) -> bool:
        case = self._case
        if case.line:
            return bool(re.search(case.line, self._log.read_text(errors="replace")))
        return bool(case.file) and any(self._folder.glob(case.file))

    def _sample(self) -> None:
        for process in psutil.process_iter():
            if process.pid not in self._seen and _find_parent(process) in self._seen:
                self._seen[process.pid] = process
        for pid, process in self._seen.items():
            try:
                times = process.cpu_times()
                self.uses_ray = self.uses_ray or process.name() in ("raylet", "gcs_server")
            except psutil.Error:
                continue  # it has ended
            self._cpu_s[pid] = times.user + times.system


def _find_parent(process: psutil.Process) -> int:
    try:
        return int(process.ppid())
    except psutil.Error:
        return 0


def measure(case: Case, folder: Path, config: Config) -> dict[str, Any]:
    """Run a case; return its figures."""
    job, *arguments = case.arguments
    if not config.dashboard:
        arguments.append("--no-dashboard")
    log, load = folder / "log", os.getloadavg()[0]
    with log.open("w") as output, _environment(config) as environment:
        started_s = time.monotonic()
        process = psutil.Popen(
            [sys.executable, "-m", f"jobs.{job}", *arguments],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=output,
        )
        watcher = Watcher(process, case, folder, log)
        watcher.start()
        code = process.wait()
        end_s = round(time.monotonic() - started_s, 1)
        watcher.join()
    if code:
        raise RuntimeError(f"{case.name} ended with exit code {code}:\n{log.read_text()}")
    return {
        "first_s": watcher.first_s,
        "end_s": end_s,
        "cpu_s": round(watcher.cpu_s, 1),
        "ray": watcher.uses_ray,
        "load": round(load, 1),
    }


@contextmanager
def _environment(config: Config) -> Iterator[dict[str, str]]:
    """Provide the environment of a job, after emptying the caches if it is to start cold."""
    if not config.cold:
        yield dict(os.environ)
        return
    for path in Path(sysconfig.get_path("purelib")).rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with tempfile.TemporaryDirectory() as folder:
        yield os.environ | {"PYTHONPYCACHEPREFIX": folder}


def main() -> None:
    """Run all cases."""
    config = tyro.cli(Config)
    os.environ.pop("RAY_ADDRESS", None)
    with tempfile.TemporaryDirectory(prefix="start-") as name:
        folder = Path(name)
        font = find_available_fonts(DEFAULT_FONTS)[0]
        axes = [value for _, value in font.axes]
        write_pages(
            locate(str(folder / "pages")),
            num_pages=12,
            seed=0,
            font_bytes=font.content,
            font_index=font.face,
            font_axes=axes,
        )
        for case in list_cases(folder):
            figures = measure(case, folder, config)
            if not config.jobs or case.name in config.jobs:
                print(json.dumps({"case": case.name, **figures}), flush=True)


if __name__ == "__main__":
    main()

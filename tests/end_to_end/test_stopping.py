"""Jobs that are stopped with all of their processes, lose the Ray that they have started, or refuse input."""

import json
import os
import signal
from collections.abc import Callable
from subprocess import Popen

import pytest
from harness.processes import (
    assert_session_ended,
    find_tree,
    kill_gcs,
    kill_tree,
    list_parts,
    start_job,
    terminate_all,
    wait_for,
)

from ocr_ray.cli.flags import describe_flags
from ocr_ray.render.config import RenderConfig

STOPS: dict[str, tuple[Callable[[Popen], None], int]] = {
    "SIGTERM to the process group": (lambda job: os.killpg(job.pid, signal.SIGTERM), 1),
    "SIGINT to the process group": (lambda job: os.killpg(job.pid, signal.SIGINT), 130),
    "SIGTERM to every process": (lambda job: terminate_all(find_tree(job.pid)), 1),
    "SIGKILL to Ray's GCS": (lambda job: kill_gcs(find_tree(job.pid)), 1),
}


@pytest.mark.soak
@pytest.mark.parametrize("stop", STOPS)
def test_rendering_that_is_stopped_ends_soon_and_is_resumed(fonts, tmp_path, stop: str) -> None:
    names = tuple(font.name for font in fonts)
    config = RenderConfig(
        out_uri=str(tmp_path / "lines"), num_lines=6000, lines_per_part=240, fonts=names, dashboard=False
    )
    log_path, (send, code) = tmp_path / "log", STOPS[stop]
    job = start_job("render_lines", describe_flags(config), log_path)
    try:
        wait_for(lambda: len(list_parts(config.out_uri)) >= 2, job, log_path, timeout_s=300)
        send(job)
        assert job.wait(timeout=15) == code, log_path.read_text()
    finally:
        if job.poll() is None:
            kill_tree(job.pid)
    assert_session_ended(job.pid)
    log = log_path.read_text()
    assert "finished work is kept: run the same command to resume" in log.splitlines()[-1]
    assert "Traceback" not in log
    num_kept = len(list_parts(config.out_uri))
    again = start_job("render_lines", describe_flags(config), tmp_path / "again")
    assert again.wait(timeout=600) == 0, (tmp_path / "again").read_text()
    summary = json.loads((tmp_path / "again").read_text().splitlines()[-1])
    assert (summary["parts_kept"], summary["lines"]) == (num_kept, 6000)


@pytest.mark.slow
def test_wrong_input_that_is_found_while_ray_starts_leaves_no_process(tmp_path) -> None:
    config = RenderConfig(out_uri=str(tmp_path / "lines"), fonts=("nowhere.ttf",), dashboard=False)
    job = start_job("render_lines", describe_flags(config), log_path := tmp_path / "log")
    assert job.wait(timeout=300) == 2, log_path.read_text()
    assert_session_ended(job.pid)
    assert "Started a local Ray instance" in log_path.read_text()
    assert "nowhere.ttf" in log_path.read_text().splitlines()[-1]
    assert "Traceback" not in log_path.read_text()

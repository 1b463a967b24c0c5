"""What a person sees at a terminal: a job runs under a pseudo-terminal."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from ocr_ray.cli.closing import close_job
from ocr_ray.cli.run_job import name_flags

PROGRAM = """
import logging, warnings
from dataclasses import dataclass
from ocr_ray.cli.run_job import run_job

@dataclass(frozen=True)
class Config:
    num_lines: int = 1_200
    def __post_init__(self):
        if self.num_lines < 1:
            raise ValueError(f"num_lines must be at least 1, got {self.num_lines}")

def move(done, level):
    progress = {"name": "lines", "done": done, "total": 6, "numbers": "99 lines/s, 0:00:07 left, 4 rejects"}
    logging.getLogger("ocr_ray.x").log(level, "lines: %d of 6 parts", done, extra={"progress": progress})

def work(config):
    log = logging.getLogger("ocr_ray.x")
    log.debug("starting Ray ...")
    log.info("font A: a.ttf", extra={"detail": True})
    logging.getLogger("ray.x").warning("chatter")
    warnings.warn("chatter")
    for done in range(1, 7):
        move(done, logging.INFO if done == 6 else logging.DEBUG)
    log.warning("s3://KEY:SE/CRET@b/x is slow")
    return {"out_uri": "few", "lines": 1200, "by_split": {"train": 1188, "validation": 12},
            "rejects": {"missing_glyph": 4}}

run_job(Config, lambda: work, prog="ocr-ray x", description="x", job="render_lines")
"""
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def run_at_terminal(*flags: str, form: str = "text") -> tuple[int, list[str], str]:
    """Return the exit code, the lines as they stand at the end, and all that was ever written."""
    here, there = pty.openpty()
    environment = os.environ | {"OCR_RAY_LOG": form, "TERM": "xterm-256color", "COLUMNS": "120"}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *flags], env=environment, stdin=there, stdout=there, stderr=there
    ) as job:
        os.close(there)
        written = b""
        while True:
            try:
                read = os.read(here, 65_536)
            except OSError:  # the other end is closed
                break
            if not read:
                break
            written += read
    os.close(here)
    text = CODES.sub("", written.decode())
    return job.returncode, [line for line in re.split(r"[\r\n]+", text) if line.strip()], text


def test_a_person_sees_short_lines_a_bar_and_what_to_do_next() -> None:
    code, lines, text = run_at_terminal()
    assert code == 0
    kept = [line for line in lines if re.match(r"\d\d:\d\d:\d\d ", line)]
    assert [line[9:] for line in kept] == [
        *("starting Ray ...", "lines: 6 of 6 parts", "warning: s3://***@b/x is slow")
    ]
    bars = [line for line in lines if "━" in line]
    assert bars
    assert all("99 lines/s, 0:00:07 left, 4 rejects" in bar for bar in bars[-1:])
    assert lines[-3:] == [
        "made     1,200 lines (train 1,188, validation 12) in few; 4 rejects, see few/rejects",
        "look at  few/lines.png",
        "next     ocr-ray train-trocr --run-name first --lines-uri few",
    ]
    assert "chatter" not in text
    assert "font A" not in text
    assert "CRET" not in text
    assert "{" not in text


def test_the_summary_is_json_at_a_terminal_where_that_is_asked_for() -> None:
    code, lines, _ = run_at_terminal("--json")
    assert (code, json.loads(lines[-1])["lines"]) == (0, 1200)


def test_json_logs_are_json_at_a_terminal_too() -> None:
    _, lines, _ = run_at_terminal("--json", form="json")
    messages = [json.loads(line).get("message") for line in lines]
    assert messages[:3] == ["font A: a.ttf", "chatter", messages[2]]
    assert "starting Ray ..." not in messages


def test_an_error_names_the_flag_as_it_is_typed() -> None:
    code, lines, text = run_at_terminal("--num-lines", "0")
    assert (code, len(lines)) == (2, 1)
    assert lines[0].endswith("error: --num-lines must be at least 1, got 0")
    code, lines, text = run_at_terminal("--num-lines", "many")
    assert code == 2
    assert "--num-lines" in text
    assert "many" in text


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("num_lines must be from 1", "--num-lines must be from 1"),
        ("min_length must be at most max_length, got 9", "--min-length must be at most --max-length, got 9"),
        ("text_height_px must be above 7", "--style.text-height-px must be above 7"),
        ("seed must be from 0, seed is a number", "--seed must be from 0, seed is a number"),
        ("a seed must be found", "a seed must be found"),
        ("data/num_lines must be a folder", "data/num_lines must be a folder"),
        ("--num_lines must be from 1, got num_lines_x", "--num_lines must be from 1, got num_lines_x"),
    ],
)
def test_fields_are_named_as_flags(message: str, named: str) -> None:
    flags = ["num-lines", "min-length", "max-length", "style.text-height-px", "style.seed", "seed"]
    assert name_flags(message, flags) == named


def test_every_job_that_makes_something_ends_with_three_lines() -> None:
    dataset = {"out_uri": "my data", "lines": 20, "by_split": {"train": 20}, "rejects": {}}
    summaries = {
        "render_lines": dataset,
        "crop_pages": dataset,
        "label_pages": {**dataset, "review": "my data/review.html"},
        "train_trocr": {"run": "runs/a", "best_ocr": {"uri": "m/best_ocr"}, "trained_ocr": {"uri": "m/t"}},
        "evaluate_trocr": {"lines": 9, "overall": {"cer": 0.0123}, "page": "r.html", "report": "r.json"},
        "quickstart": {
            **{"out_uri": "q", "lines": {"rendered": 2_000, "cropped": 9}, "report": "q/report.json"},
            "note": "a demonstration",
        },
    }
    for job, summary in summaries.items():
        lines = close_job(job, summary)
        assert [line.split()[0] for line in lines] == ["made", "look", "next"], job
    assert close_job("render_lines", dataset)[2].endswith("--lines-uri 'my data'")
    assert "CER 1.23 %" in close_job("evaluate_trocr", summaries["evaluate_trocr"])[0]
    assert close_job("other", {"a": "x", "b": {"c": 1}}) == ["a: x", 'b: {"c": 1}']

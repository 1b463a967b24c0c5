import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

PROGRAM = """
import logging, warnings
import ray.data
from dataclasses import dataclass
from ocr_ray.cli.run_job import run_job
from ocr_ray.cluster.session import unwrap_worker_errors

@dataclass(frozen=True)
class Config:
    divisor: int

def work(config):
    logging.getLogger("ocr_ray.x").info("글 in %d\\nlines", 2)
    logging.getLogger("ray").warning("\\x1b[1m\\x1b[32mof Ray\\x1b[39m")
    with unwrap_worker_errors():
        logging.getLogger("ray.data").warning("of Ray Data")
    warnings.warn("of Python")
    logging.getLogger("ocr_ray.y").error("s3://KEY:SE/CRET@b/x, %s", ["https://h/x?token=SECRET"])
    if not config.divisor:
        raise ArithmeticError("gs://KEY:SE/CRET@b/x")
    return {"number": 7 // config.divisor, "s3://b/x?token=SECRET": ["s3://KEY:SE/CRET@b/x"]}

run_job(Config, lambda: work, prog="x", description="x")
"""


def run(form: str, *, divisor: int) -> subprocess.CompletedProcess[str]:
    """Run a job that logs, and fails with a bug where the divisor is 0."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, "--divisor", str(divisor)],
        env=os.environ | {"OCR_RAY_LOG": form},
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_line_is_a_json_object_where_that_is_asked_for() -> None:
    done = run("json", divisor=0)
    assert (done.returncode, done.stdout) == (1, "")
    records = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(record["levelname"], record["name"]) for record in records] == [
        ("INFO", "ocr_ray.x"),
        ("WARNING", "ray"),
        ("WARNING", "ray.data"),
        ("WARNING", "py.warnings"),
        ("ERROR", "ocr_ray.y"),
        ("CRITICAL", "ocr_ray.cli.logs"),
    ]
    assert [record["message"] for record in records[:3]] == ["글 in 2\nlines", "of Ray", "of Ray Data"]
    assert records[-2]["message"] == "s3://***@b/x, ['https://h/x?token=***']"
    assert records[-1]["message"] == "ArithmeticError"
    assert "CRET" not in done.stderr
    assert records[-1]["exc_text"].startswith("Traceback")
    for record in records:
        assert abs(datetime.now(UTC) - datetime.fromisoformat(record["asctime"])) < timedelta(minutes=5)


def test_lines_are_to_be_read_by_default() -> None:
    done = run("text", divisor=1)
    masked = {"number": 7, "s3://b/x?token=***": ["s3://***@b/x"]}
    assert (done.returncode, json.loads(done.stdout)) == (0, masked)
    assert "INFO ocr_ray.x: 글 in 2\nlines\n" in done.stderr
    assert "CRET" not in done.stderr


def test_no_secret_of_a_uri_is_written_in_a_traceback() -> None:
    done = run("text", divisor=0)
    assert "ArithmeticError: gs://***@b/x" in done.stderr
    assert "CRET" not in done.stdout + done.stderr


def test_another_form_of_logs_is_refused() -> None:
    done = run("yaml", divisor=1)
    assert (done.returncode, done.stdout) == (2, "")
    assert "OCR_RAY_LOG must be text or json, got 'yaml'" in done.stderr

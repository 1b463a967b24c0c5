"""Every job as a user meets it: its help, a wrong flag, a wrong input, its last line."""

import ast
import dataclasses
import importlib
import inspect
import json
import logging
import os
import re
import subprocess
import sys
import textwrap
import typing
from itertools import pairwise
from pathlib import Path

import pytest
import ray

from ocr_ray.cli.commands import JOBS, load
from ocr_ray.cli.flags import list_flags
from ocr_ray.cli.run_job import run_job

JOB_FILES = sorted(path.stem for path in Path("jobs").glob("*.py") if path.stem != "__init__")
SMALL_JOBS = {
    "render_lines": ["--out-uri", "OUT"],
    "crop_pages": ["--pages-uri", "IN", "--out-uri", "OUT"],
    "audit_lines": ["--lines-uri", "IN"],
    "train_trocr": ["--lines-uri", "IN", "--models-uri", "OUT", "--run-name", "x", "--runs-uri", "OUT"],
    "label_pages": ["--model-uri", "tiny", "--pages-uri", "IN", "--out-uri", "OUT"],
    "evaluate_trocr": ["--model-uri", "tiny", "--lines-uri", "IN", "--out-uri", "OUT"],
    "read": ["IN", "--model", "tiny"],
    "experiment": ["--out-uri", "OUT", "--pages-uri", "IN"],
}


def run(monkeypatch, job: str, *arguments: str) -> int:
    """Run a job in this process, as `python -m jobs.<job>` would; return its exit code."""
    monkeypatch.setattr(sys, "argv", [f"jobs/{job}.py", *arguments])
    with pytest.raises(SystemExit) as exit_info:
        importlib.import_module(f"jobs.{job}").main()
    return int(exit_info.value.code or 0)


def read_docstrings(config: type) -> dict[str, str]:
    """Return the string under each field of a dataclass and of those in it, as its source has them."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(config))).body
    assert isinstance(body, ast.ClassDef)
    hints, found = typing.get_type_hints(config), {}
    for field, below in pairwise([*body.body, None]):
        if isinstance(field, ast.AnnAssign):
            name = field.target.id
            if dataclasses.is_dataclass(hints[name]):
                found |= read_docstrings(hints[name])
            else:
                found[name] = below.value.value if isinstance(below, ast.Expr) else ""
    return found


@pytest.mark.parametrize("job", JOB_FILES)
def test_help_explains_every_flag(job: str, monkeypatch, capsys) -> None:
    assert run(monkeypatch, job, "--help") == 0
    out = capsys.readouterr().out
    shown = " ".join(re.sub("[│╭╮╰╯─]", " ", out).split())
    assert f"usage: python -m jobs.{job}" in shown
    docstrings = read_docstrings(load(JOBS[job].config))
    assert len(docstrings) > 3
    listed = re.findall(r"^[│ ]? ?(--[a-z][\w.-]*)(?:, (--[a-z][\w.-]*))?", out, re.M)
    flags = {flag for pair in listed for flag in pair if flag} - {"--help"}
    assert flags == {f"--{name}" for name in list_flags(load(JOBS[job].config))}
    for name, docstring in docstrings.items():
        assert f"{name.replace('_', '-')}" in shown
        assert len(docstring.split()) > 1, name
        assert " ".join(docstring.split()) in shown, name


@pytest.mark.parametrize("job", JOB_FILES)
def test_a_wrong_flag_exits_2_with_a_suggestion(job: str, monkeypatch, capsys) -> None:
    known = {
        "plan_dataset": "--fonts",
        "audit_lines": "--lines-uri",
        "train_trocr": "--epochs",
        "check_cluster": "--cluster",
        "watch_spot": "--gcs-address",
        "read": "--box-format",
        "demo": "--flag-below",
    }.get(job, "--out-uri")
    wrong = known + "s"
    assert run(monkeypatch, job, *SMALL_JOBS.get(job, []), wrong, "1") == 2
    shown = capsys.readouterr()
    assert wrong in shown.err + shown.out
    assert known in (shown.err + shown.out).replace(wrong, "")
    assert run(monkeypatch, job, wrong, "1") == 2  # also while a required flag is missing
    assert f"{wrong} must be a flag of this job; did you mean {known}?" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--out-uri", "b"], ["--out_uri=b"]])
def test_a_flag_given_twice_exits_2(words: list[str], monkeypatch, capsys) -> None:
    assert run(monkeypatch, "render_lines", "--out-uri", "a", *words) == 2
    assert "--out-uri must be given once" in capsys.readouterr().err


@pytest.mark.parametrize("job", sorted(SMALL_JOBS.keys() - {"render_lines"}))
def test_a_missing_input_folder_exits_2_with_its_name(
    ray_session, job: str, monkeypatch, capsys, tmp_path
) -> None:
    words = {"IN": str(tmp_path / "missing"), "OUT": str(tmp_path / "out")}
    assert run(monkeypatch, job, *(words.get(word, word) for word in SMALL_JOBS[job])) == 2
    assert str(tmp_path / "missing") in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


URI_FLAGS = [
    (job, name.replace("_", "-"))
    for job in JOB_FILES
    for name in read_docstrings(load(JOBS[job].config))
    if name.endswith("_uri")
]


@pytest.mark.parametrize(("job", "flag"), URI_FLAGS)
def test_a_uri_that_can_never_be_used_exits_2_with_its_flag(
    job: str, flag: str, monkeypatch, capsys, tmp_path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("afile").write_bytes(b"")
    Path("loop").symlink_to("loop")
    words = [
        {"IN": str(tmp_path), "OUT": str(tmp_path / "out")}.get(word, word)
        for word in SMALL_JOBS.get(job, [])
    ]
    if f"--{flag}" in words:
        at = words.index(f"--{flag}")
        del words[at : at + 2]
    if job == "render_lines" and flag == "pictures-uri":
        words += ["--renderer", "trdg"]
    if flag == "labelled-uri":
        words += ["--apply", "afile"]
    for uri in (
        "",
        "a\0b",
        "a\udcff",
        "./afile/sub",
        "./loop/x",
        "n" * 256,
        "s3://b/..",
        "gs://b/x",
        "file://x/y",
    ):
        assert run(monkeypatch, job, *words, f"--{flag}", uri) == 2, uri
        last = capsys.readouterr().err.splitlines()[-1]
        assert f"ERROR ocr_ray.cli.run_job: --{flag}" in last, uri
    assert sorted(path.name for path in tmp_path.iterdir()) == ["afile", "loop"]


@pytest.mark.parametrize("job", JOB_FILES)
@pytest.mark.parametrize(
    "secret", ["s3a://KEY:SECRET@bucket/x", "x=https://u:SECRET@h", "s3://b/x?secret_key=SECRET"]
)
def test_an_argument_with_a_secret_is_refused_and_shown_nowhere(
    job: str, secret: str, monkeypatch, capsys, tmp_path
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (
        ["--out-uri", secret],
        [f"--out-uri={secret}"],
        ["--no-such-flag", "1", "--x", "2", secret],
    ):
        assert run(monkeypatch, job, *SMALL_JOBS.get(job, []), *words) == 2
        shown = "".join(capsys.readouterr())
        assert "must not contain keys" in shown
        assert "SECRET" not in shown
    assert not list(tmp_path.iterdir())


def test_a_missing_or_empty_corpus_exits_2_with_its_name(ray_session, monkeypatch, capsys, tmp_path) -> None:
    corpus = tmp_path / "corpus"
    flags = ["--out-uri", str(tmp_path / "out"), "--corpus-uri", str(corpus), "--fonts", "맑은 고딕"]
    assert run(monkeypatch, "render_lines", *flags) == 2
    assert str(corpus) in capsys.readouterr().err
    corpus.mkdir()
    (corpus / "notes.md").write_text("가나다")
    assert run(monkeypatch, "render_lines", *flags) == 2
    assert str(corpus) in capsys.readouterr().err
    (corpus / "empty.txt").write_text(" \n")
    assert run(monkeypatch, "render_lines", *flags) == 2
    assert str(corpus) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num-lines", "0"], "--num-lines must be from 1"),
        (
            ["--min-length", "9", "--max-length", "8"],
            "--min-length must be at least 1 and at most --max-length",
        ),
        (["--arithmetic.grades", "7"], "--arithmetic.grades must be one or more of 1 to 6"),
        (["--fonts", "없는 글꼴"], "font '없는 글꼴' must be installed"),
        (["--out-uri", "gs://bucket/x"], "--out-uri must be a local path or s3"),
        (["--seed", "-1"], "--seed must be from 0"),
    ],
)
def test_a_value_out_of_range_exits_2_and_says_what_must_hold(
    flags: list[str], message: str, monkeypatch, capsys, tmp_path
) -> None:
    place = [] if "--out-uri" in flags else ["--out-uri", str(tmp_path / "out")]
    assert run(monkeypatch, "render_lines", *place, *flags) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\0b", "a\nb", "\ud800", "실" * 86])
def test_a_run_name_that_is_no_folder_name_exits_2(name: str, monkeypatch, capsys) -> None:
    words = [name if word == "x" else word for word in SMALL_JOBS["train_trocr"]]
    assert run(monkeypatch, "train_trocr", *words) == 2
    assert "--run-name must be a name" in "".join(capsys.readouterr())


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnyNumber:
    """A number."""

    weight: float = 1.0
    """Checked nowhere else."""


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_a_flag_that_is_no_finite_number_exits_2(number: str, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        run_job(
            AnyNumber, lambda: dataclasses.asdict, prog="x", description="x", arguments=[f"--weight={number}"]
        )
    assert f"--weight must be a finite number, got {number}" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "euc-kr", "latin-1"])
def test_the_summary_is_utf_8_in_every_locale(encoding: str, monkeypatch) -> None:
    """EUC-KR has no emoji."""
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    program = (
        "from dataclasses import dataclass\n"
        "from ocr_ray.cli.run_job import run_job\n"
        "@dataclass(frozen=True)\n"
        "class Config:\n    pass\n"
        "run_job(Config, lambda: lambda config: {'out_uri': '줄/😀é'}, prog='x', description='x')\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (result.returncode, json.loads(result.stdout)) == (0, {"out_uri": "줄/😀é"}), result.stderr


def test_the_plan_gives_the_numbers_of_the_brief(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "plan_dataset") == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "6015224" in json.dumps(summary)
    assert {"1804567", "3007612"} <= set(json.dumps(summary).replace(",", "").replace("}", "").split())


@pytest.mark.slow
def test_the_summary_is_the_last_line_even_when_a_worker_prints() -> None:
    """Ray's processes are not in the process group of the job, which a terminal sends Ctrl-C to."""
    program = """
import os
import psutil
import ray
from dataclasses import dataclass
from ocr_ray.cli.run_job import run_job
from ocr_ray.cluster.session import ray_session

@dataclass(frozen=True)
class Config:
    number: int = 7

def work(config):
    print("the driver talks")
    with ray_session(num_cpus=1):
        assert ray.get(ray.remote(lambda: print("a worker talks", flush=True) or 1).remote()) == 1
        started = psutil.Process().children(recursive=True)
        assert {"gcs_server", "raylet"} <= {process.name() for process in started}
        assert os.getpgrp() not in {os.getpgid(process.pid) for process in started}
    return {"number": config.number, "text": "글"}

run_job(Config, lambda: work, prog="x", description="x")
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout.splitlines()[-1]) == {"number": 7, "text": "글"}
    assert "a worker talks" not in result.stdout


def test_a_failed_job_exits_1(tmp_path) -> None:
    program = (
        "from dataclasses import dataclass\n"
        "from ocr_ray.cli.run_job import run_job\n"
        "from ocr_ray.errors import ProductionError\n"
        "@dataclass(frozen=True)\n"
        "class Config:\n    pass\n"
        "def work(config):\n    raise ProductionError('rejects must be at most 1 %')\n"
        "run_job(Config, lambda: work, prog='x', description='x')\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert "rejects must be at most 1 %" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ray_use", "sent", "code"), [("none", "SIGTERM", 1), ("left", "SIGINT", 130), ("works", "SIGTERM", 1)]
)
def test_a_job_that_is_told_to_end_says_how_to_go_on(
    ray_session, ray_use: str, sent: str, code: int, monkeypatch
) -> None:
    """Ray answers SIGTERM in its own way, and in another once it was left. 130 is 128 + 2, as in shells.

    A job can need some seconds to end.
    """
    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
    program = (
        "import os, signal, threading, time\n"
        "from dataclasses import dataclass\n"
        "from ocr_ray.cli.run_job import run_job\n"
        "from ocr_ray.cluster.map_tasks import map_tasks\n"
        "from ocr_ray.cluster.session import ray_session\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest may ignore it\n"
        "@dataclass(frozen=True)\n"
        "class Config:\n    pass\n"
        "def send():\n"
        f"    os.kill(os.getpid(), signal.{sent})\n"
        "def work(config):\n"
        f"    if {ray_use != 'none'}:\n"
        "        with ray_session(num_cpus=1):\n"
        f"            if {ray_use == 'works'}:\n"
        "                threading.Timer(1, send).start()\n"
        "                try:\n"
        "                    list(map_tasks(time.sleep, [60, 60], num_cpus=None))\n"
        "                finally:\n"
        "                    time.sleep(4)\n"
        "    send()\n"
        "    time.sleep(60)\n"
        "run_job(Config, lambda: work, prog='x', description='x')\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (code, "")
    assert "stopped; finished work is kept: run the same command to resume" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_a_real_job_ends_with_its_summary_and_refuses_another_seed(
    ray_session, fonts, monkeypatch, capsys, tmp_path
) -> None:
    flags = ["--out-uri", str(tmp_path / "out"), "--num-lines", "6", "--fonts", fonts[0].name]
    assert run(monkeypatch, "render_lines", *flags) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["lines"] == 6
    no_ray = os.environ | {"RAY_ADDRESS": "127.0.0.1:9"}
    command = [sys.executable, "-m", "jobs.render_lines", *flags]
    again = subprocess.run(command, env=no_ray, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr  # nothing is to do: neither started nor asked for
    assert json.loads(again.stdout.splitlines()[-1])["parts_kept"] == 2
    assert run(monkeypatch, "render_lines", *flags, "--seed", "8") == 2
    assert "seed: 0 there, 8 now" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--num-lines", "--num-pages", "--epochs", "--num-workers"])
def test_quickstart_refuses_a_zero_before_any_work(flag: str, monkeypatch, capsys, tmp_path) -> None:
    assert run(monkeypatch, "quickstart", "--out-uri", str(tmp_path / "out"), flag, "0") == 2
    assert f"{flag} must be" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_demonstration_leaves_out_warnings_that_are_expected_of_a_small_run(caplog) -> None:
    from ocr_ray.quickstart.job import without_warnings_of_real_runs

    caplog.set_level(logging.INFO)
    names = ("ocr_ray.training.job", "ocr_ray.evaluation.job", "ocr_ray.other")
    with without_warnings_of_real_runs():
        for name in names:
            logging.getLogger(name).warning("small")
            logging.getLogger(name).info("going on")
    logging.getLogger(names[0]).warning("after")
    assert caplog.messages == ["going on", "going on", "small", "going on", "after"]

"""Jobs submitted to a cluster that asks for a token: what travels, how they end, stopped and resumed."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.processes import assert_same_dataset, list_parts
from harness.submitting import PLANTED, ROOT, Head, find_secrets, head_started

from ocr_ray.training.job import SNAPSHOT

pytestmark = pytest.mark.slow

LIST_FILES = "printenv | grep -c =planted; find . -type f -printf '%s %P\\n'"
SECRET = "AKIAPLANTED0SECRET00"


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with head_started(PLANTED) as head:
        yield head


def plant(folder: Path) -> None:
    """Lay the project into a folder, and beside it all that must not travel."""
    for name in ("jobs", "ocr_ray"):
        shutil.copytree(ROOT / name, folder / name)
    for name in (".gitignore", ".rayignore", "pyproject.toml", "cluster.yaml"):
        shutil.copy(ROOT / name, folder / name)
    strays = (
        ".env",
        ".git/config",
        ".venv/bin/python",
        "credentials.json",
        "data/lines/train/part.parquet",
        "runs/run/plan.json",
        "jobs/__pycache__/x.pyc",
        "text/jobs/x.txt",
    )
    for name in strays:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(SECRET)


def test_a_small_render_a_wrong_flag_what_travels_and_no_secret(head, fonts, tmp_path) -> None:
    """Three jobs at once, since each waits for its driver to start."""
    plant(tmp_path)
    client, out = head.client(), tmp_path / "lines"
    code = {"working_dir": str(tmp_path)}
    render = ["python", "-m", "jobs.render_lines", "--fonts", fonts[0].name, "--num-lines", "9"]
    listing = client.submit_job(entrypoint=LIST_FILES, runtime_env=code)
    wrong = client.submit_job(entrypoint=shlex.join([*render, "--out-uris", "x"]), runtime_env=code)
    relative = client.submit_job(entrypoint=shlex.join([*render, "--out-uri", "lines"]), runtime_env=code)
    words = ["submit", "--working-dir", ".", "--", *render, "--out-uri", str(out)]
    shown = head.run(*words, folder=tmp_path)

    assert shown.returncode == 0, shown.stdout + shown.stderr
    job_id = re.search(r"Job '(\w+)' succeeded", shown.stdout)[1]
    summary = json.loads(head.logs(job_id).splitlines()[-1])
    assert (summary["lines"], summary["out_uri"]) == (9, str(out))
    assert json.loads((out / "manifest.json").read_text())["counts"]["lines"] == 9

    assert head.wait_for_end(listing).status == "SUCCEEDED"
    assert str(len(PLANTED)) in head.logs(listing).splitlines()
    found = re.findall(r"^(\d+) (\S+)$", head.logs(listing), re.MULTILINE)
    files = [path for folder in ("jobs", "ocr_ray") for path in (ROOT / folder).rglob("*.*")]
    code_files = {str(path.relative_to(ROOT)) for path in files if path.suffix in (".py", ".txt")}
    assert sorted(name for _, name in found) == sorted(code_files)
    assert sum(int(size) for size, _ in found) < 2_000_000

    info = head.wait_for_end(wrong)
    assert (info.status, info.driver_exit_code) == ("FAILED", 2)
    assert "--out-uris" in info.message
    info = head.wait_for_end(relative)
    assert (info.status, info.driver_exit_code) == ("FAILED", 2)
    assert "a local path must begin with / in a submitted job" in info.message

    written = head.list_written() | {str(path): path.read_bytes() for path in out.rglob("*.*")}
    assert {f"job-driver-{job_id}.log", "manifest.json"} <= {Path(name).name for name in written}
    assert find_secrets(written, *PLANTED.values(), SECRET, head.token) == []


@pytest.mark.soak
@pytest.mark.parametrize("token", [None, "0" * 32])
def test_without_the_token_nothing_is_accepted(token: str | None, head, tmp_path) -> None:
    environment = head.stranger
    if token:
        environment = head.environment | {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
        (tmp_path / "token").write_text(token)
    num_jobs = len(head.client().list_jobs())
    shown = head.run("submit", "--", "touch", str(tmp_path / "reached"), environment=environment)
    assert shown.returncode != 0
    assert ("Invalid" if token else "Missing") + " authentication token" in shown.stdout + shown.stderr
    assert len(head.client().list_jobs()) == num_jobs
    program = f"import ray; ray.init('{head.gcs_address}')"
    joined = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=False
    )
    assert joined.returncode != 0
    assert not (tmp_path / "reached").exists()


def small_lines(out: Path, fonts) -> dict[str, object]:
    """Slow enough for `ray job stop` to come in time."""
    return {
        "renderer": "trdg",
        "num-cpus": 1,
        "out-uri": str(out),
        "num-lines": 1_500,
        "seed": 3,
        "validation-share": 0.2,
        "lines-per-part": 50,
        "fonts": [font.name for font in fonts],
    }


def small_training(place: Path, lines: Path) -> dict[str, object]:
    """Two epochs; each validation leaves a checkpoint."""
    return {
        "lines-uri": str(lines),
        "model": "tiny",
        "run-name": "run",
        "runs-uri": str(place / "runs"),
        "models-uri": str(place / "models"),
        "epochs": 2,
        "batch-size": 8,
        "lr": 5e-4,
        "validate-every-lines": 400,
    }


def small_evaluation(place: Path, lines: Path) -> dict[str, object]:
    return {
        "model-uri": str(place / "models/best_ocr"),
        "lines-uri": str(lines),
        "out-uri": str(place / "report"),
        "num-workers": 1,
        "num-beams": 4,
        "batch-size": 1,
    }


def has_checkpoint(place: Path) -> bool:
    """Return whether Ray lists a checkpoint of the run."""
    snapshot = place / "runs/run" / SNAPSHOT
    return snapshot.exists() and '"checkpoint_' in snapshot.read_text()


@pytest.mark.soak
def test_jobs_that_are_stopped_and_submitted_again_end_as_if_they_had_not_been(head, fonts, tmp_path) -> None:
    """Render, train, evaluate: each is stopped once on the way; beside it the same, undisturbed."""
    own, other = tmp_path / "stopped", tmp_path / "undisturbed"
    own.mkdir()
    other.mkdir()
    steps = [
        ("render_lines", lambda place: small_lines(place / "lines", fonts), lambda: num_parts(own) > 2),
        ("train_trocr", lambda place: small_training(place, place / "lines"), lambda: has_checkpoint(own)),
        (
            "evaluate_trocr",
            lambda place: small_evaluation(place, place / "lines"),
            lambda: len(list((own / "report/predictions").glob("*.parquet"))) > 2,
        ),
    ]
    for job, flags, is_time in steps:
        told = head.stop_when(is_time, job, flags(own))
        assert "run the same command to go on" in told
        summary = json.loads(head.finish(job, flags(own)))
        head.finish(job, flags(other))
        assert summary == summary | {
            "render_lines": {"unlisted_files": 0},
            "train_trocr": {"trained": True},
        }.get(job, {})
    assert summary["parts_kept"] > 2
    assert_same_dataset(str(own / "lines"), str(other / "lines"))
    for name in ("best_ocr", "trained_ocr"):
        weights, undisturbed = (
            (place / "models" / name / "model.safetensors").read_bytes() for place in (own, other)
        )
        assert weights == undisturbed
    report, undisturbed = (json.loads((place / "report/report.json").read_text()) for place in (own, other))
    for key in report.keys() - {"config", "hashes"}:
        assert report[key] == undisturbed[key], key


def num_parts(place: Path) -> int:
    return len(list_parts(str(place / "lines"))) if (place / "lines").exists() else 0

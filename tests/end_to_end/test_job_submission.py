"""Jobs submitted to a cluster that requires a token: uploaded files, exit codes, stopping and resuming."""

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
    """Copy the project to a folder, and add files that must not be uploaded."""
    for name in ("jobs", "ocr_ray"):
        shutil.copytree(ROOT / name, folder / name)
    for name in (".gitignore", ".rayignore", "pyproject.toml", "cluster.yaml"):
        shutil.copy(ROOT / name, folder / name)
    others = (
        ".env",
        ".git/config",
        ".venv/bin/python",
        "credentials.json",
        "data/lines/train/part.parquet",
        "runs/run/plan.json",
        "jobs/__pycache__/x.pyc",
        "text/jobs/x.txt",
    )
    for name in others:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(SECRET)


def test_submitted_jobs_upload_only_the_code_report_their_exit_code_and_write_no_secret(
    head, fonts, tmp_path
) -> None:
    """The jobs run in parallel, since each waits for its driver to start."""
    plant(tmp_path)
    client, out = head.client(), tmp_path / "lines"
    code = {"working_dir": str(tmp_path)}
    render = ["python", "-m", "jobs.render_lines", "--fonts", fonts[0].name, "--num-lines", "9"]
    listing = client.submit_job(entrypoint=LIST_FILES, runtime_env=code)
    wrong = client.submit_job(entrypoint=shlex.join([*render, "--out-uris", "x"]), runtime_env=code)
    relative = client.submit_job(entrypoint=shlex.join([*render, "--out-uri", "lines"]), runtime_env=code)
    words = ["submit", "--working-dir", ".", "--", *render, "--out-uri", str(out)]
    result = head.run(*words, folder=tmp_path)

    assert result.returncode == 0, result.stdout + result.stderr
    job_id = re.search(r"Job '(\w+)' succeeded", result.stdout)[1]
    summary = json.loads(head.logs(job_id).splitlines()[-1])
    assert (summary["lines"], summary["out_uri"]) == (9, str(out))
    assert json.loads((out / "manifest.json").read_text())["counts"]["lines"] == 9

    assert head.wait_for_end(listing).status == "SUCCEEDED"
    assert str(len(PLANTED)) in head.logs(listing).splitlines()
    uploaded = re.findall(r"^(\d+) (\S+)$", head.logs(listing), re.MULTILINE)
    files = [path for folder in ("jobs", "ocr_ray") for path in (ROOT / folder).rglob("*.*")]
    code_files = {str(path.relative_to(ROOT)) for path in files if path.suffix != ".pyc" and path.is_file()}
    assert sorted(name for _, name in uploaded) == sorted(code_files)
    assert sum(int(size) for size, _ in uploaded) < 6_000_000  # 3.4 MB are the model base

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
def test_requests_without_the_token_are_refused(token: str | None, head, tmp_path) -> None:
    environment = head.without_token
    if token:
        environment = head.environment | {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
        (tmp_path / "token").write_text(token)
    num_jobs = len(head.client().list_jobs())
    result = head.run("submit", "--", "touch", str(tmp_path / "reached"), environment=environment)
    assert result.returncode != 0
    assert ("Invalid" if token else "Missing") + " authentication token" in result.stdout + result.stderr
    assert len(head.client().list_jobs()) == num_jobs
    program = f"import ray; ray.init('{head.gcs_address}')"
    joined = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=False
    )
    assert joined.returncode != 0
    assert not (tmp_path / "reached").exists()


def small_lines(out: Path, fonts) -> dict[str, object]:
    """Return flags of a job that is slow enough to be stopped."""
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


def small_training(folder: Path, lines: Path) -> dict[str, object]:
    """Return flags of two epochs with a checkpoint after each validation."""
    return {
        "lines-uri": str(lines),
        "model": "tiny",
        "run-name": "run",
        "runs-uri": str(folder / "runs"),
        "models-uri": str(folder / "models"),
        "epochs": 2,
        "batch-size": 8,
        "lr": 5e-4,
        "validate-every-lines": 400,
    }


def small_evaluation(folder: Path, lines: Path) -> dict[str, object]:
    return {
        "model-uri": str(folder / "models/best_ocr"),
        "lines-uri": str(lines),
        "out-uri": str(folder / "report"),
        "num-workers": 1,
        "num-beams": 4,
        "batch-size": 1,
    }


def has_checkpoint(folder: Path) -> bool:
    """Return whether Ray lists a checkpoint of the run."""
    snapshot = folder / "runs/run" / SNAPSHOT
    return snapshot.exists() and '"checkpoint_' in snapshot.read_text()


@pytest.mark.soak
def test_jobs_that_are_stopped_and_submitted_again_have_the_same_output(head, fonts, tmp_path) -> None:
    """Render, train and evaluate: each job is stopped once and compared with an undisturbed one."""
    stopped, undisturbed = tmp_path / "stopped", tmp_path / "undisturbed"
    stopped.mkdir()
    undisturbed.mkdir()
    steps = [
        ("render_lines", lambda folder: small_lines(folder / "lines", fonts), lambda: num_parts(stopped) > 2),
        (
            "train_trocr",
            lambda folder: small_training(folder, folder / "lines"),
            lambda: has_checkpoint(stopped),
        ),
        (
            "evaluate_trocr",
            lambda folder: small_evaluation(folder, folder / "lines"),
            lambda: len(list((stopped / "report/predictions").glob("*.parquet"))) > 2,
        ),
    ]
    for job, flags, condition in steps:
        log = head.stop_when(condition, job, flags(stopped))
        assert re.search("run the same command (again )?to resume", log)
        summary = json.loads(head.finish(job, flags(stopped)))
        head.finish(job, flags(undisturbed))
        assert summary == summary | {
            "render_lines": {"unlisted_files": 0},
            "train_trocr": {"trained": True},
        }.get(job, {})
    assert summary["parts_kept"] > 2
    assert_same_dataset(str(stopped / "lines"), str(undisturbed / "lines"))
    for name in ("best_ocr", "trained_ocr"):
        weights, expected_weights = (
            (folder / "models" / name / "model.safetensors").read_bytes() for folder in (stopped, undisturbed)
        )
        assert weights == expected_weights
    report, expected_report = (
        json.loads((folder / "report/report.json").read_text()) for folder in (stopped, undisturbed)
    )
    for each in (report, expected_report):
        assert each["holdout"].pop("training_data").endswith("/lines")
    for key in report.keys() - {"config", "created_at", "hashes"}:
        assert report[key] == expected_report[key], key


def num_parts(folder: Path) -> int:
    return len(list_parts(str(folder / "lines"))) if (folder / "lines").exists() else 0

"""The quickstart as a new user runs it; `make soak`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import duckdb
import pytest
import ray
from transformers import AutoTokenizer, VisionEncoderDecoderModel

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("demo") / "quickstart"
    command = [sys.executable, "-m", "jobs.quickstart", "--out-uri", str(out)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return out, json.loads(result.stdout.splitlines()[-1])


def test_other_programs_open_the_datasets(demo, ray_session, tmp_path) -> None:
    out, _ = demo
    for name in ("words", "spliced"):
        opened = datasets.load_dataset(str(out / "data" / name), cache_dir=str(tmp_path))
        counts = {split: rows.num_rows for split, rows in opened.items()}
        for split, count in counts.items():
            assert ray.data.read_parquet(str(out / "data" / name / split)).count() == count
            query = f"select count(*) from '{out}/data/{name}/{split}/*.parquet'"
            assert duckdb.sql(query).fetchall() == [(count,)]


def test_both_models_load_have_taken_the_same_steps_and_are_compared(demo) -> None:
    out, summary = demo
    steps = []
    for arm in ("pages", "words_spliced-0.5"):
        folder = out / "models" / f"{arm}-seed0" / "trained_ocr"
        VisionEncoderDecoderModel.from_pretrained(folder)
        AutoTokenizer.from_pretrained(folder)
        steps.append(json.loads((folder / "metrics.json").read_text())["metrics"]["step"])
    assert steps == [summary["steps_per_run"]] * 2
    report = json.loads(Path(summary["report"]).read_text())
    evaluated = json.loads((out / "evaluation/pages-seed0/report.json").read_text())
    cer = report["arms"][0]["sets"]["boxes"]["cer"]["value"]
    assert cer == pytest.approx(evaluated["by_dataset"]["boxes"]["cer"])
    page = Path(summary["page"]).read_text(encoding="utf-8")
    assert page.count("<figure") == 6
    assert summary["findings"] == report["findings"]


def test_a_second_run_makes_nothing_again(demo) -> None:
    out, first = demo
    command = [sys.executable, "-m", "jobs.quickstart", "--out-uri", str(out)]
    no_ray = os.environ | {"RAY_ADDRESS": "127.0.0.1:9"}
    result = subprocess.run(command, env=no_ray, capture_output=True, text=True, check=True)
    assert json.loads(result.stdout.splitlines()[-1]) == first
    assert "nothing to train" in result.stderr
    assert first["findings"][-1] in result.stderr
    refused = subprocess.run([*command, "--num-lines", "9"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "--num-lines: 2000 there, 9 now" in refused.stderr

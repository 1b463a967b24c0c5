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
    out, summary = demo
    for name in ("lines", "crops"):
        opened = datasets.load_dataset(str(out / name), cache_dir=str(tmp_path))
        assert opened["train"][0]["image"].size == (384, 384)
        counts = {split: rows.num_rows for split, rows in opened.items()}
        for split, count in counts.items():
            assert ray.data.read_parquet(str(out / name / split)).count() == count
            query = f"select count(*) from '{out}/{name}/{split}/*.parquet'"
            assert duckdb.sql(query).fetchall() == [(count,)]
    assert summary["lines"]["rendered"] == 2_000


def test_the_models_load_and_the_report_counts_every_line(demo) -> None:
    out, summary = demo
    for name in ("best_ocr", "trained_ocr"):
        VisionEncoderDecoderModel.from_pretrained(out / "models" / name)
        AutoTokenizer.from_pretrained(out / "models" / name)
    report = json.loads(Path(summary["report"]).read_text())
    assert report["overall"]["lines"] == 100 + report["by_dataset"]["crops"]["lines"]


def test_a_second_run_makes_nothing_again(demo) -> None:
    out, first = demo
    command = [sys.executable, "-m", "jobs.quickstart", "--out-uri", str(out)]
    no_ray = os.environ | {"RAY_ADDRESS": "127.0.0.1:9"}
    result = subprocess.run(command, env=no_ray, capture_output=True, text=True, check=True)
    assert json.loads(result.stdout.splitlines()[-1]) == first
    assert "nothing to train" in result.stderr
    refused = subprocess.run([*command, "--num-lines", "9"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "num_lines: 2000 there, 9 now" in refused.stderr

"""Evaluation with Ray end to end: predictions, report, page, resume and comparison with a baseline."""

import json
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import jiwer
import pyarrow.parquet as pq
import pytest
from builders.evaluation_data import make_line, write_lines, write_model
from builders.manifests import write_manifest

from ocr_ray.errors import InputError
from ocr_ray.evaluation.config import EvaluationConfig
from ocr_ray.evaluation.job import evaluate_lines, resolve_inputs
from ocr_ray.storage.location import locate

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> EvaluationConfig:
    folder = tmp_path_factory.mktemp("evaluation")
    write_lines(str(folder / "lines"), [[make_line(number) for number in range(6)], [], [make_line(9)]])
    write_lines(str(folder / "crops"), [[make_line(90, page_id="p1"), make_line(91, page_id="p1")]])
    return EvaluationConfig(
        model_uri=str(write_model(folder / "model", seed=1, label_column="text")),
        lines_uri=(str(folder / "lines"), str(folder / "crops")),
        out_uri=str(folder / "out"),
        num_workers=1,
        batch_size=4,
    )


@pytest.fixture(scope="module")
def summary(config: EvaluationConfig) -> dict[str, Any]:
    return evaluate_lines(config)


def read_report(config: EvaluationConfig) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((Path(config.out_uri) / "report.json").read_text())
    return report


def test_the_report_counts_the_predictions(config: EvaluationConfig, summary: dict[str, Any]) -> None:
    parts = sorted((Path(config.out_uri) / "predictions").iterdir())
    rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
    assert [row["line_id"] for row in rows] == [f"{n:09d}" for n in (*range(6), 9, 90, 91)]
    cer = jiwer.cer([row["text"] for row in rows], [row["prediction"] for row in rows])
    assert read_report(config)["overall"]["cer"] == summary["overall"]["cer"] == pytest.approx(cer)
    assert summary["lines"] == 9
    page = Path(config.out_uri, "report.html").read_text()
    assert page.count("data:image/jpeg") >= 9
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_an_interrupted_evaluation_reads_only_missing_parts(
    config: EvaluationConfig, summary: dict[str, Any]
) -> None:
    report, parts = read_report(config), sorted((Path(config.out_uri) / "predictions").iterdir())
    before = {part.name: part.read_bytes() for part in parts}
    parts[0].unlink()
    parts[2].write_bytes(parts[2].read_bytes()[:-9])
    parts[3].touch()
    again = evaluate_lines(config)
    assert again["parts_kept"] == len(parts) - 2
    assert {part.name: part.read_bytes() for part in parts} == before
    assert read_report(config) == report
    assert evaluate_lines(config)["parts_kept"] == len(parts)


def test_other_decoding_flags_make_another_evaluation(
    config: EvaluationConfig, summary: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match="precision: fp32 there, bf16 now"):
        evaluate_lines(replace(config, precision="bf16"))
    assert resolve_inputs(replace(config, use_gpu=True)).plan.config["precision"] == "fp32"
    with pytest.raises(InputError, match="num_beams: 1 there, 2 now"):
        evaluate_lines(replace(config, num_beams=2))
    with pytest.raises(InputError, match=r"max_aspect: nothing there, 5\.0 now"):
        evaluate_lines(replace(config, max_aspect=5.0))


def test_two_models_are_compared_line_by_line(
    config: EvaluationConfig, summary: dict[str, Any], tmp_path: Path
) -> None:
    other = replace(
        config,
        model_uri=str(write_model(tmp_path / "other", seed=2, label_column="text")),
        out_uri=str(tmp_path / "out"),
        baseline=f"{config.out_uri}/report.json",
        num_beams=2,
        max_aspect=1.5,
    )
    evaluate_lines(other)
    report = read_report(other)
    assert report["baseline"]["lines"]["both"] == 9
    cer = report["baseline"]["overall"]["cer"]
    assert cer["here"] == report["overall"]["cer"]
    assert cer["baseline"] == summary["overall"]["cer"]
    assert report["long_lines"]["whole"]["lines"] == 9
    assert "baseline" in Path(other.out_uri, "report.html").read_text()


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ("{folder}/nothing/report.json", "must be a finished evaluation, there is no"),
        ("{folder}", "must be the report.json of an evaluation"),
        ("gs://bucket/report.json", "--baseline must be a local path or s3"),
        ("{folder}/no_predictions/report.json", "needs its predictions, there are none"),
    ],
)
def test_a_baseline_without_a_report_or_predictions_is_an_error(
    config: EvaluationConfig, baseline: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "no_predictions").mkdir()
    (tmp_path / "no_predictions/report.json").write_text("{}")
    with pytest.raises(InputError, match=message):
        evaluate_lines(replace(config, baseline=baseline.format(folder=tmp_path)))


def test_training_datasets_separate_seen_from_unseen_words(
    config: EvaluationConfig, summary: dict[str, Any], tmp_path: Path
) -> None:
    trained = tmp_path / "trained"
    write_lines(str(trained), [[make_line(number) for number in (0, 1, 90)]])
    (trained / "validation").rename(trained / "train")
    write_manifest(locate(str(trained)), by_font={"바탕": 3})
    separated = replace(config, out_uri=str(tmp_path / "out"), trained_on=(str(trained),))
    copytree(config.out_uri, separated.out_uri)
    num_parts = len(list(Path(config.out_uri, "predictions").iterdir()))
    assert evaluate_lines(separated)["parts_kept"] == num_parts
    report = read_report(separated)
    words = {name: entry["counts"] for name, entry in report["by_word_seen"].items()}
    assert words["seen"]["word_hits"] + words["seen"]["word_substitutions"] == 9 + 3  # 탁자, and 0개 1개 90개
    assert words["unseen"]["word_hits"] + words["unseen"]["word_substitutions"] == 6
    assert report["by_font_seen"]["seen"]["lines"] == 7
    assert report["unknown_lines"]["by_font_seen"] == 2
    assert read_report(config)["unknown_lines"]["by_font_seen"] == 9

"""Training over two workers, on S3: its outputs, its refusals, and the same weights after a kill."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import ray
import torch
from safetensors.torch import load_file
from transformers import AutoProcessor, AutoTokenizer, TrOCRProcessor, VisionEncoderDecoderModel

from ocr_ray.errors import InputError
from ocr_ray.evaluation.config import EvaluationConfig
from ocr_ray.evaluation.job import evaluate_lines
from ocr_ray.evaluation.predictions import read_predictions
from ocr_ray.pages.config import CropConfig
from ocr_ray.pages.crop_job import crop_pages
from ocr_ray.pages.synthetic.pages import write_pages
from ocr_ray.render.config import RenderConfig
from ocr_ray.render.job import render_lines
from ocr_ray.storage.location import (
    exists,
    list_files,
    local_copy,
    locate,
    read_bytes,
    read_json,
    write_bytes,
)
from ocr_ray.training.config import TrainConfig, TrainJobConfig
from ocr_ray.training.export import check_models_free, reserve_models
from ocr_ray.training.finished import train_unless_finished
from ocr_ray.training.job import SNAPSHOT, parse_mixture, train_trocr

slow = pytest.mark.slow
EPOCHS = 2


def make_lines(base_uri: str, fonts, num_lines: int = 45) -> tuple[str, str]:
    """Render and crop a few lines; the same for any location."""
    names = tuple(font.name for font in fonts)
    share = 9 / num_lines
    render_lines(
        RenderConfig(out_uri=f"{base_uri}/lines", num_lines=num_lines, fonts=names, validation_share=share)
    )
    write_pages(locate(f"{base_uri}/pages"), num_pages=8, seed=1, font_bytes=fonts[0].content)
    crop_pages(CropConfig(pages_uri=f"{base_uri}/pages", out_uri=f"{base_uri}/crops", validation_share=0.4))
    return f"{base_uri}/lines", f"{base_uri}/crops"


def plan(base_uri: str, lines_uri: tuple[str, ...]) -> TrainJobConfig:
    return TrainJobConfig(
        lines_uri=lines_uri,
        model="tiny",
        run_name="run",
        runs_uri=f"{base_uri}/runs",
        models_uri=f"{base_uri}/models",
        train=TrainConfig(epochs=EPOCHS, batch_size=8, lr=5e-4),
    )


@pytest.fixture(scope="module")
def lines_uri(ray_session, fonts, bucket) -> tuple[str, str]:
    return make_lines(f"{bucket}/undisturbed", fonts)


@pytest.fixture(scope="module")
def undisturbed(lines_uri, bucket) -> TrainJobConfig:
    """A run that nothing interrupts."""
    config = plan(f"{bucket}/undisturbed", lines_uri)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TRAIN_ENABLE_STATE_TRACKING", "1")  # as on a cluster
        summary = train_trocr(config)
    assert summary["trained"]
    return config


def read_weights(models_uri: str, name: str = "trained_ocr") -> dict[str, torch.Tensor]:
    with local_copy(locate(models_uri) / name) as folder:
        return load_file(folder / "model.safetensors")


def assert_same_weights(models_uri: str, other_uri: str) -> None:
    for name in ("best_ocr", "trained_ocr"):
        own, other = read_weights(models_uri, name), read_weights(other_uri, name)
        assert own.keys() == other.keys()
        assert all(torch.equal(own[key], other[key]) for key in own)


@slow
def test_the_models_load_and_hold_their_metrics(undisturbed) -> None:
    for name in ("best_ocr", "trained_ocr"):
        with local_copy(locate(undisturbed.models_uri) / name) as folder:
            model = VisionEncoderDecoderModel.from_pretrained(folder)
            tokenizer = AutoTokenizer.from_pretrained(folder)
            processor = AutoProcessor.from_pretrained(folder)
            assert (type(processor), processor.tokenizer.get_vocab()) == (
                TrOCRProcessor,
                tokenizer.get_vocab(),
            )
            metrics = json.loads((folder / "metrics.json").read_text())
            with local_copy(locate(undisturbed.runs_uri) / "run/tiny_model") as source:
                for file in ("tokenizer.json", "preprocessor_config.json", "vocab.json", "merges.txt"):
                    assert (folder / file).read_bytes() == (source / file).read_bytes()
        assert model.generation_config.no_repeat_ngram_size == 0
        text = "□ × 7 = 1000, 3㎝"
        assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text
        assert [record["epoch"] for record in metrics["history"]] == [
            *range(1, metrics["metrics"]["epoch"] + 1)
        ]
        assert (metrics["base_model"], metrics["label_column"]) == ("tiny", "text")
        assert "model.safetensors" in metrics["base_model_files"]["files"]
        assert {"lines/validation_cer", "crops/validation_wer", "validation_loss_page"} <= metrics[
            "metrics"
        ].keys()


@slow
def test_ray_keeps_the_best_checkpoint_and_the_latest(undisturbed) -> None:
    run = locate(undisturbed.runs_uri) / "run"
    best = read_json(locate(undisturbed.models_uri) / "best_ocr/metrics.json")["metrics"]
    assert best["validation_loss"] == best["score"] == best["best_score"]
    kept = {path.split("/")[0] for path in list_files(run) if re.match(r"checkpoint_.*-.*-.*/", path)}
    assert len(kept) == (1 if best["epoch"] == EPOCHS else 2)


@slow
def test_the_actors_of_ray_train_have_the_address_of_this_ray(undisturbed) -> None:
    """Not that of the last `ray start` on the machine, which can be gone."""
    states = ray.get_actor("train_v2_state_actor", namespace="_train_state_actor")
    address = ray.get(states.__ray_call__.remote(lambda _: os.environ.get("RAY_ADDRESS")))
    assert address == ray.get_runtime_context().gcs_address
    assert "RAY_ADDRESS" not in os.environ


@slow
def test_a_finished_run_trains_nothing_and_exports_what_is_missing(undisturbed, tmp_path) -> None:
    elsewhere = replace(undisturbed, models_uri=str(tmp_path / "models"))
    for _ in range(2):
        assert train_trocr(elsewhere)["trained"] is False
        assert_same_weights(elsewhere.models_uri, undisturbed.models_uri)
    summary = train_unless_finished(elsewhere)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr("ocr_ray.training.job.train_trocr")  # not needed: the run is known to have finished
        assert train_unless_finished(elsewhere) == summary
    missing = tmp_path / "models/best_ocr/config.json"
    missing.unlink()
    train_unless_finished(elsewhere)
    assert missing.is_file()
    for name in ("metrics.json", "model.safetensors"):
        lost = locate(undisturbed.models_uri) / "trained_ocr" / name
        before = read_bytes(lost)
        lost.filesystem.delete_file(lost.path)
        assert train_trocr(undisturbed)["trained"] is False
        assert read_bytes(lost) == before


@slow
def test_another_configuration_is_refused(undisturbed, tmp_path) -> None:
    with pytest.raises(InputError, match=r"lr: 0.0005 there, 0.1 now.*choose another --run-name"):
        train_trocr(replace(undisturbed, train=replace(undisturbed.train, lr=0.1)))
    with pytest.raises(InputError, match=r"global_batch_size: 16 there, 32 now"):
        train_trocr(replace(undisturbed, num_workers=4))
    with pytest.raises(InputError, match=r"--fresh needs a new --run-name, .*/run exists already"):
        train_trocr(replace(undisturbed, fresh=True))
    with pytest.raises(InputError, match=r"--precision fp16 needs a GPU"):
        train_trocr(replace(undisturbed, train=replace(undisturbed.train, precision="fp16")))
    with pytest.raises(InputError, match=r"run: .* choose another --models-uri"):
        train_trocr(replace(undisturbed, runs_uri=str(tmp_path / "runs")))
    with pytest.raises(InputError, match=r"lines.crops.train: \w{12}… there, nothing now"):
        train_trocr(replace(undisturbed, lines_uri=undisturbed.lines_uri[:1]))
    tokenizer = locate(undisturbed.runs_uri) / "run/tiny_model/tokenizer.json"
    content = read_bytes(tokenizer)
    write_bytes(tokenizer, content + b" ")
    with pytest.raises(InputError, match=r"model that .*/run began with, .*tokenizer.json: \w{12}… there"):
        train_trocr(replace(undisturbed, train=replace(undisturbed.train, epochs=EPOCHS + 1)))
    write_bytes(tokenizer, content)
    snapshot = locate(undisturbed.runs_uri) / "run" / SNAPSHOT
    content = read_bytes(snapshot)
    for damaged in (b"", content[:-20], content.replace(b'"checkpoint_2', b'"checkpoint_3')):
        write_bytes(snapshot, damaged)
        with pytest.raises(InputError, match=rf"/run cannot be resumed: {SNAPSHOT} must be complete"):
            train_trocr(undisturbed)
    write_bytes(snapshot, content)
    with pytest.raises(InputError, match=r"--models-uri must not be the folder of the run, .*/run; choose"):
        train_trocr(replace(undisturbed, models_uri=f"{undisturbed.runs_uri}/run"))
    no_model = replace(undisturbed, model=str(tmp_path), run_name="other", models_uri=str(tmp_path / "m"))
    with pytest.raises(InputError, match=r"must be a Hugging Face folder"):
        train_trocr(no_model)


def test_only_models_reserve_the_models_folder_for_a_run(tmp_path) -> None:
    """A run that was begun and has made none does not."""
    models, run, other = (locate(str(tmp_path / name)) for name in ("models", "run", "other"))
    reserve_models(models, other)
    check_models_free(models, run)
    (tmp_path / "models/best_ocr").mkdir()
    (tmp_path / "models/best_ocr/config.json").write_text("{}")
    with pytest.raises(InputError, match=r"\(run: .* there, .* now\); choose another --models-uri"):
        check_models_free(models, run)
    check_models_free(models, other)


def kill_after_first_checkpoint(config: TrainJobConfig, log_path: Path) -> None:
    """Start the job as a user would and kill it and all its processes when Ray lists its first checkpoint."""
    flags = {
        "--model": config.model,
        "--run-name": config.run_name,
        "--runs-uri": config.runs_uri,
        "--models-uri": config.models_uri,
        "--epochs": config.train.epochs,
        "--batch-size": config.train.batch_size,
        "--lr": config.train.lr,
    }
    command = [sys.executable, "-m", "jobs.train_trocr", "--lines-uri", *config.lines_uri]
    command += [str(word) for flag in flags.items() for word in flag]
    snapshot = locate(config.runs_uri) / config.run_name / SNAPSHOT
    with log_path.open("w") as log:
        driver = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"RAY_ADDRESS": ""})
        while not (exists(snapshot) and b'"checkpoint_' in read_bytes(snapshot)):
            assert driver.poll() is None, log_path.read_text()
            time.sleep(0.05)
        for process in [*psutil.Process(driver.pid).children(recursive=True), driver]:
            process.kill()
        driver.wait()


@pytest.mark.soak
def test_a_run_on_s3_that_was_killed_resumes_to_the_same_weights(
    undisturbed, fonts, bucket, tmp_path
) -> None:
    """The lines do not depend on their location, so training on disk and on S3 gives the same weights."""
    base_uri = f"{bucket}/killed"
    config = plan(base_uri, make_lines(str(tmp_path), fonts))
    kill_after_first_checkpoint(config, tmp_path / "log")
    assert not exists(locate(config.models_uri) / "trained_ocr")
    assert train_trocr(config)["trained"]
    assert_same_weights(config.models_uri, undisturbed.models_uri)
    summary = evaluate_lines(
        EvaluationConfig(
            model_uri=f"{config.models_uri}/best_ocr",
            lines_uri=config.lines_uri,
            out_uri=f"{base_uri}/evaluation",
        )
    )
    report = read_json(locate(summary["report"]))
    out = locate(f"{base_uri}/evaluation")
    parts = list(list_files(out / "predictions"))
    assert parts == ["part-00000.parquet", "part-00001.parquet"]
    rows = [table.num_rows for table in read_predictions(out, [f"predictions/{part}" for part in parts])]
    assert rows == [report["by_dataset"][name]["lines"] for name in ("lines", "crops")]
    assert summary["lines"] == sum(rows) == sum(entry["lines"] for entry in report["by_source"].values()) > 9
    best = read_json(locate(config.models_uri) / "best_ocr/metrics.json")["metrics"]
    assert report["overall"]["cer"] == best["validation_cer"]


def test_mixture_weights_are_by_dataset_and_sum_to_one(tmp_path) -> None:
    datasets = {name: locate(str(tmp_path / name)) for name in ("lines", "crops")}
    mix = (f"{tmp_path}/crops=3", f"{tmp_path}/lines=1")
    assert parse_mixture(mix, datasets) == {"lines": 0.25, "crops": 0.75}
    assert parse_mixture((), datasets) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lines=0.4"], "must name each of --lines-uri, crops is missing"),
        (["lines=0.4", "lines=0.6"], "URI=WEIGHT for each of --lines-uri once.*lines=0.6"),
        (["lines=0.4", "crops=0"], "weight above 0, got .*crops=0"),
        (["lines=0.4", "crops=nan"], "weight above 0, got .*crops=nan"),
        (["lines=0.4", "crops"], "URI=WEIGHT"),
        (["lines=0.4", "pages=1"], "URI=WEIGHT"),
    ],
)
def test_mixture_weights_of_other_datasets_are_refused(words: list[str], message: str, tmp_path) -> None:
    datasets = {name: locate(str(tmp_path / name)) for name in ("lines", "crops")}
    with pytest.raises(InputError, match=message):
        parse_mixture([f"{tmp_path}/{word}" for word in words], datasets)


@pytest.mark.parametrize(
    ("field", "value"), [("num_workers", 0), ("keep_checkpoints", 0), ("max_failures", -1), ("lines_uri", ())]
)
def test_invalid_fields_are_refused(field: str, value: object) -> None:
    fields = {"lines_uri": ("x",), "models_uri": "y", "run_name": "z"} | {field: value}
    with pytest.raises(ValueError, match=f"{field} must"):
        TrainJobConfig(**fields)


def test_workers_that_do_not_divide_the_global_batch_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"multiple of 48, which is batch_size 16 x 3 workers, got 64"):
        TrainJobConfig(
            lines_uri=("x",),
            models_uri="y",
            run_name="z",
            num_workers=3,
            train=TrainConfig(global_batch_size=64),
        )

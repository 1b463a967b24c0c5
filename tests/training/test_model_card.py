"""The card of a model, as a browser shows it and as Python runs it."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from builders.manifests import write_manifest
from builders.training_data import draw_text, make_lines, make_texts, make_tiny_model, write_split
from dataset.test_card import read_tables
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.dataset.hub import AI_HUB
from ocr_ray.dataset.images import ImageConfig, encode_image
from ocr_ray.model.pixels import make_pixel_values
from ocr_ray.storage.location import locate
from ocr_ray.training.model_card import describe_datasets, describe_versions, model_card

VALIDATION = {
    "kind": "validation",
    "epoch": 2,
    "lines": 60_000,
    "validation_loss_all": 0.51234,
    "validation_cer": 0.25,
    "validation_generated_lines": 1234.0,
    "crops/validation_loss_all": 0.75,
    "crops/validation_cer": 0.5,
    "crops/validation_wer": 0.625,
    "lines/validation_cer": 0.125,
}
ABOUT: dict[str, Any] = {
    "run": "s3://bucket/runs/first",
    "base_model": "team-lucid/trocr-small-korean",
    "label_column": "text",
    "metrics": {"lines": 60_000, "score": 0.5},
    "history": [{**VALIDATION, "lines": 30_000, "validation_cer": 0.9}, VALIDATION],
    "config": {
        "job": "train_trocr",
        "lines": {"crops": {"train": "ab"}},
        "seed": 7,
        "lr": 5e-5,
        "shares": {"crops": 0.5},
    },
    "datasets": {
        "crops": {
            "uri": "/data/crops",
            "manifest_sha256": "c" * 64,
            "lines": {"train": 12_179, "validation": 3_045},
        },
        "lines": {"uri": "/data/lines", "manifest_sha256": "d" * 64, "lines": {"train": 1_804_567}},
    },
    "mixture": "2 context-free lines to 3 contextual ones: ratio 0.667.",
    "mixture_warning": "context-free lines should be *fewer*",
    "versions": {"torch": "2.13.0"},
}


def make_samples(lines: int, *texts: str) -> list[dict[str, Any]]:
    return [
        {"lines": lines, "dataset": "crops", "line_id": f"0{n}", "truth": text, "prediction": text[::-1]}
        for n, text in enumerate(texts)
    ]


def test_a_card_holds_metrics_data_settings_and_versions() -> None:
    card = model_card("best_ocr", ABOUT, make_samples(60_000, "탁자 7개"))
    tables = read_tables(card)
    assert tables["validation lines of", "loss", "CER", "lines read"] == [
        ["all", "0.5123", "0.2500", "1,234"],
        ["crops", "0.7500", "0.5000", ""],
        ["lines", "", "0.1250", ""],
    ]
    assert "after 60,000 lines, in epoch 2" in card
    assert tables["dataset", "location", "train lines", "validation lines", "SHA-256 of manifest.json"] == [
        ["crops", "/data/crops", "12,179", "3,045", "c" * 64],
        ["lines", "/data/lines", "1,804,567", "0", "d" * 64],
    ]
    assert tables["setting", "value"] == [["seed", "7"], ["lr", "5e-05"], ["shares.crops", "0.5"]]
    assert tables["package", "version"] == [["torch", "2.13.0"]]
    facts = dict(map(tuple, tables["", ""]))
    assert facts["base model"] == "team-lucid/trocr-small-korean"
    assert (facts["label column"], facts["seed"], facts["run"]) == ("text", "7", "s3://bucket/runs/first")
    assert facts["weights after"] == "60,000 lines"
    assert "2 context-free lines to 3 contextual ones: ratio 0.667." in card
    assert r"should be \*fewer\*" in card


def test_only_the_samples_of_the_last_validation_are_shown() -> None:
    card = model_card("best_ocr", ABOUT, make_samples(30_000, "old") + make_samples(60_000, "가나", "다"))
    assert read_tables(card)["dataset", "line_id", "reference", "prediction"] == [
        ["crops", "00", "가나", "나가"],
        ["crops", "01", "다", "다"],
    ]


@settings(deadline=None, max_examples=50)
@given(st.text(st.sampled_from("가a1 \n\\`*_{}[]()<>|~$&#+-.!'\"=:;/")))
def test_any_prediction_is_shown_as_it_is(text: str) -> None:
    card = model_card("best_ocr", ABOUT, make_samples(60_000, text))
    ((*_, reference, prediction),) = read_tables(card)["dataset", "line_id", "reference", "prediction"]
    assert (reference, prediction) == (" ".join(text.split()), " ".join(text[::-1].split()))


def test_missing_values_are_left_out() -> None:
    known = {key: ABOUT[key] for key in ("run", "base_model", "label_column", "metrics")}
    card = model_card("trained_ocr", known, [])
    assert list(read_tables(card)) == [("", "")]
    for word in ("None", "## Data", "Validation after", "Sample predictions", "setting", "model-index"):
        assert word not in card


@pytest.mark.parametrize(
    ("base_model", "is_named"),
    [
        ("team-lucid/trocr-small-korean", True),
        ("tiny", False),
        ("s3://bucket/models/best_ocr", False),
        ("/models/best_ocr", False),
        ("models/best_ocr", False),
    ],
)
def test_the_metadata_names_a_base_model_that_is_on_the_hub(
    base_model: str, is_named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models/best_ocr").mkdir(parents=True)
    card = model_card("best_ocr", {**ABOUT, "base_model": base_model}, [])
    header = yaml.safe_load(card.split("---\n")[1])
    assert header.get("base_model") == (base_model if is_named else None)


def test_the_hub_library_reads_the_metadata_with_cer_and_wer_of_each_dataset() -> None:
    about = {**ABOUT, "datasets": {**ABOUT["datasets"], "내 책/1": ABOUT["datasets"]["crops"]}}
    data = ModelCard(model_card("best_ocr", about, [])).data
    assert (data.language, data.pipeline_tag, data.library_name) == ("ko", "image-to-text", "transformers")
    assert data.base_model == "team-lucid/trocr-small-korean"
    assert data.datasets == ["crops", "lines"]  # only names that can be ids on the hub
    assert data.metrics == ["cer", "wer"]
    assert data.license == "unknown"
    assert data.model_name == "best_ocr"
    assert [(r.dataset_name, r.dataset_split, r.metric_type, r.metric_value) for r in data.eval_results] == [
        ("crops", "validation", "cer", 0.5),
        ("crops", "validation", "wer", 0.625),
        ("lines", "validation", "cer", 0.125),
    ]


def test_the_metadata_and_the_text_say_if_the_licence_forbids_to_publish() -> None:
    card = ModelCard(model_card("best_ocr", {**ABOUT, "license": AI_HUB}, []))
    assert (card.data.license, card.data.to_dict()["license_name"]) == ("other", "ai-hub")
    assert "Do not publish this model" in card.text
    card = ModelCard(model_card("best_ocr", {**ABOUT, "license": "mit"}, []))
    assert card.data.license == "mit"
    assert "Do not publish" not in card.text


def test_five_lines_of_the_card_read_a_line_as_this_package_does(tmp_path: Path) -> None:
    ocr = make_tiny_model(tmp_path / "best_ocr")
    image = draw_text("desk 3 + 4 = 7")
    image.save(tmp_path / "line.png")
    card = model_card("best_ocr", {**ABOUT, "base_model": "tiny"}, [])
    (program,) = re.findall(r"```python\n(.*?)\n```", card, re.DOTALL)
    assert len(program.splitlines()) == 5
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    with torch.no_grad():
        tokens = ocr.network.generate(
            make_pixel_values(ocr, [encode_image(image, ImageConfig(size="native", format="png"))])
        )
    (expected,) = ocr.decode(tokens)
    assert expected
    assert run.stdout.strip() == expected


def test_a_dataset_is_identified_by_the_hash_of_its_manifest(tmp_path: Path) -> None:
    folder = locate(str(tmp_path / "crops"))
    lines = make_lines(make_texts(3))
    write_split(tmp_path / "crops", "train", lines)
    write_split(tmp_path / "crops", "validation", lines[:1])
    write_manifest(folder)
    content = (tmp_path / "crops/manifest.json").read_bytes()
    assert describe_datasets({"crops": folder}) == {
        "crops": {
            "uri": str(tmp_path / "crops"),
            "manifest_sha256": hashlib.sha256(content).hexdigest(),
            "lines": {"train": 3, "validation": 1},
        }
    }


def test_versions_are_those_installed() -> None:
    versions = describe_versions()
    assert versions["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert all(versions.values())

"""Publishing: refused for what comes from AI Hub, else done by the real client to a hub of this test."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
from builders.manifests import write_manifest
from dataset.test_card import make_manifest
from fakes.hub import TOKEN, Hub, run_hub
from huggingface_hub import DatasetCard, DatasetCardData

from ocr_ray.dataset.card import dataset_card
from ocr_ray.dataset.hub import AI_HUB, DATASET_FILES, HubConfig, check_push, find_license, push
from ocr_ray.errors import InputError
from ocr_ray.pages.config import CropConfig
from ocr_ray.pages.crop_job import crop_pages
from ocr_ray.render.config import RenderConfig, SourceConfig
from ocr_ray.render.job import render_lines
from ocr_ray.storage.location import locate, write_json
from ocr_ray.training.base_model import find_model_license
from ocr_ray.training.config import TrainJobConfig
from ocr_ray.training.finished import train_unless_finished

TO_HUB = HubConfig(push_to_hub="me/lines")
REFUSED = "--push-to-hub must not publish what is made from pages of AI Hub"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with run_hub() as hub:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


def write_dataset(folder: Path, job: str, **flags: str) -> str:
    location = locate(str(folder))
    write_manifest(location)
    manifest = json.loads((folder / "manifest.json").read_text())
    write_json(location / "manifest.json", manifest | {"config": {"job": job}, "flags": flags})
    return str(folder)


def plan_training(tmp_path: Path, *datasets: str, **values: object) -> TrainJobConfig:
    return TrainJobConfig(
        lines_uri=datasets,
        models_uri=str(tmp_path / "models"),
        runs_uri=str(tmp_path / "runs"),
        run_name="first",
        **values,
    )


def test_the_licence_is_that_given_and_for_pages_that_of_ai_hub() -> None:
    assert find_license({"job": "render_lines"}, {}) is None
    assert find_license({"job": "render_lines"}, {"texts-uri": "crops"}) == AI_HUB
    assert find_license({"job": "label_pages"}, {}) == AI_HUB
    assert find_license({"job": "crop_pages"}, {"license": "cc-by-4.0"}) == "cc-by-4.0"
    with pytest.raises(ValueError, match=r"license must be the hub's name of one, .* got 'My own'"):
        HubConfig(license="My own")


def test_what_comes_from_ai_hub_is_refused_before_any_work(tmp_path: Path, hub: Hub) -> None:
    out = str(tmp_path / "out")
    with pytest.raises(InputError, match=REFUSED):
        crop_pages(CropConfig(pages_uri=str(tmp_path / "none"), out_uri=out, hub=TO_HUB))
    texts = SourceConfig(texts_uri=str(tmp_path / "crops"))
    with pytest.raises(InputError, match=REFUSED):
        render_lines(RenderConfig(out_uri=out, sources=texts, hub=TO_HUB))
    crops = write_dataset(tmp_path / "crops", "crop_pages")
    with pytest.raises(InputError, match=REFUSED):
        train_unless_finished(plan_training(tmp_path, crops, model="tiny", hub=TO_HUB))
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "models").exists()
    assert not hub.repositories


def test_a_model_passes_the_licence_of_its_data_on_to_models_trained_from_it(tmp_path: Path) -> None:
    lines, crops = (
        write_dataset(tmp_path / "lines", "render_lines"),
        write_dataset(tmp_path / "c", "crop_pages"),
    )
    own = write_dataset(tmp_path / "own", "crop_pages", license="cc-by-4.0")

    def find(*datasets: str, model: str = "tiny", **values: str) -> str | None:
        config = plan_training(tmp_path, *datasets, model=model, hub=HubConfig(**values))
        return find_model_license(config, {name: locate(name) for name in datasets})

    assert find(lines) is None
    assert find(lines, own, license="mit") == "mit"
    assert find(lines, crops, license="mit") == AI_HUB
    base = tmp_path / "best_ocr"
    for about, expected in (
        ({"license": AI_HUB}, AI_HUB),
        ({"datasets": {"crops": {}}}, AI_HUB),  # of a version that did not record it
        ({"datasets": {"lines": {}}, "license": None}, "mit"),
    ):
        write_json(locate(str(base)) / "metrics.json", about)
        assert find(lines, model=str(base), license="mit") == expected


def test_a_dataset_is_uploaded_without_the_files_of_its_maker(tmp_path: Path, hub: Hub) -> None:
    for name in ("README.md", "manifest.json", "lines.jpg", "plan.json", "preview.html", ".lease.json"):
        (tmp_path / name).write_text("---\nlicense: mit\n---\n")
    for name in ("train/part-00000.parquet", "rejects/train-part-00000.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"rows")
    check_push(replace(TO_HUB, license="mit"), "mit")
    address = push(locate(str(tmp_path)), "me/lines", "dataset", DATASET_FILES)
    assert address.startswith(hub.url)
    assert [(made["name"], made["type"], made["visibility"]) for made in hub.repositories] == [
        ("lines", "dataset", "private")
    ]
    place = "datasets/me/lines/"
    names = ("README.md", "manifest.json", "lines.jpg", "train/part-00000.parquet")
    assert set(hub.files) == {place + name for name in names}
    assert hub.files[f"{place}train/part-00000.parquet"] == b"rows"
    assert hub.validated


@pytest.mark.parametrize(
    ("repository", "token", "message"),
    [
        ("me/lines/train", TOKEN, "must be a repository such as me/lines"),
        ("me/lines", "hf_wrong", "needs a token in HF_TOKEN .* that the hub knows"),
    ],
)
def test_a_wrong_name_or_token_is_refused(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, repository: str, token: str, message: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(InputError, match=message):
        check_push(HubConfig(push_to_hub=repository), None)


def test_cards_name_the_licence_as_the_hub_reads_it() -> None:
    crops = DatasetCard(dataset_card(make_manifest(config={"job": "crop_pages"})))
    assert isinstance(crops.data, DatasetCardData)
    assert crops.data.license == "other"
    assert crops.data.to_dict()["license_name"] == "ai-hub"
    assert "Do not publish this dataset" in crops.text
    lines = DatasetCard(dataset_card(make_manifest(flags={"license": "cc-by-4.0"})))
    assert (lines.data.license, lines.data.size_categories) == ("cc-by-4.0", "10K<n<100K")
    assert "Do not publish" not in lines.text

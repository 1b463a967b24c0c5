"""What a run records of the model that it starts from."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

from ocr_ray.errors import InputError
from ocr_ray.storage.location import Location, locate, write_json
from ocr_ray.training.base_model import check_same_model, describe_model
from ocr_ray.training.config import TrainConfig
from ocr_ray.training.setup import first_model

FIRST, SECOND = "a" * 40, "b" * 40
"""Commits of a model on the hub."""


@pytest.fixture
def copy(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def begin_run(tmp_path: Path, model: dict[str, Any]) -> Location:
    run = locate(str(tmp_path / "run"))
    write_json(run / "plan.json", {"config": {}, "model": model})
    return run


def test_the_hashes_are_those_of_the_files_and_the_location_is_absolute(copy: Path, monkeypatch) -> None:
    monkeypatch.chdir(copy.parent)
    described = describe_model(copy, locate("model"))
    assert described["uri"] == str(copy)
    names = {"config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"}
    assert names < set(described["files"])
    for name, sha256 in described["files"].items():
        assert sha256 == hashlib.sha256((copy / name).read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_run_refuses_a_changed_file_of_its_model(name: str, copy: Path, tmp_path: Path) -> None:
    run = begin_run(tmp_path, describe_model(copy, locate(str(copy))))
    check_same_model(run, describe_model(copy, locate(str(copy))))
    content = (copy / name).read_bytes()
    changed = content[:-1] + b" "
    (copy / name).write_bytes(changed)
    before, after = (hashlib.sha256(c).hexdigest()[:12] for c in (content, changed))
    reason = rf"^--model must be .* {copy} .*\({name}: {before}… there, {after}… now\)"
    with pytest.raises(InputError, match=reason):
        check_same_model(run, describe_model(copy, locate(str(copy))))
    (copy / name).unlink()
    with pytest.raises(InputError, match=rf"\({name}: {before}… there, nothing now\)"):
        check_same_model(run, describe_model(copy, locate(str(copy))))


def test_a_run_goes_on_with_the_commit_of_the_hub_that_it_began_with(
    model_folder: Path, tmp_path: Path, monkeypatch
) -> None:
    """The hub's cache on this machine holds two commits; its branch moves from the first to the second."""
    cache = tmp_path / "models--owner--name"
    for commit in (FIRST, SECOND):
        shutil.copytree(model_folder, cache / "snapshots" / commit)
    (cache / "refs").mkdir()
    (cache / "refs/main").write_text(FIRST)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    run = locate(str(tmp_path / "run"))
    for _ in range(2):
        with first_model("owner/name", run, [], TrainConfig()) as (folder, source):
            assert (folder.name, source) == (FIRST, f"owner/name@{FIRST}")
            described = describe_model(folder, source)
            assert (described["uri"], described["commit"]) == ("owner/name", FIRST)
            begin_run(tmp_path, described)
        (cache / "refs/main").write_text(SECOND)

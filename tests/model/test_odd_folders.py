"""Whatever is wrong with the folder of a model, loading it ends with an error that names it."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from builders.odd_models import DAMAGES, JSON_DAMAGE, write
from builders.standin_model import write_standin

from ocr_ray.errors import InputError
from ocr_ray.model.load import load_model
from ocr_ray.model.read import inspect_model
from ocr_ray.storage.location import locate

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin(tmp_path_factory.mktemp("good") / "model")


@pytest.mark.parametrize(
    "content",
    [
        *(content for kind, content in JSON_DAMAGE.items() if kind != "UTF-16"),  # Python reads that
        *('{"label_column": ["text"]}', '{"label_column": 7}', None),
    ],
)
def test_metrics_that_cannot_be_read_are_refused_by_name(
    good: Path, tmp_path: Path, content: bytes | str | None
) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(good, folder)
    if content is None:
        (folder / "metrics.json").mkdir()
    else:
        write("metrics.json", content)(folder)
    with pytest.raises(InputError, match=re.escape(f"{folder}/metrics.json")):
        inspect_model(locate(str(folder)))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_folder_that_cannot_be_a_model_is_refused_by_name(good: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(good, folder)
    DAMAGES[damage](folder)
    with pytest.raises(InputError, match=re.escape(str(folder))):
        load_model(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "sentencepiece.bpe.model"])
def test_a_folder_that_was_cloned_without_git_lfs_is_refused_with_what_to_do(
    good: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(good, folder)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 134\n"
    write(name, pointer)(folder)
    with pytest.raises(InputError, match=rf"{re.escape(str(folder / name))} must .*`git lfs pull`"):
        load_model(folder)

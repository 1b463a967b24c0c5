"""Whatever is wrong with the folder of a model, loading it ends with an error that names it."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from builders.odd_models import DAMAGES
from builders.standin_model import write_standin

from ocr_ray.errors import InputError
from ocr_ray.model.load import load_model

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin(tmp_path_factory.mktemp("good") / "model")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_folder_that_cannot_be_a_model_is_refused_by_name(good: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(good, folder)
    DAMAGES[damage](folder)
    with pytest.raises(InputError, match=re.escape(str(folder))):
        load_model(folder)

from pathlib import Path

import pytest

from ocr_ray.errors import InputError
from ocr_ray.evaluation.inputs import find_parts
from ocr_ray.model.trained import read_label_column
from ocr_ray.storage.location import locate


def test_parts_are_the_parquet_files_of_the_split_in_order(tmp_path: Path) -> None:
    for name in ("validation/part-00001.parquet", "validation/part-00000.parquet", "validation/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    parts = find_parts("lines", locate(str(tmp_path)), "validation")
    assert [part.location.name for part in parts] == ["part-00000.parquet", "part-00001.parquet"]
    assert {part.dataset for part in parts} == {"lines"}
    with pytest.raises(InputError, match="must hold a split 'test'"):
        find_parts("lines", locate(str(tmp_path)), "test")


def test_the_label_column_is_that_of_the_training(tmp_path: Path) -> None:
    assert read_label_column(tmp_path) == "text"
    (tmp_path / "metrics.json").write_text('{"label_column": "markup"}')
    assert read_label_column(tmp_path) == "markup"
    (tmp_path / "metrics.json").write_text('{"label_column": "font"}')
    with pytest.raises(InputError, match="must be one of text, markup, got 'font'"):
        read_label_column(tmp_path)

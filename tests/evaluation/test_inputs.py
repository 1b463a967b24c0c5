import logging
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from builders.stub_lines import make_line

from ocr_ray.dataset.lines import TextLine, WordOrigin, lines_to_table
from ocr_ray.errors import InputError
from ocr_ray.evaluation.inputs import LinesPart, find_parts, read_word_origins
from ocr_ray.model.metrics_file import read_label_column
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


def write_lines(path: Path, lines: list[TextLine], *, drop: list[str]) -> LinesPart:
    pq.write_table(lines_to_table(lines).drop_columns(drop), path)
    return LinesPart(dataset=path.stem, location=locate(str(path)))


def test_the_origins_of_spliced_words_are_read_and_their_absence_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    origins = (WordOrigin("p#0", 2), WordOrigin("q#1.0", 0))
    lines = [make_line(1), replace(make_line(2), source="spliced", line_id="s", spliced_from=origins)]
    parts = [
        write_lines(tmp_path / "new.parquet", lines, drop=[]),
        write_lines(tmp_path / "old.parquet", lines, drop=["spliced_from"]),
        write_lines(tmp_path / "rendered.parquet", lines[:1], drop=["spliced_from"]),
    ]
    with caplog.at_level(logging.WARNING):
        assert read_word_origins(parts) == {("new", "s"): list(origins)}
    (message,) = caplog.messages
    assert message.startswith("old has spliced lines without the column spliced_from")

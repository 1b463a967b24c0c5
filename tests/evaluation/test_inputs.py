import logging
import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from builders.manifests import write_manifest
from builders.stub_lines import make_line
from builders.training_data import write_split

from ocr_ray.dataset.lines import TextLine, WordOrigin, lines_to_table
from ocr_ray.dataset.plan import Plan
from ocr_ray.errors import InputError
from ocr_ray.evaluation.analysis.slices import SliceInputs
from ocr_ray.evaluation.inputs import (
    EvaluationInputs,
    LinesPart,
    find_parts,
    find_training_datasets,
    read_slice_inputs,
    read_word_origins,
)
from ocr_ray.model.metrics_file import read_label_column
from ocr_ray.model.options import Decoding
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


def test_training_data_that_cannot_be_reached_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as server:  # a port without a server
        server.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    facts = {"uri": "s3://elsewhere/lines", "manifest_sha256": "0" * 64}
    assert find_training_datasets({"datasets": {"lines": facts}}) == {}
    assert find_training_datasets({"datasets": {"gone": {**facts, "uri": str(tmp_path / "gone")}}}) == {}
    write_manifest(locate(str(tmp_path)))
    assert find_training_datasets({"datasets": {"other": {**facts, "uri": str(tmp_path)}}}) == {}
    reasons = ("cannot be read .*elsewhere", "gone, which does not exist any more", "which has changed since")
    for message, reason in zip(caplog.messages, reasons, strict=True):
        assert re.search(f"{reason}.*pass the training datasets with --trained-on", message)


@pytest.mark.parametrize(
    "datasets",
    [7, ["lines"], {"lines": None}, {"lines": {}}, {"lines": {"uri": 3}}, {"lines": {"uri": "gs://a/b"}}],
    ids=repr,
)
def test_a_model_that_names_its_training_data_wrongly_is_evaluated_without(
    datasets: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert find_training_datasets({"datasets": datasets}) == {}
    assert "must name its training datasets" in caplog.text


def test_damaged_training_data_is_a_warning_unless_the_user_named_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = locate(str(tmp_path / "trained"))
    line = make_line(1)
    write_split(tmp_path / "trained", "train", [line, replace(line, line_id="2", text="8" * 3_000)])
    write_manifest(trained)
    inputs = EvaluationInputs(
        model="m",
        label_column="text",
        datasets={},
        parts=(),
        out=locate(str(tmp_path / "out")),
        training_datasets={"trained": trained},
        trained_on=False,
        decoding=Decoding(),
        plan=Plan(config={}, parts=()),
    )
    assert read_slice_inputs(inputs, "validation") == SliceInputs()
    assert "cannot be read (text must have at most 2000 characters" in caplog.text
    with pytest.raises(InputError, match=r"text must have at most 2000 characters; wrong in row 1,"):
        read_slice_inputs(replace(inputs, trained_on=True), "validation")

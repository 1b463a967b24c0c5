"""Datasets that someone else made or damaged: every job refuses them with file, row and reason."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders.manifests import write_manifest
from builders.stub_lines import make_rows, plan_numbers

from ocr_ray.dataset.lines import SCHEMA
from ocr_ray.dataset.manifest import build_manifest, read_manifest
from ocr_ray.dataset.open_lines import as_datasets, open_image, open_lines
from ocr_ray.dataset.parts import write_part
from ocr_ray.dataset.stored_rows import read_group
from ocr_ray.dataset.text_statistics import TextStatistics
from ocr_ray.errors import InputError
from ocr_ray.evaluation.config import EvaluationConfig
from ocr_ray.evaluation.job import evaluate_lines
from ocr_ray.storage.location import locate, read_json, write_json
from ocr_ray.training.config import TrainConfig, TrainJobConfig
from ocr_ray.training.job import train_trocr

PART = "train/part-00001.parquet"


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A complete dataset of three parts of 9 or 10 train lines and one of 9 validation lines."""
    folder = locate(str(tmp_path / "lines"))
    plan = plan_numbers(30, items_per_part=10, num_validation=10)
    parts, texts = [], TextStatistics()
    for spec in plan.parts:
        stats, of_part = write_part(folder, spec, plan.config_sha256, make_rows(None, spec))
        parts.append(stats)
        texts.merge(of_part)
    write_json(folder / "manifest.json", asdict(build_manifest(plan, parts, texts=texts, versions={})))
    return tmp_path / "lines"


def open_all(lines: Path, _: Path) -> None:
    list(open_lines(str(lines)))


def open_with_datasets(lines: Path, _: Path) -> None:
    as_datasets(str(lines))


def train(lines: Path, model: Path) -> None:
    out = lines.parent
    train_trocr(
        TrainJobConfig(
            lines_uri=(str(lines),),
            model=str(model),
            run_name="run",
            runs_uri=str(out / "runs"),
            models_uri=str(out / "models"),
            train=TrainConfig(batch_size=2),
        )
    )


def evaluate(lines: Path, model: Path) -> None:
    config = EvaluationConfig(
        lines_uri=(str(lines),), model_uri=str(model), out_uri=str(lines.parent / "out"), split="train"
    )
    evaluate_lines(config)


pytestmark = pytest.mark.usefixtures("ray_session")  # evaluation starts one otherwise, each time
DOORS = [open_all, open_with_datasets, train, evaluate]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[]", "the whole must be an object, got \\[\\]"),
        ("null", "the whole must be an object, got nothing"),
        ("{}", "counts must be an object, got nothing"),
        ('{"a":' * 10_000 + "1" + "}" * 10_000, "at most 100 levels"),
    ],
    ids=["list", "null", "empty", "deep"],
)
def test_no_door_opens_a_dataset_without_a_manifest(door, content, reason, lines, model_folder) -> None:
    (lines / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=rf"manifest.json .*{reason}"):
        door(lines, model_folder)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("counts", None, "counts must be an object, got nothing"),
        (
            "counts.by_split",
            {"train": -1},
            "counts.by_split.train must be a whole number of at least 0, got -1",
        ),
        ("counts.by_split", {"train": True}, "by_split.train must be a whole number of at least 0, got True"),
        ("counts.by_split", {"eval": 3}, "counts must be of train, validation, test, got 'eval'"),
        ("counts.digest_by_split.train", "00", "digest_by_split.train must be 64 hexadecimal digits"),
        ("counts.digest_by_split", {}, "digest_by_split.(train|validation) must be a text, got nothing"),
        ("counts.by_font", ["바탕"], "counts.by_font must be an object"),
        ("config_sha256", 7, "config_sha256 must be a text, got 7"),
        ("balance", {"characters": "가나"}, "balance.characters must be an object, got '가나'"),
        ("rejects", {"missing_glyph": "3"}, "rejects.missing_glyph must be a whole number"),
        ("parts", {}, "parts must be a list"),
        ("parts.1", "train/part-00001.parquet", "parts.1 must be an object"),
        ("parts.1.rows", 9.0, "parts.1.rows must be a whole number"),
        ("parts.1.bytes", 2**70, "parts.1.bytes must be a whole number"),
        ("parts.1.sha256", "z" * 64, "parts.1.sha256 must be 64 hexadecimal digits"),
        ("parts.1.path", "../train/part-00001.parquet", "parts.1.path must be a .parquet file in a split"),
        ("parts.1.path", "train/part-00000.parquet", "parts must have different paths"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_every_field_of_a_manifest_that_is_read_is_checked(field, value, reason, lines) -> None:
    location = locate(str(lines)) / "manifest.json"
    manifest = read_json(location)
    *parents, last = (int(name) if name.isdigit() else name for name in field.split("."))
    target = manifest
    for name in parents:
        target = target[name]
    target[last] = value
    write_json(location, manifest)
    with pytest.raises(InputError, match=rf"manifest.json is not a manifest: .*{reason}"):
        read_manifest(locate(str(lines)))


def rewrite(lines: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change the rows of a part, keep its footer, and write the manifest that a careful stranger would."""
    table = pq.read_table(lines / PART, partitioning=None)
    changed = change(table).replace_schema_metadata(table.schema.metadata)
    pq.write_table(changed, lines / PART, row_group_size=4)
    write_manifest(locate(str(lines)))


def put(name: str, value: Any, kind: pa.DataType | None = None) -> Callable[[pa.Table], pa.Table]:
    """Return a change of a column's value in row 5."""

    def change(table: pa.Table) -> pa.Table:
        values = table[name].to_pylist()
        values[5] = value
        column = pa.array(values, kind or table.schema.field(name).type)
        return table.set_column(table.column_names.index(name), name, column)

    return change


def turn(name: str, kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    """Return a change of a column's type."""
    return lambda table: table.set_column(table.column_names.index(name), name, table[name].cast(kind))


def put_bytes(name: str) -> Callable[[pa.Table], pa.Table]:
    """Return a change of a string in row 5 to bytes that are no UTF-8."""

    def change(table: pa.Table) -> pa.Table:
        values = [value and value.encode() for value in table[name].to_pylist()]
        values[5] = b"\xea\xb0"
        column = pa.array(values, pa.binary()).view(pa.string())
        return table.set_column(table.column_names.index(name), name, column)

    return change


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: b"", "must be an intact Parquet file"),
        (lambda content: content[:-100], "must be an intact Parquet file"),
        (lambda content: b"PAR1" + bytes(200) + content[-8:], "must be an intact Parquet file"),
        (lambda content: b'{"line_id": "1"}\n', "must be an intact Parquet file"),
    ],
    ids=["empty", "truncated", "zeros", "JSON lines"],
)
def test_no_door_opens_a_file_that_is_no_parquet(door, damage, reason, lines, model_folder) -> None:
    location = locate(str(lines)) / "manifest.json"
    content = damage((lines / PART).read_bytes())
    (lines / PART).write_bytes(content)
    manifest = read_json(location)
    manifest["parts"][1]["bytes"] = len(content)
    write_json(location, manifest)
    with pytest.raises(InputError, match=rf"{PART} {reason}"):
        door(lines, model_folder)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda table: table.drop_columns("markup"), "must have the column markup, it has line_id, image"),
        (turn("width_px", pa.string()), "column width_px of .* must be int32, it is string"),
        (turn("text", pa.binary()), "column text of .* must be string, it is binary; write it again"),
        (
            lambda table: table.append_column("text", table["text"]),
            "must have the column text once, it has 2",
        ),
    ],
    ids=["missing", "texts for numbers", "bytes for texts", "twice"],
)
def test_no_door_opens_other_columns(door, change, reason, lines, model_folder) -> None:
    rewrite(lines, change)
    with pytest.raises(InputError, match=rf"part-00001.parquet .*{reason}|{reason}"):
        door(lines, model_folder)


@pytest.mark.parametrize("door", [open_all, open_with_datasets, evaluate])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (put("line_id", None), "line_id must not be null; wrong in row 1,"),
        (put("text", None), r"text must not be null; wrong in row 1 \(line 000000016\),"),
        (put_bytes("text"), r"text must be UTF-8; wrong in row 1 \(line 000000016\),"),
        (put_bytes("source"), "source must be UTF-8"),
        (put_bytes("line_id"), "line_id must be UTF-8; wrong in row 1,"),
        (put("text", "가" * 2_001), "text must have at most 2000 characters"),
        (put("text", "가나" * 5_000_000), "text must have at most 2000 characters"),
        (put("height_px", 0), "height_px must be from 1 to 65500"),
        (put("height_px", 2**40, pa.int64()), "height_px must be int32: .*not in range.*wrong in"),
        (put("width_px", 9.5, pa.float64()), "width_px must be int32: .*truncated.*wrong in"),
        (put("width_px", -(2**31)), "width_px must be from 1 to 65500"),
    ],
    ids=lambda value: value[:32] if isinstance(value, str) else None,
)
def test_no_door_lets_a_row_pass_that_cannot_be_used(door, change, reason, lines, model_folder) -> None:
    rewrite(lines, change)
    with pytest.raises(InputError, match=rf"{reason}.*row group 1 of .*{PART}"):
        door(lines, model_folder)


def test_training_checks_rows_as_the_other_doors_do(lines, model_folder) -> None:
    rewrite(lines, put("text", None))
    with pytest.raises(InputError, match=rf"text must not be null.*row group 1 of .*{PART}"):
        train(lines, model_folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (put("image", None), "image must not be null"),
        (put("image", {"bytes": None, "path": "line.png"}), "image must not be null"),
        (put("confidence", float("nan")), "confidence must be from 0 to 1"),
        (put("confidence", float("inf")), "confidence must be from 0 to 1"),
        (put("style", "garbage"), "style must be null or a JSON object"),
        (put("style", '{"skew_deg": NaN}'), "style must be null or a JSON object"),
        (put("style", "[" * 5_000), "style must be null or a JSON object"),
        (
            put("spliced_from", [{"line_id": "a", "word_index": None}]),
            "spliced_from must name a line and a word for each word",
        ),
        (put_bytes("font"), "font must be UTF-8"),
        (put("page_id", "쪽" * 2_001), "page_id must have at most 2000 characters"),
    ],
    ids=lambda value: value[:32] if isinstance(value, str) else None,
)
def test_columns_that_only_some_read_are_checked_where_they_are_read(change, reason, lines) -> None:
    rewrite(lines, change)
    with pytest.raises(InputError, match=rf"{reason}; wrong in row 1.*row group 1 of .*{PART}"):
        list(open_lines(str(lines)))


def test_an_id_that_is_too_long_is_cut_in_the_message(lines) -> None:
    rewrite(lines, put("line_id", "9" * 5_000_000))
    with pytest.raises(InputError, match=r"^line_id must have at most 2000 .* \(line 9{300}\), row group 1"):
        list(open_lines(str(lines)))


def test_rows_are_counted_against_the_manifest(lines) -> None:
    rewrite(lines, lambda table: table.slice(0, 8))
    location = locate(str(lines)) / "manifest.json"
    manifest = read_json(location)
    manifest["counts"]["by_split"]["train"] += 1
    write_json(location, manifest)
    with pytest.raises(InputError, match=r"counts.by_split of .*manifest.json are not the rows of its parts"):
        open_lines(str(lines))
    manifest["parts"][1]["rows"] += 1
    write_json(location, manifest)
    with pytest.raises(InputError, match=rf"must hold exactly the parts of its manifest.json.* in {PART}"):
        open_lines(str(lines))


def test_an_id_that_occurs_twice_is_not_evaluated(lines, model_folder) -> None:
    rewrite(lines, put("line_id", "000000003"))
    with pytest.raises(
        InputError, match=r"line_id must be unique in a dataset, 000000003 of lines occurs 2 times"
    ):
        evaluate(lines, model_folder)


def encode(table: pa.Table) -> pa.Table:
    """Return a table with wide types, as Polars writes them, categories, and columns in another order."""
    kinds = {
        "image": pa.struct([("path", pa.large_string()), ("bytes", pa.large_binary())]),
        "text": pa.large_string(),
        "markup": pa.large_string(),
        "source": pa.dictionary(pa.int8(), pa.string()),
        "page_order": pa.float64(),
        "width_px": pa.int64(),
        "confidence": pa.float64(),
        "flags": pa.large_list(pa.large_string()),
    }
    columns = {name: table[name].cast(kinds.get(name, table[name].type)) for name in reversed(SCHEMA.names)}
    return pa.table(columns)


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.append_column("quality", pa.array([0.5] * table.num_rows)),
        lambda table: pa.Table.from_pandas(table.to_pandas()),
        encode,
    ],
    ids=["other columns", "pandas", "encoded"],
)
def test_what_other_programs_write_is_read_as_ours(change, lines) -> None:
    ours = list(open_lines(str(lines)))
    table = pq.read_table(lines / PART, partitioning=None)
    pq.write_table(change(table), lines / PART, row_group_size=4)  # without our metadata
    write_manifest(locate(str(lines)))
    assert list(open_lines(str(lines))) == ours
    assert read_group(locate(str(lines)) / PART, 0).select(SCHEMA.names).schema.equals(SCHEMA)
    loaded = as_datasets(str(lines))
    assert loaded["text"][:] == [line.text for line in ours]
    assert loaded[5]["image"].size == open_image(ours[5]).size


def test_a_row_group_that_repeats_an_image_is_bounded_by_what_it_takes_in_memory(lines, monkeypatch) -> None:
    monkeypatch.setattr("ocr_ray.dataset.stored_rows.MAX_GROUP_BYTES", 2_000_000)
    image = {"bytes": bytes(100_000), "path": None}
    table = pq.read_table(lines / PART, partitioning=None).take([0] * 900)
    table = table.set_column(1, "image", pa.array([image] * 900, SCHEMA.field("image").type))
    pq.write_table(table, lines / PART, dictionary_pagesize_limit=200_000)
    assert pq.read_metadata(lines / PART).row_group(0).total_byte_size < 200_000
    with pytest.raises(
        InputError, match=rf"{PART} must have row groups of at most 2,000,000 bytes, one has 25"
    ):
        read_group(locate(str(lines)) / PART, 0)

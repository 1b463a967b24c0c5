"""Parts: written completely or not at all, found again, and verified."""

import hashlib
import shutil
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import datasets
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders.stub_lines import make_line, make_rows, plan_numbers
from harness.damage import drop_new_columns
from hypothesis import given
from hypothesis import strategies as st

from ocr_ray.dataset.lines import REJECT_SCHEMA, SCHEMA, PartSpec, PartStats, TextLine, table_to_lines
from ocr_ray.dataset.parts import find_done, read_part_footer, read_random_lines, verify_rows, write_part
from ocr_ray.dataset.plan import Plan, check_reserved, cut_parts, holds_plan, write_plan
from ocr_ray.dataset.text_statistics import TextStatistics
from ocr_ray.errors import InputError
from ocr_ray.storage.location import Location, list_files, locate, read_bytes, read_json, write_bytes

SPEC = PartSpec(split="train", index=0, start=1, stop=601)


def write(
    out: Location, spec: PartSpec = SPEC, config_sha256: str = "abc"
) -> tuple[PartStats, TextStatistics]:
    return write_part(out, spec, config_sha256, make_rows(None, spec))


@pytest.fixture(params=["local", "s3"])
def dataset(request, tmp_path, bucket) -> Location:
    return locate(str(tmp_path / "lines") if request.param == "local" else f"{bucket}/{tmp_path.name}")


@pytest.fixture
def out(tmp_path) -> Location:
    return locate(str(tmp_path / "lines"))


def test_a_part_reads_back_as_the_rows_that_were_made(dataset) -> None:
    stats, texts = write(dataset)
    made = list(make_rows(None, SPEC))
    lines = [replace(row, grades=()) for row in made if isinstance(row, TextLine)]
    content = read_bytes(dataset / SPEC.path)
    part = pq.ParquetFile(pa.BufferReader(content))
    assert table_to_lines(part.read()) == lines
    assert [part.metadata.row_group(n).num_rows for n in range(3)] == [256, 256, 588 - 512]
    assert stats.size_bytes == len(content)
    assert stats.rows_sha256 == hashlib.sha256(b"".join(line.digest() for line in lines)).hexdigest()
    assert texts.characters == Counter("".join(line.text for line in lines))
    assert texts.grades.total() == 2 * len(lines)
    rejects = pq.read_table(pa.BufferReader(read_bytes(dataset / SPEC.rejects_path)))
    assert rejects.schema.equals(REJECT_SCHEMA)
    assert rejects["number"].to_pylist() == list(range(50, 601, 50))
    assert read_part_footer(dataset, SPEC, "abc") == (stats, texts)
    assert verify_rows(dataset, stats, texts)


@pytest.mark.parametrize("stop", [601, 1], ids=["600 rows", "no rows"])
def test_other_programs_read_a_part_and_its_footer(stop: int, out, tmp_path) -> None:
    spec = replace(SPEC, stop=stop)
    stats, _ = write(out, spec)
    path = (out / spec.path).path
    schema = pq.read_schema(path)
    assert schema.equals(SCHEMA)
    keys = {b"huggingface", b"config_sha256", b"rows_sha256", b"num_rejects", b"part_stats", b"balance"}
    assert keys <= schema.metadata.keys()
    assert keys <= pq.read_metadata(path).metadata.keys()
    assert schema.metadata[b"huggingface"] == SCHEMA.metadata[b"huggingface"]
    assert schema.metadata[b"rows_sha256"].decode() == stats.rows_sha256
    assert schema.metadata[b"num_rejects"] == str(stats.num_rejects).encode()
    assert duckdb.sql(f"select count(text) from '{path}'").fetchall() == [(stats.rows,)]
    # `datasets` cannot open a part without rows alone.
    write(out, replace(spec, index=1, stop=9))
    files = str(tmp_path / "lines/train/*.parquet")
    rows = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))["train"]
    assert (rows.num_rows, rows[0]["image"].getpixel((0, 0))) == (stats.rows + 8, 1)


def test_a_part_without_the_newest_columns_is_made_again_and_can_be_read(out) -> None:
    stats, _ = write(out)
    drop_new_columns(out / SPEC.path)
    assert read_part_footer(out, SPEC, "abc") is None
    lines = read_random_lines(out, [stats], key="0" * 15, number=9)
    assert [(line.confidence, line.flags, line.spliced_from) for line in lines] == [(None, None, None)] * 9


def test_writing_a_part_needs_little_more_memory_than_the_part(out) -> None:
    num_lines, num_bytes = 2048, 10_000

    def make() -> Iterator[TextLine]:
        for number in range(num_lines):
            image_bytes = number.to_bytes(2, "big") * (num_bytes // 2)
            yield replace(make_line(number), image_bytes=image_bytes)

    write(out)  # imports and caches of the first part are not measured
    tracemalloc.start()
    stats, _ = write_part(out, SPEC, "abc", make())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert stats.size_bytes > num_lines * num_bytes
    assert peak < 1.5 * stats.size_bytes


def test_a_part_whose_maker_fails_leaves_nothing(out) -> None:
    def make() -> Iterator[TextLine]:
        yield from map(make_line, range(300))
        raise ValueError("the 301st line")

    with pytest.raises(ValueError, match="the 301st line"):
        write_part(out, SPEC, "abc", make())
    assert list_files(out) == {}


def truncate(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:-9])


def drop_our_keys(part: Path) -> None:
    pq.write_table(pq.read_table(part).replace_schema_metadata(None), part)


def put_another_table(part: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), part)


def copy_the_next_part(part: Path) -> None:
    shutil.copy(part.with_name("part-00002.parquet"), part)


def put_another_plan(part: Path) -> None:
    write(locate(str(part.parent.parent)), replace(SPEC, index=1, start=101, stop=201), "of another plan")


def delete_rejects(part: Path) -> None:
    (part.parent.parent / "rejects/train-part-00001.parquet").unlink()


def delete_rows(part: Path) -> None:
    table = pq.read_table(part)
    pq.write_table(table.slice(0, 9).replace_schema_metadata(table.schema.metadata), part)


def delete_statistics(part: Path) -> None:
    table = pq.read_table(part)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"balance": b"{}"}), part)


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        drop_our_keys,
        put_another_table,
        copy_the_next_part,
        put_another_plan,
        delete_rejects,
        delete_rows,
        delete_statistics,
        Path.unlink,
    ],
)
def test_a_damaged_or_foreign_part_is_not_taken_for_finished(damage, out, tmp_path) -> None:
    plan = plan_numbers(400, items_per_part=100)
    parts = [write(out, spec, plan.config_sha256) for spec in plan.parts]
    assert list(find_done(out, plan)) == parts
    damage(tmp_path / "lines/train/part-00001.parquet")
    assert list(find_done(out, plan)) == [parts[0], *parts[2:]]


def test_a_part_with_a_flipped_byte_does_not_verify_or_holds_the_same_rows(out) -> None:
    spec = replace(SPEC, stop=20)
    write(out, spec)
    content = read_bytes(out / spec.path)
    rows = [line.digest() for line in table_to_lines(pq.read_table((out / spec.path).path))]
    for index in range(0, len(content), 41):
        damaged = bytearray(content)
        damaged[index] ^= 1 << index % 8
        write_bytes(out / spec.path, bytes(damaged))
        footer = read_part_footer(out, spec, "abc")
        if footer and verify_rows(out, *footer):
            read = table_to_lines(pq.read_table((out / spec.path).path))
            assert [line.digest() for line in read] == rows


def test_a_part_with_changed_rows_rejects_or_counts_does_not_verify(out) -> None:
    stats, texts = write(out)
    assert verify_rows(out, stats, texts)
    assert not verify_rows(out, replace(stats, by_font={"바탕": stats.rows}), texts)
    assert not verify_rows(out, stats, replace(texts, characters=texts.characters + Counter("가")))
    rejects = read_bytes(out / SPEC.rejects_path)
    write_bytes(out / SPEC.rejects_path, rejects[:-1])
    assert not verify_rows(out, stats, texts)
    write_part(out, replace(SPEC, index=1), "abc", map(make_line, range(9)))
    write_bytes(out / SPEC.rejects_path, read_bytes(out / "rejects/train-part-00001.parquet"))
    assert not verify_rows(out, stats, texts)


def test_random_lines_are_distinct_and_in_order(out) -> None:
    plan = plan_numbers(900, items_per_part=600, num_validation=0)
    parts = [write(out, spec, plan.config_sha256)[0] for spec in plan.parts]
    lines = read_random_lines(out, parts, key=plan.config_sha256, number=24)
    ids = [line.line_id for line in lines]
    assert len(set(ids)) == 24
    assert ids == sorted(ids)
    assert lines == [replace(make_line(int(line_id)), grades=()) for line_id in ids]
    assert lines == read_random_lines(out, parts, key=plan.config_sha256, number=24)
    assert lines != read_random_lines(out, parts, key="f" * 64, number=24)


def test_random_lines_of_a_small_dataset_are_all_its_lines(out) -> None:
    plan = plan_numbers(7, items_per_part=3)
    assert plan.parts[-1].split == "validation"  # without rows
    parts = [write(out, spec, plan.config_sha256)[0] for spec in plan.parts]
    lines = read_random_lines(out, parts, key=plan.config_sha256, number=24)
    assert [int(line.line_id) for line in lines] == list(range(1, 8))


@given(first=st.integers(0, 9), items=st.integers(0, 40), size=st.integers(1, 12))
def test_parts_cover_every_item_once(first: int, items: int, size: int) -> None:
    parts = cut_parts("train", first, items, size)
    assert [n for part in parts for n in range(part.start, part.stop)] == list(range(first, first + items))
    assert [part.index for part in parts] == list(range(len(parts)))


def test_a_plan_is_compared_after_json(out) -> None:
    write_bytes(out / "plan.json", b'{"config": {"fonts": ["a", "b"]}}')
    check_reserved(out, {"fonts": ("a", "b")})
    assert holds_plan(out, Plan(config={"fonts": ("a", "b")}, parts=()))
    write_bytes(out / "plan.json", b"[]")
    with pytest.raises(InputError, match=r"plan.json is not a plan"):
        check_reserved(out, {})


def test_flags_and_notes_do_not_change_the_digest_and_only_flags_are_in_the_plan(dataset) -> None:
    plan = plan_numbers(10, items_per_part=5)
    with_flags = replace(plan, flags={"out_uri": "x", "fonts": ("바탕",)}, notes={"fonts": {}})
    assert with_flags.config_sha256 == plan.config_sha256
    assert with_flags.names == plan.names
    write_bytes(dataset / "manifest.json", b"{}")
    for _ in range(2):  # the second time there is no manifest to delete
        write_plan(dataset, with_flags)
    assert list(list_files(dataset)) == ["plan.json"]
    assert read_json(dataset / "plan.json") == {
        "config": plan.config,
        "config_sha256": plan.config_sha256,
        "flags": {"out_uri": "x", "fonts": ["바탕"]},
        "names": plan.names,
    }
    assert holds_plan(dataset, plan)
    assert not holds_plan(dataset, plan_numbers(11, items_per_part=5))

"""The producers over one Ray session: what they make, make again, grow and refuse."""

import io
import shutil
from dataclasses import replace

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
import ray.data
from PIL import Image

from ocr_ray.cluster import count_workers
from ocr_ray.errors import InputError, ProductionError
from ocr_ray.lines import REJECT_SCHEMA, SCHEMA, PartSpec, table_to_lines
from ocr_ray.pages.maker import write_pages
from ocr_ray.parts import check_claim, cut_parts, read_part_stats, require_datasets, rows_verify
from ocr_ray.pipeline import CropConfig, RenderConfig, crop_pages, render_lines
from ocr_ray.storage import Location, list_files, locate, read_bytes, read_json, write_bytes

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]


@pytest.fixture(scope="module")
def config(fonts, tmp_path_factory) -> RenderConfig:
    return RenderConfig(
        out_uri=str(tmp_path_factory.mktemp("lines") / "lines"),
        num_lines=60,
        seed=7,
        validation_share=0.1,
        lines_per_part=16,
        fonts=tuple(font.name for font in fonts),
    )


@pytest.fixture(scope="module")
def summary(config) -> dict:
    return render_lines(config)


def read_lines(out_uri: str, split: str):
    out = locate(out_uri)
    paths = [path for path in list_files(out) if path.startswith(f"{split}/")]
    return [line for path in paths for line in table_to_lines(pq.read_table((out / path).path))]


def test_a_dataset_holds_every_number_once_and_every_font_its_share(config, summary) -> None:
    train, validation = (read_lines(config.out_uri, split) for split in ("train", "validation"))
    assert [line.line_id for line in train] == [f"{n:09d}" for n in range(54)]
    assert [line.line_id for line in validation] == [str(700_000_000 + n) for n in range(6)]
    assert len(set(summary["by_font"].values())) == 1
    assert summary["by_split"] == {"train": 54, "validation": 6}
    pixels = np.asarray(Image.open(io.BytesIO(train[0].image_bytes)))
    assert pixels.shape == (384, 384)


def test_other_programs_read_the_dataset(config, summary) -> None:
    folder = f"{config.out_uri}/train"
    assert ray.data.read_parquet(folder).count() == 54
    query = f"select count(*), min(length(text)), max(length(text)) from '{folder}/*.parquet'"
    ((count, shortest, longest),) = duckdb.sql(query).fetchall()
    assert (count, shortest >= 5, longest <= 30) == (54, True, True)
    schema = pq.read_schema(f"{folder}/part-00000.parquet")
    assert schema.equals(SCHEMA)
    assert {b"huggingface", b"config_sha256", b"rows_sha256", b"num_rejects"} <= schema.metadata.keys()
    rejects = pq.read_table(f"{config.out_uri}/rejects/train-part-00000.parquet")
    assert (rejects.schema.names, rejects.num_rows) == (REJECT_SCHEMA.names, 0)


def test_a_second_run_makes_nothing(config, summary) -> None:
    before = read_bytes(locate(config.out_uri) / "manifest.json")
    again = render_lines(config)
    assert (again["parts_made"], again["digest_by_split"]) == (0, summary["digest_by_split"])
    assert read_bytes(locate(config.out_uri) / "manifest.json") == before


def test_parts_of_any_size_and_growth_hold_the_same_lines(config, summary, tmp_path) -> None:
    other = replace(config, out_uri=str(tmp_path / "x"), num_lines=20, lines_per_part=7, num_cpus=1)
    render_lines(other)
    grown = render_lines(replace(other, num_lines=60))
    assert grown["digest_by_split"] == summary["digest_by_split"]
    manifest = read_json(locate(other.out_uri) / "manifest.json")
    assert manifest["counts"]["lines"] == sum(part["rows"] for part in manifest["parts"]) == 60
    with pytest.raises(InputError, match=r"num_lines .* may only grow: it is 60, got 59"):
        render_lines(replace(other, num_lines=59))


def test_a_lost_or_damaged_part_is_made_again(config, summary, tmp_path) -> None:
    other = replace(config, out_uri=str(tmp_path / "x"))
    out = locate(other.out_uri)
    render_lines(other)
    whole = {name: read_bytes(out / name) for name in list_files(out) if name.endswith(".parquet")}
    (tmp_path / "x/train/part-00001.parquet").unlink()
    write_bytes(out / "train/part-00002.parquet", whole["train/part-00002.parquet"][:-9])
    assert render_lines(other)["parts_made"] == 2
    damaged = bytearray(whole["train/part-00000.parquet"])
    damaged[5_000] ^= 1  # a pixel's byte; the footer still reads
    write_bytes(out / "train/part-00000.parquet", bytes(damaged))
    assert render_lines(other)["parts_made"] == 0
    (tmp_path / "x/rejects/train-part-00003.parquet").unlink()
    assert render_lines(replace(other, verify="rows"))["parts_made"] == 2
    assert {name: read_bytes(out / name) for name in whole} == whole


def read_digests_of_rows(part: Location) -> list[bytes]:
    return [line.digest() for line in table_to_lines(pq.read_table(part.path))]


def test_a_part_with_any_byte_flipped_is_made_again_or_whole(config, summary, tmp_path) -> None:
    """Damage anywhere in the file is found by its rows or its footer, and never crashes the reader."""
    out = locate(config.out_uri)
    plan = read_json(out / "plan.json")
    spec = PartSpec(split="validation", index=0, start=700_000_000, stop=700_000_006)
    whole = read_bytes(out / spec.path)
    copy = locate(str(tmp_path / "copy"))
    for place in range(0, len(whole), 97):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        write_bytes(copy / spec.path, bytes(damaged))
        stats = read_part_stats(copy, spec, plan["config_sha256"])
        if stats and rows_verify(copy, stats):
            assert read_digests_of_rows(copy / spec.path) == read_digests_of_rows(out / spec.path)


def test_a_changed_configuration_is_refused_by_its_fields(config, summary) -> None:
    with pytest.raises(InputError, match=r"seed: 7 there, 8 now.*choose another --out-uri"):
        render_lines(replace(config, seed=8))
    with pytest.raises(InputError, match=r"text.max_length: 30 there, 29 now"):
        render_lines(replace(config, text=replace(config.text, max_length=29)))
    if len(config.fonts) > 1:  # which line has which font depends on their order
        with pytest.raises(InputError, match=r"fonts\..*\.order: 0 there, "):
            render_lines(replace(config, fonts=config.fonts[::-1]))


def test_files_that_the_plan_does_not_own_are_left_and_reported(config, summary, tmp_path) -> None:
    stranger = locate(config.out_uri) / "train/notes.txt"
    write_bytes(stranger, b"mine")
    assert render_lines(config)["unlisted_files"] == 1
    assert read_bytes(stranger) == b"mine"
    stranger.filesystem.delete_file(stranger.path)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"must be empty .* holds thesis.txt and no plan.json"):
        render_lines(replace(config, out_uri=str(tmp_path)))
    with pytest.raises(InputError, match=r"--out-uri must be a folder, .*thesis.txt is a file"):
        render_lines(replace(config, out_uri=str(tmp_path / "thesis.txt")))
    with pytest.raises(InputError, match=r"must lie in a bucket that exists, there is no s3://no-such"):
        render_lines(replace(config, out_uri="s3://no-such/lines"))


def test_pages_become_lines_and_rejects_and_nothing_else(fonts, tmp_path) -> None:
    pages = locate(str(tmp_path / "pages"))
    write_pages(pages, num_pages=12, seed=3, font_bytes=fonts[0].content)
    names = [name for name in list_files(pages) if name.endswith(".png")]
    write_bytes(pages / names[0], b"not a picture")
    pages.filesystem.delete_file((pages / names[1]).path)
    config = CropConfig(
        pages_uri=pages.uri, out_uri=str(tmp_path / "crops"), pages_per_part=4, max_reject_fraction=0.5
    )
    summary = crop_pages(config)
    assert summary["rejects"] == {"bad_image": 1, "missing_image": 1}
    lines = [line for split in ("train", "validation") for line in read_lines(config.out_uri, split)]
    page_ids = {line.page_id for line in lines}
    assert len(page_ids) == 10
    assert {line.source for line in lines} == {"page"}
    assert summary["lines"] == len(lines) == len({line.line_id for line in lines})
    write_bytes(pages / names[0], b"not a picture either")
    with pytest.raises(InputError, match="pages_sha256: "):
        crop_pages(config)
    with pytest.raises(ProductionError, match="rejects must be at most"):
        crop_pages(replace(config, out_uri=str(tmp_path / "strict"), max_reject_fraction=0.0))
    assert not (tmp_path / "strict/manifest.json").exists()


def test_a_page_without_lines_is_a_reject_and_a_dataset_without_lines_a_failure(fonts, tmp_path) -> None:
    pages = locate(str(tmp_path / "pages"))
    write_pages(pages, num_pages=1, seed=3, font_bytes=fonts[0].content)
    (label,) = [name for name in list_files(pages) if name.endswith(".json")]
    write_bytes(pages / label, read_bytes(pages / label).replace(b'"line"', b'"text"'))
    config = CropConfig(pages_uri=pages.uri, out_uri=str(tmp_path / "crops"), max_reject_fraction=1.0)
    with pytest.raises(ProductionError, match=r"at least one line, got none; rejects: .'no_line_boxes': 1"):
        crop_pages(config)


def test_more_workers_than_this_machine_has_are_refused(monkeypatch) -> None:
    assert count_workers(None, use_gpu=False) == count_workers(2, use_gpu=False) == 2
    with pytest.raises(InputError, match="3 workers need a CPU each, there are 2; give fewer --num-workers"):
        count_workers(3, use_gpu=False)
    with pytest.raises(InputError, match="1 workers need a GPU each, there are 0"):
        count_workers(None, use_gpu=True)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")  # a cluster may start nodes for them
    assert count_workers(3, use_gpu=True) == 3


def test_a_folder_without_pages_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match=r"--pages-uri must hold images .* found no pair"):
        crop_pages(CropConfig(pages_uri=str(tmp_path), out_uri=str(tmp_path / "out")))


def test_parts_cover_every_item_once() -> None:
    for items, size in [(0, 4), (1, 4), (4, 4), (9, 4)]:
        parts = cut_parts("train", 10, items, size)
        covered = [n for part in parts for n in range(part.start, part.stop)]
        assert covered == list(range(10, 10 + items))
        assert [part.index for part in parts] == list(range(len(parts)))


def test_a_plan_is_compared_after_json(tmp_path) -> None:
    out = locate(str(tmp_path))
    write_bytes(out / "plan.json", b'{"config": {"fonts": ["a", "b"]}}')
    check_claim(out, {"fonts": ("a", "b")})
    write_bytes(out / "plan.json", b"[]")
    with pytest.raises(InputError, match=r"plan.json is no plan"):
        check_claim(out, {})


def test_a_dataset_that_lost_or_gained_a_part_is_not_read(config, summary, tmp_path) -> None:
    out = locate(shutil.copytree(config.out_uri, tmp_path / "lines").as_posix())
    assert list(require_datasets([out.uri])) == ["lines"]
    write_bytes(out / "train/stranger.parquet", b"")
    with pytest.raises(InputError, match=r"--lines-uri must hold the parts .* differs in train/stranger"):
        require_datasets([out.uri])
    out.filesystem.delete_file((out / "train/stranger.parquet").path)
    part = out / "train/part-00001.parquet"
    write_bytes(part, read_bytes(part)[:-1])
    with pytest.raises(InputError, match=r"differs in train/part-00001.parquet; run its job again"):
        require_datasets([out.uri])
    out.filesystem.delete_file(part.path)
    with pytest.raises(InputError, match=r"differs in train/part-00001.parquet"):
        require_datasets([out.uri])


def test_datasets_of_one_name_are_told_apart(tmp_path) -> None:
    uris = [str(tmp_path / name) for name in ("a/lines", "b/lines", "lines-2")]
    for uri in uris:
        write_bytes(locate(uri) / "manifest.json", b'{"parts": []}')
    datasets = require_datasets(uris)
    assert [place.uri for place in datasets.values()] == uris
    assert list(datasets) == ["lines", "lines-2", "lines-2-2"]
    with pytest.raises(InputError, match="must name each dataset once"):
        require_datasets([uris[0], uris[0]])
    with pytest.raises(InputError, match=r"must be a complete dataset, .* has no manifest.json"):
        require_datasets([str(tmp_path / "a")])

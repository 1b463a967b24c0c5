"""The job crop_pages: every box is a line or a reject, for every layout and storage of pages."""

import io
import json
import shutil
import unicodedata
import zipfile
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from harness.processes import assert_same_dataset, kill_tree, list_parts, start_job, wait_for
from PIL import Image

from ocr_ray.audit.config import AuditConfig
from ocr_ray.audit.job import audit_lines
from ocr_ray.cli.flags import describe_flags
from ocr_ray.dataset.images import ImageConfig
from ocr_ray.dataset.lines import FIRST_SPLICED_NUMBER, TextLine, table_to_lines
from ocr_ray.errors import InputError, ProductionError
from ocr_ray.pages.config import CropConfig, CropStyle
from ocr_ray.pages.crop_job import PROBLEMS, crop_pages, cut_crop_parts, divide_lines
from ocr_ray.pages.synthetic.pages import write_pages
from ocr_ray.storage.location import Location, list_files, locate, read_bytes, read_json, write_bytes

NATIVE = CropStyle(image=ImageConfig(size="native"))
COUNTED = ("pages", "boxes", "boxes_out_of_scope", "rejects", "digest_by_split", "lines")


def read_lines(out_uri: str, split: str) -> list[TextLine]:
    out = locate(out_uri)
    paths = [path for path in list_files(out) if path.startswith(f"{split}/")]
    return [line for path in paths for line in table_to_lines(pq.read_table((out / path).path))]


@pytest.fixture(scope="module")
def pages(fonts, tmp_path_factory) -> Location:
    """Pages of both schemas in the folders of AI Hub: Training and Validation."""
    folder = locate(str(tmp_path_factory.mktemp("aihub")))
    for schema, number in (("71716", 24), ("71859", 24)):
        write_pages(folder / schema, num_pages=number, seed=2, font_bytes=fonts[0].content, schema=schema)
    for path in list_files(folder):
        part = "Validation" if path.rpartition(".")[0].endswith(("3", "7")) else "Training"
        kind = "원천데이터" if path.endswith(".png") else "라벨링데이터"
        write_bytes(folder / "data" / part / kind / path.rpartition("/")[2], read_bytes(folder / path))
    return folder / "data"


@pytest.fixture(scope="module")
def undisturbed(ray_session, pages, tmp_path_factory) -> tuple[CropConfig, dict]:
    """A dataset made from a folder in one run, with its summary."""
    config = CropConfig(
        pages_uri=pages.uri,
        out_uri=str(tmp_path_factory.mktemp("undisturbed") / "crops"),
        validation_share=0.4,
        crop=NATIVE,
        splice=60,
        preview=3,
        pages_per_part=8,
    )
    return config, crop_pages(config)


def pack(pages: Location, target: Location, layout: str) -> str:
    """Write pages as one zip, as AI Hub's pairs of zips, whole or in pieces, or as a folder; return the value
    of --pages-uri.
    """
    packed: dict[str, dict[str, bytes]] = defaultdict(dict)
    for path in list_files(pages):
        part, kind, name = path.split("/")
        pair = f"{part}/{kind}/{part[0]}{'S' if kind == '원천데이터' else 'L'}_초등.zip"
        archive = {"zip": "all.zip", "folder": ""}.get(layout, pair)
        inside = unicodedata.normalize("NFD", name) if archive == pair else path
        packed[archive][inside] = read_bytes(pages / path)
    for archive, members in packed.items():
        if not archive:
            for path, content in members.items():
                write_bytes(target / path, content)
            continue
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
            for path, content in members.items():
                file.writestr(path, content)
        content = buffer.getvalue()
        if layout == "pieces":
            for start in range(0, len(content), 20_000):
                write_bytes(target / f"{archive}.part{start}", content[start : start + 20_000])
        else:
            write_bytes(target / archive, content)
    return (target / "all.zip").uri if layout == "zip" else target.uri


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "on_s3"), [("zip", False), ("pieces", False), ("folder", True), ("pairs", True)]
)
def test_a_folder_a_zip_pairs_of_zips_and_s3_give_the_same_rows(
    layout: str, on_s3: bool, undisturbed, pages, bucket, tmp_path
) -> None:
    config, expected = undisturbed
    root = f"{bucket}/{layout}" if on_s3 else str(tmp_path / layout)
    uri = pack(pages, locate(f"{root}/pages"), layout)
    summary = crop_pages(replace(config, pages_uri=uri, out_uri=f"{root}/crops", preview=0))
    assert {name: summary[name] for name in COUNTED} == {name: expected[name] for name in COUNTED}
    assert (summary["files"]["image"], summary["files"]["label"]) == (48, 48)
    assert read_bytes(locate(f"{root}/crops") / PROBLEMS) == read_bytes(locate(config.out_uri) / PROBLEMS)
    plans = [read_json(locate(uri) / "plan.json") for uri in (f"{root}/crops", config.out_uri)]
    assert plans[0]["config_sha256"] == plans[1]["config_sha256"]


@pytest.mark.soak
def test_a_killed_job_is_completed_to_the_same_dataset(undisturbed, tmp_path) -> None:
    config = replace(undisturbed[0], out_uri=str(tmp_path / "crops"), num_cpus=1, preview=0)
    log_path = tmp_path / "log"
    job = start_job("crop_pages", describe_flags(config), log_path)
    wait_for(lambda: bool(list_parts(config.out_uri)), job, log_path)
    kill_tree(job.pid)
    finished = list_parts(config.out_uri)
    assert not (tmp_path / "crops/manifest.json").exists()
    summary = crop_pages(config)
    assert summary["parts_kept"] == len(finished) > 0 < summary["parts_made"]
    assert_same_dataset(config.out_uri, undisturbed[0].out_uri)
    assert summary["digest_by_split"] == undisturbed[1]["digest_by_split"]
    assert crop_pages(config)["parts_made"] == 0


@pytest.mark.slow
def test_spliced_lines_have_words_of_their_own_split_and_of_different_pages(undisturbed) -> None:
    config, summary = undisturbed
    assert summary["by_source"]["spliced"] + summary["rejects"].get("no_words_fit", 0) == config.splice
    for split in ("train", "validation", "test"):
        lines = read_lines(config.out_uri, split)
        pages = {line.page_id: line for line in lines if line.source == "page"}
        texts = {line.line_id: line.text for line in lines}
        spliced = [line for line in lines if line.source == "spliced"]
        assert spliced
        for line in spliced:
            assert line.page_id is None
            assert line.style is None
            origins = [origin.line_id.partition("#")[0] for origin in line.spliced_from]
            assert set(origins) <= pages.keys()
            assert all(one != other for one, other in pairwise(origins))
            assert line.text.split(" ") == [
                texts[origin.line_id].split(" ")[origin.word_index] for origin in line.spliced_from
            ]
            assert 5 <= len(line.text) <= 30
            assert Image.open(io.BytesIO(line.image_bytes)).size == (line.width_px, line.height_px)


@pytest.mark.slow
def test_pages_parquet_has_each_problem_with_its_split(undisturbed) -> None:
    config, summary = undisturbed
    out = Path(config.out_uri)
    problems = {row["page_id"]: row for row in pq.read_table(out / PROBLEMS).to_pylist()}
    assert len(problems) == 48
    assert summary["pages_by_split"] == Counter(problem["split"] for problem in problems.values())
    for split in ("train", "validation", "test"):
        lines = defaultdict(list)
        for line in read_lines(config.out_uri, split):
            if line.source == "page":
                lines[line.page_id].append(line)
        assert {
            problem["page_id"] for problem in problems.values() if problem["split"] == split
        } == lines.keys()
        for page_id, page_lines in lines.items():
            joined = "".join(line.text for line in sorted(page_lines, key=lambda line: line.page_order))
            assert problems[page_id]["text"].replace(" ", "") == joined.replace(" ", "")
    assert {problem["schema"] for problem in problems.values()} == {"71716", "71859"}


@pytest.mark.slow
def test_a_dataset_has_problems_and_preview_and_passes_its_audit(undisturbed) -> None:
    config, summary = undisturbed
    assert summary["unlisted_files"] == 0
    preview = (Path(config.out_uri) / "preview.html").read_text(encoding="utf-8")
    assert preview.count("<section>") == 3
    audit = audit_lines(AuditConfig(lines_uri=config.out_uri))
    assert (audit["lines"], audit["num_findings"]) == (summary["lines"], 0)


@pytest.mark.slow
def test_damaged_pages_become_rejects_and_changed_pages_are_refused(ray_session, pages, tmp_path) -> None:
    copy = locate(str(tmp_path / "pages"))
    shutil.copytree(pages.path, copy.path)
    names = [name for name in list_files(copy) if name.endswith(".png")]
    write_bytes(copy / names[0], b"not an image")
    copy.filesystem.delete_file((copy / names[1]).path)
    config = CropConfig(
        pages_uri=copy.uri, out_uri=str(tmp_path / "crops"), crop=NATIVE, max_reject_fraction=0.5
    )
    summary = crop_pages(config)
    assert summary["rejects"] == {"bad_image": 1, "missing_image": 1}
    assert summary["pages"] == {"read": 46, "rejected": 2}
    write_bytes(copy / names[0], b"not an image either")
    with pytest.raises(InputError, match="pages_sha256: "):
        crop_pages(config)
    with pytest.raises(ProductionError, match="rejects must be at most"):
        crop_pages(replace(config, out_uri=str(tmp_path / "strict"), max_reject_fraction=0.0))
    assert not (tmp_path / "strict/manifest.json").exists()


@pytest.mark.slow
def test_few_similar_problems_have_lines_in_both_splits(ray_session, fonts, tmp_path) -> None:
    pages = locate(str(tmp_path / "pages"))
    write_pages(pages, num_pages=6, seed=3, font_bytes=fonts[0].content)
    names = [name for name in list_files(pages) if name.endswith(".json")]
    for rank, name in enumerate(names):  # groups of three pages, of two, and of one that gives no lines
        document = json.loads(read_bytes(pages / name).decode("utf-8-sig"))
        document["OCR_info"][0]["question_text"] = f"{'배귤배귤배감'[rank]} ${rank}$개"
        if rank == 5:
            for box in document["OCR_info"][0]["question_bbox"]:
                box["text"] = None
        write_bytes(pages / name, json.dumps(document).encode())
    for seed in (0, 1, 2):
        out = tmp_path / f"crops {seed}"
        config = CropConfig(pages_uri=pages.uri, out_uri=str(out), seed=seed, max_reject_fraction=0.5)
        summary = crop_pages(config)
        by_split = summary["pages_by_split"]
        assert (summary["problem_groups"], sum(by_split.values())) == (3, 6)
        assert by_split["validation"] in (2, 3)
        assert min(summary["by_split"].values()) > 0


@pytest.mark.slow
def test_a_page_without_lines_is_a_reject_and_a_dataset_without_lines_fails(
    ray_session, fonts, tmp_path
) -> None:
    pages = locate(str(tmp_path / "pages"))
    write_pages(pages, num_pages=1, seed=3, font_bytes=fonts[0].content)
    (label,) = [name for name in list_files(pages) if name.endswith(".json")]
    write_bytes(pages / label, read_bytes(pages / label).replace(b'"line"', b'"text"'))
    config = CropConfig(pages_uri=pages.uri, out_uri=str(tmp_path / "crops"), max_reject_fraction=1.0)
    with pytest.raises(ProductionError, match=r"at least one line, got none; rejects: .'no_line_boxes': 1"):
        crop_pages(config)


def test_a_folder_without_pages_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match=r"--pages-uri must hold images .* found no pair"):
        crop_pages(CropConfig(pages_uri=str(tmp_path), out_uri=str(tmp_path / "out")))


def test_a_location_that_does_not_exist_is_refused_with_its_flag(tmp_path) -> None:
    with pytest.raises(InputError, match=r"--pages-uri: pages must be in a folder or a .zip"):
        crop_pages(CropConfig(pages_uri=str(tmp_path / "none"), out_uri=str(tmp_path / "out")))


@pytest.mark.parametrize("field", ["splice", "preview", "pages_per_part"])
def test_a_negative_number_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} must be"):
        CropConfig(pages_uri="x", out_uri="y", **{field: -1})


def test_spliced_lines_are_divided_like_the_pages() -> None:
    assert divide_lines(100, {"train": 7, "validation": 2, "test": 1}) == {
        "train": 70,
        "validation": 20,
        "test": 10,
    }
    assert divide_lines(5, {"train": 2, "validation": 1}) == {"train": 4, "validation": 1}
    assert divide_lines(5, {"train": 0, "validation": 2}) == {"train": 0, "validation": 5}


def test_spliced_lines_have_their_own_parts_and_numbers() -> None:
    parts = list(cut_crop_parts({"train": 5, "validation": 0}, {"train": 3, "validation": 0}, 4))
    assert [(part.path, part.start, part.stop) for part in parts] == [
        ("train/part-00000.parquet", 0, 4),
        ("train/part-00001.parquet", 4, 5),
        ("train/part-00002.parquet", FIRST_SPLICED_NUMBER, FIRST_SPLICED_NUMBER + 3),
        ("validation/part-00000.parquet", 0, 0),
    ]

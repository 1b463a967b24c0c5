"""Audits of a small dataset of rendered lines: intact, damaged in every way, and repaired."""

import json
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import tyro
from harness.damage import rewrite_rows

from jobs import audit_lines as job
from ocr_ray.audit.config import AuditConfig, MovedConfig
from ocr_ray.audit.job import audit_lines
from ocr_ray.dataset.lines import PartSpec, table_to_lines
from ocr_ray.dataset.parts import write_part
from ocr_ray.errors import InputError, ProductionError
from ocr_ray.pages.config import CropConfig
from ocr_ray.pages.crop_job import crop_pages
from ocr_ray.pages.synthetic.pages import write_pages
from ocr_ray.render.config import RenderConfig, SourceConfig
from ocr_ray.render.job import render_lines
from ocr_ray.storage.location import (
    Location,
    list_files,
    locate,
    read_bytes,
    read_json,
    write_bytes,
    write_json,
)
from ocr_ray.textgen.sampler import TextConfig

slow = pytest.mark.slow
NUM_LINES = 60  # 36 to train, 12 to validate, 12 to test


@pytest.fixture(scope="module")
def intact(ray_session, fonts, tmp_path_factory) -> RenderConfig:
    """The configuration of an intact dataset."""
    folder = tmp_path_factory.mktemp("audit")
    corpus = folder / "corpus"
    corpus.mkdir()
    (corpus / "words.txt").write_text(
        "나비 바람 구름 사과 나무 하늘 바다 강물 노래 그림 연필 공책 필통 가방", encoding="utf-8"
    )
    config = RenderConfig(
        out_uri=str(folder / "lines"),
        num_lines=NUM_LINES,
        sources=SourceConfig(corpus_uri=str(corpus)),
        fonts=tuple(font.name for font in fonts[:-1]),
        holdout_fonts=(fonts[-1].name,),
        validation_share=0.2,
        test_share=0.2,
        text=TextConfig(holdout_word_share=0.3),
        lines_per_part=8,
    )
    render_lines(config)
    return config


@pytest.fixture
def config(intact, tmp_path) -> RenderConfig:
    """The configuration of a copy, to be damaged."""
    shutil.copytree(intact.out_uri, tmp_path / "lines")
    return replace(intact, out_uri=str(tmp_path / "lines"))


def read_parts(dataset: Location) -> dict[str, bytes]:
    return {name: read_bytes(dataset / name) for name in list_files(dataset) if name.endswith(".parquet")}


def run_job(monkeypatch, capsys, *arguments: str) -> tuple[int, dict]:
    """Return the exit code of the job and its last line."""
    monkeypatch.setattr(sys, "argv", ["jobs/audit_lines.py", *arguments])
    with pytest.raises(SystemExit) as exit_info:
        job.main()
    return int(exit_info.value.code or 0), json.loads(capsys.readouterr().out.splitlines()[-1])


@slow
def test_an_intact_dataset_has_no_findings_and_every_line_is_rendered_again(
    intact, monkeypatch, capsys
) -> None:
    code, summary = run_job(
        monkeypatch, capsys, "--lines-uri", intact.out_uri, "--rerender", "1000", "--compare", intact.out_uri
    )
    assert (code, summary["num_findings"], summary["parts"]) == (0, 0, 9)
    assert summary["lines"] + summary["rejects"] == summary["rerendered"] == NUM_LINES
    assert summary["comparison"]["lines"] == {"real": 36, "synthetic": 36}


def flip_a_byte(part: Location, row: int) -> None:
    image = table_to_lines(pq.read_table(part.path))[row].image_bytes
    content = bytearray(read_bytes(part))
    content[content.index(image) + len(image) // 2] ^= 1
    write_bytes(part, bytes(content))


def damage(dataset: Location) -> None:
    """Damage every part but one, each in another way."""
    train, validation, test = (dataset / split for split in ("train", "validation", "test"))
    flip_a_byte(train / "part-00000.parquet", 5)
    dataset.filesystem.delete_file((train / "part-00001.parquet").path)
    write_bytes(train / "part-00002.parquet", read_bytes(train / "part-00002.parquet")[:-9])
    write_bytes(train / "part-00003.parquet", read_bytes(train / "part-00004.parquet"))
    write_bytes(train / "part-00099.parquet", read_bytes(train / "part-00004.parquet"))
    rows = pq.read_table((validation / "part-00000.parquet").path)
    rewrite_rows(validation / "part-00000.parquet", rows.filter([n != 3 for n in range(8)]))
    rejects = dataset / "rejects/validation-part-00001.parquet"
    dataset.filesystem.delete_file(rejects.path)
    # One line is missing, another has words of train; the footer agrees with these rows.
    lines = table_to_lines(pq.read_table((test / "part-00001.parquet").path))
    foreign = table_to_lines(pq.read_table((train / "part-00000.parquet").path))[0]
    lines[1] = replace(lines[1], text=f"{foreign.text} 123", markup=f"{foreign.markup} 123")
    spec = PartSpec(split="test", index=1, start=800_000_008, stop=800_000_012)
    write_part(dataset, spec, read_json(dataset / "plan.json")["config_sha256"], lines[:3])


DAMAGES = {
    ("train/part-00000.parquet", "wrong_digest", ""),
    ("train/part-00000.parquet", "not_rerendered", "5"),
    ("train/part-00001.parquet", "missing_part", "8-15"),
    ("train/part-00002.parquet", "wrong_bytes", ""),
    ("train/part-00002.parquet", "unreadable", "16-23"),
    ("train/part-00003.parquet", "wrong_bytes", ""),
    ("train/part-00003.parquet", "foreign_part", "24-31"),
    ("train/part-00099.parquet", "foreign_part", ""),
    ("validation/part-00000.parquet", "wrong_bytes", ""),
    ("validation/part-00000.parquet", "wrong_rows", ""),
    ("validation/part-00000.parquet", "wrong_digest", ""),
    ("validation/part-00000.parquet", "gap", "700000003"),
    ("rejects/validation-part-00001.parquet", "missing_rejects", ""),
    ("test/part-00001.parquet", "wrong_bytes", ""),
    ("test/part-00001.parquet", "wrong_rows", ""),
    ("test/part-00001.parquet", "wrong_digest", ""),
    ("test/part-00001.parquet", "gap", "800000011"),
    ("test/part-00001.parquet", "misplaced_token", "800000009"),
    ("test/part-00001.parquet", "not_rerendered", "800000009"),
}


@slow
def test_all_damage_is_found_and_repaired(intact, config, monkeypatch, capsys) -> None:
    dataset = locate(config.out_uri)
    damage(dataset)
    code, summary = run_job(monkeypatch, capsys, "--lines-uri", dataset.uri, "--rerender", "1")
    findings = {(finding["path"], finding["reason"], finding["numbers"]) for finding in summary["findings"]}
    assert (code, summary["num_findings"], findings) == (1, len(DAMAGES), DAMAGES)
    # Files that a new run would keep must be moved away; it replaces the others.
    assert summary["move_away"] == ["test/part-00001.parquet", "train/part-00099.parquet"]
    for path in summary["move_away"]:
        dataset.filesystem.delete_file((dataset / path).path)
    words = shlex.split(summary["run"])
    assert words[:2] == ["ocr-ray", "render-lines"]
    repair = tyro.cli(RenderConfig, args=words[2:])
    assert repair == replace(config, verify="rows")
    assert render_lines(repair)["parts_made"] == 7
    assert audit_lines(AuditConfig(lines_uri=dataset.uri, rerender=5))["rerendered"] == 5
    assert read_parts(dataset) == read_parts(locate(intact.out_uri))


@slow
def test_lines_that_the_code_renders_differently_now_are_no_damage(config) -> None:
    dataset = locate(config.out_uri)
    plan, manifest = read_json(dataset / "plan.json"), read_json(dataset / "manifest.json")
    lines = table_to_lines(pq.read_table((dataset / "train/part-00001.parquet").path))
    lines[2] = replace(lines[2], image_bytes=lines[3].image_bytes)
    spec = PartSpec(split="train", index=1, start=8, stop=16)
    stats, _ = write_part(dataset, spec, plan["config_sha256"], lines)
    manifest["parts"][1] |= {"sha256": stats.rows_sha256, "bytes": stats.size_bytes}
    write_json(dataset / "manifest.json", manifest)
    message = "intact lines that this code or machine renders differently; audit it with the code"
    with pytest.raises(ProductionError, match=message) as error:
        audit_lines(AuditConfig(lines_uri=dataset.uri, rerender=NUM_LINES))
    (finding,) = error.value.summary["findings"]
    assert (finding["reason"], finding["numbers"], finding["detail"]) == (
        "not_rerendered",
        "10",
        "different image_bytes",
    )
    assert "run" not in error.value.summary


@slow
def test_a_dataset_on_s3_is_audited_the_same(intact, bucket) -> None:
    source, dataset = locate(intact.out_uri), locate(f"{bucket}/audit/lines")
    for name in list_files(source):
        write_bytes(dataset / name, read_bytes(source / name))
    assert audit_lines(AuditConfig(lines_uri=dataset.uri, rerender=2))["rerendered"] == 2
    dataset.filesystem.delete_file((dataset / "train/part-00001.parquet").path)
    dataset.filesystem.delete_file((dataset / "rejects/test-part-00000.parquet").path)
    with pytest.raises(ProductionError, match="has 2 findings") as error:
        audit_lines(AuditConfig(lines_uri=dataset.uri, rerender=2))
    assert error.value.summary["by_reason"] == {"missing_part": 1, "missing_rejects": 1}


@slow
@pytest.mark.parametrize(
    ("key", "name", "detail"),
    [
        ("by_source", "words", "counts.by_source.words: 999 there"),
        ("digest_by_split", "test", f"counts.digest_by_split.test: {'9' * 64} there"),
        ("by_font", "궁서", "counts.by_font.궁서: 999 there, None now"),
    ],
)
def test_a_wrong_count_in_the_manifest_is_found(key: str, name: str, detail: str, config) -> None:
    dataset = locate(config.out_uri)
    manifest = read_json(dataset / "manifest.json")
    manifest["counts"][key][name] = "9" * 64 if key == "digest_by_split" else 999
    write_json(dataset / "manifest.json", manifest)
    with pytest.raises(
        ProductionError, match=r"has 1 findings; to repair it move away manifest.json; then run: ocr-ray"
    ) as error:
        audit_lines(AuditConfig(lines_uri=dataset.uri))
    (finding,) = error.value.summary["findings"]
    assert (finding["path"], finding["reason"]) == ("manifest.json", "wrong_counts")
    assert finding["detail"].startswith(detail)


@slow
def test_lines_are_rendered_again_from_the_same_inputs_only(config, intact, tmp_path) -> None:
    corpus = Path(intact.sources.corpus_uri)
    moved = shutil.copytree(corpus, tmp_path / "moved")
    again = AuditConfig(lines_uri=config.out_uri, rerender=3, moved=MovedConfig(corpus_uri=str(moved)))
    assert audit_lines(again)["rerendered"] == 3
    (moved / "words.txt").write_text(
        (corpus / "words.txt").read_text(encoding="utf-8") + " 다람쥐", encoding="utf-8"
    )
    with pytest.raises(
        InputError, match=r"differ: corpus\.words\.txt: [0-9a-f]{64} there, [0-9a-f]{64} now; give"
    ):
        audit_lines(again)
    shutil.rmtree(moved)
    with pytest.raises(InputError, match=r"--corpus-uri must name an existing folder"):
        audit_lines(again)


@slow
def test_crops_are_audited_but_not_rendered_again(ray_session, fonts, tmp_path) -> None:
    pages, out = tmp_path / "pages", tmp_path / "crops"
    write_pages(
        locate(str(pages)), num_pages=12, seed=1, font_bytes=fonts[0].content, font_index=fonts[0].face
    )
    crop_pages(CropConfig(pages_uri=str(pages), out_uri=str(out), validation_share=0.3, pages_per_part=4))
    summary = audit_lines(AuditConfig(lines_uri=str(out)))
    manifest = read_json(locate(str(out)) / "manifest.json")
    assert (summary["lines"], summary["parts"]) == (manifest["counts"]["lines"], len(manifest["parts"]))
    with pytest.raises(InputError, match=r"--rerender needs rendered lines, .* holds crops; leave it out"):
        audit_lines(AuditConfig(lines_uri=str(out), rerender=1))
    first, second = (out / f"train/part-0000{index}.parquet" for index in (0, 1))
    originals = {path: path.read_bytes() for path in (second, out / "manifest.json")}
    spec = PartSpec(split="train", index=1, start=4, stop=min(8, manifest["config"]["pages"]["train"]))
    lines = table_to_lines(pq.read_table(first))
    stats, _ = write_part(locate(str(out)), spec, manifest["config_sha256"], lines)
    manifest["parts"][1] |= {"rows": stats.rows, "sha256": stats.rows_sha256, "bytes": stats.size_bytes}
    write_json(locate(str(out)) / "manifest.json", manifest)
    with pytest.raises(ProductionError, match=r"move away manifest\.json") as error:
        audit_lines(AuditConfig(lines_uri=str(out)))
    details = " ".join(finding["detail"] for finding in error.value.summary["findings"])
    assert f"pages in several parts: {lines[0].page_id}" in details
    for path, content in originals.items():
        path.write_bytes(content)
    first.unlink()
    with pytest.raises(
        ProductionError, match=r"1 findings; to repair it run: .*crop-pages.* --verify rows"
    ) as error:
        audit_lines(AuditConfig(lines_uri=str(out)))
    assert error.value.summary["by_reason"] == {"missing_part": 1}


@slow
@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("manifest.json", None, "must be a complete dataset, .* has no manifest.json; "),
        ("plan.json", None, "must be a complete dataset, .* has no plan.json"),
        (
            "plan.json",
            {"config": {"job": "quickstart"}},
            "must be a dataset of render_lines, crop_pages or label_pages",
        ),
        (
            "manifest.json",
            {"parts": []},
            "must be of the same run, those of .* are not; move manifest.json away",
        ),
        ("manifest.json", {"config_sha256": "0" * 64}, "must be of the same run"),
        ("plan.json", {"flags": {}, "seed": 3}, "--rerender needs the flags of the job, .* has none"),
        (
            "plan.json",
            {"flags": {"out-uri": "x", "colour": "red"}},
            "recorded flags must exist in this version of the job, --colour do not",
        ),
    ],
)
def test_an_incomplete_or_inconsistent_dataset_is_refused(name: str, change, message: str, config) -> None:
    dataset = locate(config.out_uri)
    if change is None:
        dataset.filesystem.delete_file((dataset / name).path)
    else:
        write_json(dataset / name, read_json(dataset / name) | change)
    with pytest.raises(InputError, match=message):
        audit_lines(AuditConfig(lines_uri=dataset.uri, rerender=1))


@pytest.mark.parametrize("field", ["rerender", "num_cpus"])
def test_a_negative_number_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        AuditConfig(lines_uri="x", **{field: -1})

"""The job label_pages: pages with boxes become label files, lines and a review page."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from fakes import perfect_reader
from fakes.perfect_reader import DOUBT, learn, make_pages, write_unread
from ray import cloudpickle

from ocr_ray.audit.config import AuditConfig
from ocr_ray.audit.job import audit_lines
from ocr_ray.cli.flags import describe_flags, resolve_uri
from ocr_ray.errors import InputError, ProductionError
from ocr_ray.model.options import Decoding
from ocr_ray.model.reader import LineReader, make_model_reader
from ocr_ray.model.tiny import write_tiny_model
from ocr_ray.pages.config import LabelConfig
from ocr_ray.pages.label_job import label_pages, label_with
from ocr_ray.pages.labels.read import read_label
from ocr_ray.pages.survey import find_pages
from ocr_ray.pages.synthetic.pages import SyntheticPage
from ocr_ray.storage.location import list_files, locate, read_bytes, read_json, write_bytes
from ocr_ray.text.markup import to_text

# Workers cannot import tests.
cloudpickle.register_pickle_by_value(perfect_reader)


@pytest.fixture(scope="module")
def pages(fonts) -> list[SyntheticPage]:
    return make_pages(fonts[0].content, 6)


@pytest.fixture(scope="module")
def unread(pages, tmp_path_factory) -> str:
    folder = locate(str(tmp_path_factory.mktemp("unread")))
    write_unread(folder, pages)
    return folder.uri


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("tiny") / "best_ocr"
    write_tiny_model(folder, ["탁자 7개에 앉으려고 합니다", "3 × 8 = 24"], seed=1)
    generation = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**generation, "max_length": 8}))
    return str(folder)


def make_config(pages_uri: str, out: Path | str, **flags) -> LabelConfig:
    return LabelConfig(model_uri="tiny", pages_uri=pages_uri, out_uri=str(out), pages_per_part=5, **flags)


def choose(pages: list[SyntheticPage]) -> LineReader:
    return LineReader(read=learn(pages), label_column="text", identity={"reader": "perfect"})


def remove_spaces(text: str) -> str:
    return "".join(text.split())


@pytest.mark.slow
def test_pages_are_labelled_and_a_second_run_makes_nothing(
    ray_session, pages, unread, bucket, tmp_path
) -> None:
    config = make_config(unread, f"{bucket}/labelled", review=3, label_studio_images="d/")
    summary = label_with(choose(pages), config, find_pages(unread))
    out = locate(config.out_uri)
    for page in pages:
        expected = read_label(page.label_bytes, page.page_id)
        label = read_label(read_bytes(out / "labels" / f"{page.page_id}.json"), page.page_id)
        assert [remove_spaces(to_text(box.markup)) for box in label.boxes] == [
            remove_spaces(to_text(box.markup)) for box in expected.boxes
        ]
    table = pq.read_table((out / "train").path, filesystem=out.filesystem)
    assert table.num_rows == summary["lines"] == sum(len(box.lines) for p in pages for box in text_boxes(p))
    texts = dict(zip(table["line_id"].to_pylist(), table["text"].to_pylist(), strict=True))
    flagged = sum(DOUBT in text for text in texts.values())
    assert summary["flagged"] == {"low_confidence": flagged}
    assert (summary["unlisted_files"], summary["rejects"]) == (0, {})
    review = read_bytes(out / "review.html").decode()
    assert re.findall(r"(\d+) flagged", review)[0] != "0"
    assert review.count("<section ") == len(read_json(out / "label_studio.json")) == 3
    before = {name: read_bytes(out / name) for name in list_files(out)}
    again = label_with(choose(pages), config, find_pages(unread))
    assert (again["parts_made"], again["parts_kept"]) == (0, 3)
    assert {name: read_bytes(out / name) for name in list_files(out)} == before
    out.filesystem.delete_file((out / "train/part-00001.parquet").path)
    third = label_with(choose(pages), config, find_pages(unread))
    assert (third["parts_made"], third["digest_by_split"]) == (1, summary["digest_by_split"])
    audited = audit_lines(AuditConfig(lines_uri=config.out_uri))
    apply_a_correction(config, table["line_id"][0].as_py(), tmp_path / "corrections.json")
    assert audited["lines"] == summary["lines"]
    out.filesystem.delete_file((out / "train/part-00001.parquet").path)
    with pytest.raises(ProductionError, match=r"label-pages.* --verify rows"):
        audit_lines(AuditConfig(lines_uri=config.out_uri))


def apply_a_correction(config: LabelConfig, line_id: str, path: Path) -> None:
    """Check that a corrected line is in the lines and labels of a new dataset, and that others stay."""
    labelled, out = locate(config.out_uri), locate(f"{config.out_uri}-corrected")
    corrections = {
        "dataset": read_json(labelled / "plan.json")["config_sha256"],
        "lines": {line_id: {"status": "corrected", "text": "탁자 7개"}},
    }
    path.write_text(json.dumps(corrections))
    applying = LabelConfig(apply=str(path), labelled_uri=labelled.uri, out_uri=out.uri)
    summary = label_pages(applying)
    before, after = (
        pq.read_table((folder / "train").path, filesystem=folder.filesystem).to_pylist()
        for folder in (labelled, out)
    )
    assert summary["review"] == {"corrected": 1, "not_reviewed": len(before) - 1}
    changed = [now for line, now in zip(before, after, strict=True) if line != now]
    assert [(line["line_id"], line["text"], line["markup"]) for line in changed] == [
        (line_id, "탁자 7개", "탁자 $7$개")
    ]
    label = read_bytes(out / "labels" / f"{line_id.partition('#')[0]}.json")
    assert "탁자 $7$개" in next(box.markup for box in read_label(label, "").boxes).split("\n")
    assert len(list_files(out / "labels")) == len(list_files(labelled / "labels"))
    assert audit_lines(AuditConfig(lines_uri=out.uri))["lines"] == len(before)
    path.write_text(json.dumps({**corrections, "dataset": "a" * 64}))
    with pytest.raises(InputError, match="is of another dataset"):
        label_pages(applying)


def text_boxes(page: SyntheticPage) -> list:
    """Return the boxes of the problem, in 71859 without those of answer and solution."""
    return [box for box in page.boxes if box.part in ("", "문항(텍스트)")]


@pytest.mark.slow
def test_a_model_labels_pages_in_pieces(ray_session, pages, tiny, tmp_path) -> None:
    folder = locate(str(tmp_path / "pages"))
    write_unread(folder, pages[:2])
    config = replace(make_config(folder.uri, tmp_path / "out", max_aspect=12.0), model_uri=tiny)
    summary = label_pages(replace(config, max_reject_fraction=1.0))
    num_rows = sum(len(text_boxes(page)) for page in pages[:2])
    assert summary["lines"] + sum(summary["rejects"].values()) == num_rows
    assert summary["lines"] > 0
    plan = read_json(locate(config.out_uri) / "plan.json")["config"]
    assert (plan["label_column"], plan["max_aspect"], len(plan["model_sha256"])) == ("text", 12.0, 64)
    table = pq.read_table(tmp_path / "out/train")
    assert all(0 < confidence < 1 for confidence in table["confidence"].to_pylist())
    assert table["style"].null_count == table.num_rows


def test_readings_do_not_depend_on_the_batch_size(tiny, pages) -> None:
    images = list(learn(pages).readings)[:5]
    one, many = (make_model_reader(tiny, Decoding(batch_size=size)).read(images) for size in (1, 4))
    confidences = [reading.confidence for reading in one]
    assert [reading.text for reading in one] == [reading.text for reading in many]
    assert confidences == pytest.approx([reading.confidence for reading in many], rel=1e-4)
    assert len(one) == 5
    plain, reduced = (make_model_reader(tiny, Decoding(precision=name)).identity for name in ("fp32", "bf16"))
    assert plain.keys() == {"model_sha256", "max_aspect"}  # as in the plans of earlier versions
    assert reduced == {**plain, "precision": "bf16"}
    pieces = make_model_reader(tiny, Decoding(batch_size=4, max_aspect=2.0)).read(images)
    assert len(pieces) == 5
    assert not np.allclose([reading.confidence for reading in pieces], confidences)


def test_a_model_reads_on_a_gpu_only_if_asked(tiny, pages) -> None:
    images = list(learn(pages).readings)[:1]
    on_cpu, on_gpu = (
        make_model_reader(tiny, Decoding(batch_size=1), use_gpu=use_gpu).read for use_gpu in (False, True)
    )
    ((text, confidence, _),) = on_cpu(images)
    if torch.cuda.is_available():
        assert on_gpu(images)[0][:2] == (text, pytest.approx(confidence, rel=1e-2))
        assert torch.cuda.max_memory_allocated() > 0
    else:
        with pytest.raises((AssertionError, RuntimeError), match=r"CUDA|NVIDIA"):
            on_gpu(images)


@pytest.mark.slow
def test_a_missing_gpu_is_refused_before_any_work(ray_session, unread, tiny, tmp_path) -> None:
    config = replace(make_config(unread, tmp_path / "out", use_gpu=True), model_uri=tiny)
    with pytest.raises(
        InputError, match=r"1 workers need a GPU each, the cluster has 0 .* leave out --use-gpu"
    ):
        label_pages(config)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_other_pages_another_model_and_other_flags_are_refused(ray_session, pages, unread, tmp_path) -> None:
    chosen = [page for page in pages if page.page_id.startswith("P")][:2]
    folder = locate(str(tmp_path / "pages"))
    write_unread(folder, chosen)
    config = make_config(folder.uri, tmp_path / "out")
    label_with(choose(chosen), config, find_pages(folder.uri))
    with pytest.raises(InputError, match=r"flag_below: 0\.9 there, 0\.5 now"):
        label_with(
            choose(chosen), make_config(folder.uri, tmp_path / "out", flag_below=0.5), find_pages(folder.uri)
        )
    other = LineReader(read=learn(chosen), label_column="markup", identity={"reader": "other"})
    with pytest.raises(InputError, match=r"label_column: text there.*reader: perfect there, other now"):
        label_with(other, config, find_pages(folder.uri))
    write_bytes(folder / f"{chosen[0].page_id}.json", chosen[0].label_bytes)
    with pytest.raises(InputError, match="pages_sha256: "):
        label_with(choose(chosen), config, find_pages(folder.uri))


def test_missing_pages_and_models_are_refused_before_any_work(tmp_path) -> None:
    with pytest.raises(InputError, match=r"--pages-uri must hold images .* found no pair"):
        label_pages(make_config(str(tmp_path), tmp_path / "out"))
    with pytest.raises(InputError, match=r"--pages-uri: pages must be in a folder or a .zip"):
        label_pages(make_config(str(tmp_path / "none"), tmp_path / "out"))
    with pytest.raises(InputError, match=r"config\.json"):
        make_model_reader(str(tmp_path), Decoding())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"flag_below": 1.5}, "flag_below must be from 0 to 1"),
        ({"max_aspect": 0.9}, "max_aspect must be at least 1"),
        ({"max_aspect": float("nan")}, "max_aspect must be at least 1"),
        ({"margin_px": -1}, "margin_px must be at least 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"review": -1}, "review must be at least 0"),
        ({"num_cpus": 0}, "num_cpus must be at least 1"),
    ],
)
def test_a_flag_out_of_range_says_what_must_hold(flags: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_config("x", "y", **flags)


def test_the_described_flags_are_those_that_were_given(tmp_path, tiny) -> None:
    config = LabelConfig(model_uri=tiny, pages_uri="s3://b/pages", out_uri=str(tmp_path), max_aspect=12.0)
    assert describe_flags(config, resolve=resolve_uri) == {
        "model-uri": tiny,
        "pages-uri": "s3://b/pages",
        "out-uri": str(tmp_path),
        "max-aspect": 12.0,
    }

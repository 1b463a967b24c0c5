import json
import shutil
from dataclasses import asdict

import pytest
from builders.manifests import write_manifest
from builders.stub_lines import make_rows, plan_numbers
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.dataset.lines import Manifest, RowSummary, TextLine
from ocr_ray.dataset.manifest import build_manifest, read_digests, require_datasets
from ocr_ray.dataset.parts import write_part
from ocr_ray.dataset.plan import Plan
from ocr_ray.dataset.text_statistics import TextStatistics
from ocr_ray.errors import InputError
from ocr_ray.storage.location import Location, locate, read_bytes, write_bytes, write_json


def summarize(plan: Plan) -> Manifest:
    """Return the manifest of parts that are not written."""
    parts, texts = [], TextStatistics()
    for spec in plan.parts:
        summary = RowSummary()
        for row in make_rows(None, spec):
            summary.add(row)
            if isinstance(row, TextLine):
                texts.add(row)
        parts.append(summary.to_stats(spec))
    return build_manifest(plan, parts, texts=texts, versions={})


@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 130))
def test_counts_digests_and_statistics_are_the_same_for_any_size_of_parts(size: int) -> None:
    one, other = (
        summarize(plan_numbers(120, items_per_part=items, num_validation=9)) for items in (120, size)
    )
    assert json.dumps(one.counts) == json.dumps(other.counts)
    assert json.dumps(one.balance) == json.dumps(other.balance)
    assert one.rejects == other.rejects == {"missing_glyph": 3}
    assert one.counts["by_split"] == {"train": 118, "validation": 8}


def test_flags_and_notes_are_in_the_manifest() -> None:
    manifest = summarize(plan_numbers(9, items_per_part=9, flags={"seed": 3}, notes={"left_out": {"뷁": 2}}))
    assert (manifest.flags, manifest.notes) == ({"seed": 3}, {"left_out": {"뷁": 2}})


@pytest.fixture
def lines(tmp_path) -> Location:
    lines = locate(str(tmp_path / "lines"))
    plan = plan_numbers(30, items_per_part=10)
    parts = [write_part(lines, spec, "abc", make_rows(None, spec))[0] for spec in plan.parts]
    manifest = build_manifest(plan, parts, texts=TextStatistics(), versions={})
    write_json(lines / "manifest.json", asdict(manifest))
    return lines


def test_a_dataset_that_lost_or_gained_a_part_is_not_read(lines) -> None:
    assert list(require_datasets([lines.uri])) == ["lines"]
    write_bytes(lines / "train/foreign.parquet", b"")
    with pytest.raises(
        InputError, match=r"--lines-uri must hold exactly the parts .* differs in train/foreign"
    ):
        require_datasets([lines.uri])
    lines.filesystem.delete_file((lines / "train/foreign.parquet").path)
    part = lines / "train/part-00001.parquet"
    write_bytes(part, read_bytes(part)[:-1])
    with pytest.raises(InputError, match=r"differs in train/part-00001.parquet; run its job again"):
        require_datasets([lines.uri])
    lines.filesystem.delete_file(part.path)
    with pytest.raises(InputError, match=r"differs in train/part-00001.parquet"):
        require_datasets([lines.uri])


def test_the_digests_of_a_dataset_depend_on_its_content_not_its_location(lines, tmp_path) -> None:
    copy = locate(shutil.copytree(lines.path, tmp_path / "copy").as_posix())
    digests = read_digests({"a": lines, "b": copy})
    assert digests["a"] == digests["b"]
    assert list(digests["a"]) == ["train", "validation"]


def test_datasets_with_the_same_name_are_numbered(tmp_path) -> None:
    uris = [str(tmp_path / name) for name in ("a/lines", "b/lines", "lines-2")]
    for uri in uris:
        write_manifest(locate(uri))
    datasets = require_datasets(uris)
    assert [location.uri for location in datasets.values()] == uris
    assert list(datasets) == ["lines", "lines-2", "lines-2-2"]
    with pytest.raises(InputError, match="must name each dataset once"):
        require_datasets([uris[0], uris[0]])
    with pytest.raises(InputError, match=r"must be a complete dataset, .* has no manifest.json"):
        require_datasets([str(tmp_path / "a")])

"""Datasets produced in one Ray session, with lines that need no renderer."""

import json
import logging
import os
import shutil
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray
from builders import stub_lines
from builders.stub_lines import make_line, make_rows, plan_numbers
from PIL import Image
from ray import cloudpickle

from ocr_ray.cluster.produce import produce
from ocr_ray.cluster.produce_options import ProduceOptions
from ocr_ray.dataset.lines import PartSpec, Reject, TextLine, table_to_lines
from ocr_ray.dataset.plan import Plan
from ocr_ray.errors import ProductionError, StorageError
from ocr_ray.storage.location import Location, list_files, locate, read_bytes, read_json, write_bytes

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]

# Workers cannot import the modules of tests.
for module in (stub_lines, sys.modules[__name__]):
    cloudpickle.register_pickle_by_value(module)

OPTIONS = ProduceOptions(max_reject_fraction=0.1)
PLAN = plan_numbers(120, items_per_part=50, num_validation=9, flags={"seed": 3}, notes={"left_out": {}})


@pytest.fixture(params=["own Ray", "cluster"])
def place(request, ray_session, monkeypatch) -> None:
    """Make parts by plain tasks, as on a Ray of the job's own, and with Ray Data, as on a cluster."""
    if request.param == "cluster":
        monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)


def make_rows_slowly(shared: float, spec: PartSpec) -> Iterator[TextLine | Reject]:
    time.sleep(shared)
    yield from make_rows(None, spec)


def make_rows_where_workers_die(shared: Path, spec: PartSpec) -> Iterator[TextLine | Reject]:
    """Yield the rows of a part; the worker of the second train part dies twice."""
    if (spec.split, spec.index) == ("train", 1) and len(list(shared.iterdir())) < 2:
        (shared / str(os.getpid())).touch()
        os._exit(1)
    yield from make_rows(None, spec)


class Pages:
    """Shared inputs whose item 77 ends its worker, after leaving a file in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def name_item(self, split: str, number: int) -> str:
        return f"page {split}-{number}.png"


def make_rows_of_pages(shared: Pages, spec: PartSpec) -> Iterator[TextLine | Reject]:
    for number in range(spec.start, spec.stop):
        if number == 77:
            (shared.folder / f"{spec.stop - spec.start} {os.getpid()}").touch()
            os.kill(os.getpid(), signal.SIGSEGV)
        yield from make_rows(None, replace(spec, start=number, stop=number + 1))


def make_rows_where_s3_refuses(shared: None, spec: PartSpec) -> Iterator[TextLine | Reject]:
    raise StorageError("s3://b/x could not be read: renew the credentials")


def make_rows_during_another_run(shared: Location, spec: PartSpec) -> Iterator[TextLine | Reject]:
    """Yield the rows of a part while another run, with more lines, writes its plan."""
    write_bytes(shared / "plan.json", json.dumps({"config": {"num_lines": 10**6}}).encode())
    yield from make_rows(None, spec)


class Unloadable:
    """Can be sent to a worker, but not loaded there."""

    def __reduce__(self) -> tuple:
        return import_module, ("only_on_the_driver",)

    def __call__(self, shared: None, spec: PartSpec) -> Iterator[TextLine | Reject]:
        raise NotImplementedError


def read_parts(out: Location) -> dict[str, bytes]:
    return {name: read_bytes(out / name) for name in list_files(out) if name.endswith(".parquet")}


@pytest.fixture(scope="module")
def complete(ray_session, tmp_path_factory) -> Location:
    """A dataset of one undisturbed run."""
    out = locate(str(tmp_path_factory.mktemp("complete") / "lines"))
    produce(out, PLAN, (make_rows, None), OPTIONS)
    return out


@pytest.fixture
def out(complete, tmp_path) -> Location:
    """A copy of the undisturbed dataset, to be damaged."""
    return locate(shutil.copytree(complete.path, tmp_path / "lines").as_posix())


def test_every_number_is_either_a_line_or_a_reject(complete) -> None:
    lines, rejects = [], []
    for name in list_files(complete):
        if name.endswith(".parquet"):
            table = pq.read_table((complete / name).path)
            if name.startswith("rejects/"):
                rejects += table["number"].to_pylist()
            else:
                lines += [int(line.line_id) for line in table_to_lines(table)]
    assert sorted(lines + rejects) == [*range(1, 121), *range(700_000_000, 700_000_009)]
    assert sorted(rejects) == [50, 100, 700_000_000]
    assert sorted(list_files(complete)) == sorted(PLAN.names)


def test_the_manifest_counts_the_rows_of_the_parts(complete) -> None:
    manifest = read_json(complete / "manifest.json")
    texts = [make_line(n).text for n in (*range(1, 121), *range(700_000_001, 700_000_009)) if n % 50]
    assert manifest["counts"]["lines"] == len(texts) == sum(part["rows"] for part in manifest["parts"])
    assert manifest["rejects"] == {"missing_glyph": 3}
    assert sum(manifest["balance"]["characters"].values()) == len("".join(texts))
    assert manifest["balance"]["characters"]["□"] == len(texts)
    assert (manifest["flags"], manifest["notes"]) == ({"seed": 3}, {"left_out": {}})
    with Image.open((complete / "lines.png").path) as sheet:
        assert sheet.size == (1600, 12 * 72)
    assert "![24 random lines](lines.png)" in read_bytes(complete / "README.md").decode()


def test_a_second_run_writes_nothing(out) -> None:
    def files() -> dict[str, bytes]:
        return {name: read_bytes(out / name) for name in list_files(out)}

    before = files()
    summary = produce(out, replace(PLAN, flags={"num_cpus": 1}), (make_rows, None), OPTIONS)
    assert (summary["parts_made"], summary["parts_kept"]) == (0, 4)
    summary = produce(out, PLAN, (make_rows, None), replace(OPTIONS, verify="rows"))
    assert (summary["parts_made"], summary["parts_kept"]) == (0, 4)
    assert files() == before


def test_counts_and_statistics_do_not_depend_on_the_size_of_parts_or_on_growth(complete, tmp_path) -> None:
    out = locate(str(tmp_path / "grown"))
    for num_lines in (30, 71, 120):  # the last part is always shorter
        plan = plan_numbers(num_lines, items_per_part=20, num_validation=9)
        produce(out, plan, (make_rows, None), OPTIONS)
    grown, reference = (read_json(folder / "manifest.json") for folder in (out, complete))
    for key in ("counts", "balance", "rejects"):
        assert grown[key] == reference[key]


def test_missing_truncated_and_foreign_parts_are_made_again_with_the_same_bytes(
    complete, out, tmp_path
) -> None:
    parts = read_parts(complete)
    train = tmp_path / "lines/train"
    (train / "part-00000.parquet").write_bytes(parts["train/part-00000.parquet"][:-7])
    (train / "part-00001.parquet").unlink()
    shutil.copy(train / "part-00000.parquet", train / "part-00002.parquet")
    (tmp_path / "lines/rejects/validation-part-00000.parquet").unlink()
    assert produce(out, PLAN, (make_rows, None), OPTIONS)["parts_made"] == 4
    assert read_parts(out) == parts
    manifest, reference = (read_json(folder / "manifest.json") for folder in (out, complete))
    assert manifest | {"created_at": ""} == reference | {"created_at": ""}
    assert read_bytes(out / "lines.png") == read_bytes(complete / "lines.png")


def test_a_changed_pixel_is_repaired_if_rows_are_verified(complete, out) -> None:
    part = out / "train/part-00001.parquet"
    damaged = bytearray(read_bytes(part))
    damaged[damaged.index(make_line(77).image_bytes) + 45] ^= 1
    write_bytes(part, bytes(damaged))
    assert produce(out, PLAN, (make_rows, None), OPTIONS)["parts_made"] == 0
    assert produce(out, PLAN, (make_rows, None), replace(OPTIONS, verify="rows"))["parts_made"] == 1
    assert read_parts(out) == read_parts(complete)


def test_a_dataset_on_s3_holds_the_same_parts(complete, bucket) -> None:
    out = locate(f"{bucket}/produce/lines")
    produce(out, PLAN, (make_rows, None), OPTIONS)
    assert read_parts(out) == read_parts(complete)
    assert produce(out, PLAN, (make_rows, None), OPTIONS)["parts_made"] == 0


def test_two_drivers_at_one_location_make_the_same_dataset(complete, tmp_path) -> None:
    out = locate(str(tmp_path / "lines"))
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(produce, out, PLAN, (make_rows_slowly, 0.2), OPTIONS) for _ in range(2)]
        summaries = [run.result() for run in runs]
    assert all(summary["lines"] == 126 for summary in summaries)
    assert read_parts(out) == read_parts(complete)
    assert sorted(list_files(out)) == sorted(PLAN.names)
    assert read_json(out / "manifest.json")["parts"] == read_json(complete / "manifest.json")["parts"]


@pytest.mark.usefixtures("place")
def test_a_part_whose_worker_dies_twice_is_made(complete, tmp_path) -> None:
    (tmp_path / "deaths").mkdir()
    out = locate(str(tmp_path / "lines"))
    produce(out, PLAN, (make_rows_where_workers_die, tmp_path / "deaths"), OPTIONS)
    assert len(list((tmp_path / "deaths").iterdir())) == 2
    assert read_parts(out) == read_parts(complete)


@pytest.mark.usefixtures("place")
def test_a_page_that_ends_every_worker_fails_the_job_with_its_name(tmp_path) -> None:
    """Three workers make the whole part of 50 items, a fourth process only the page."""
    (tmp_path / "deaths").mkdir()
    out = locate(str(tmp_path / "lines"))
    reason = r"^train/part-00001.parquet has ended its worker 3 times, .*: it is page train-77.png; remove"
    with pytest.raises(ProductionError, match=reason):
        produce(out, PLAN, (make_rows_of_pages, Pages(tmp_path / "deaths")), OPTIONS)
    sizes = sorted(path.name.split()[0] for path in (tmp_path / "deaths").iterdir())
    assert sizes == ["1", "50", "50", "50"]
    assert "manifest.json" not in list_files(out)


def test_a_run_whose_plan_was_replaced_writes_no_manifest(tmp_path) -> None:
    out = locate(str(tmp_path / "lines"))
    with pytest.raises(ProductionError, match=r"another run has changed .*plan.json; run the job"):
        produce(out, PLAN, (make_rows_during_another_run, out), OPTIONS)
    assert "manifest.json" not in list_files(out)


@pytest.mark.parametrize(("make", "shared"), [(make_rows, Unloadable()), (Unloadable(), None)])
@pytest.mark.usefixtures("place")
def test_inputs_that_no_worker_can_load_fail_the_job_with_the_reason(tmp_path, make, shared) -> None:
    reason = (
        r"workers must have the code .* cannot load the inputs .* ModuleNotFoundError\(.*only_on_the_driver"
    )
    with pytest.raises(ProductionError, match=reason):
        produce(locate(str(tmp_path / "lines")), PLAN, (make, shared), OPTIONS)


@pytest.mark.usefixtures("place")
def test_a_storage_error_of_a_worker_is_raised_unchanged_and_not_logged(tmp_path, caplog) -> None:
    logger = logging.getLogger("ray.data")  # does not propagate
    logger.addHandler(caplog.handler)
    with pytest.raises(StorageError, match=r"^s3://b/x could not be read: renew the credentials$"):
        produce(locate(str(tmp_path / "lines")), PLAN, (make_rows_where_s3_refuses, None), OPTIONS)
    logger.removeHandler(caplog.handler)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_too_many_rejects_leave_the_parts_and_no_manifest(tmp_path) -> None:
    out = locate(str(tmp_path / "lines"))
    reason = (
        r"rejects must be at most 0.00% .* got 3 rejects and 126 lines.*the first is line 50: missing_glyph"
    )
    with pytest.raises(ProductionError, match=reason):
        produce(out, PLAN, (make_rows, None), ProduceOptions(max_reject_fraction=0.0))
    assert "manifest.json" not in list_files(out)
    assert produce(out, PLAN, (make_rows, None), OPTIONS)["parts_kept"] == 4


def test_no_lines_are_a_failure(tmp_path) -> None:
    plan = Plan(config={}, parts=(PartSpec(split="train", index=0, start=50, stop=51),))
    with pytest.raises(
        ProductionError,
        match=r"at least one line, got none; rejects: .'missing_glyph': 1.; the first is line 50: missing",
    ):
        produce(locate(str(tmp_path)), plan, (make_rows, None), ProduceOptions(max_reject_fraction=1.0))


def scrape(dataset: str) -> dict[str, float]:
    """Return the values of our metrics on this node's endpoint for Prometheus, summed over workers."""
    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(url) as response:
        samples = [line.rsplit(" ", 1) for line in response.read().decode().splitlines()]
    values: dict[str, float] = {}
    for name, value in samples:
        if "ocr_ray_" in name and f'dataset="{dataset}"' in name and "_bucket" not in name:
            values[name.split("{")[0]] = values.get(name.split("{")[0], 0.0) + float(value)
    return values


def test_prometheus_sees_lines_rejects_and_seconds_per_line(tmp_path) -> None:
    """Ray's tags are ASCII: 줄 is EC A4 84 in UTF-8."""
    produce(locate(str(tmp_path / "scraped 줄")), PLAN, (make_rows, None), OPTIONS)
    deadline = time.monotonic() + 40  # workers export every ten seconds
    while (values := scrape("scraped %EC%A4%84")).get("ray_ocr_ray_lines_total") != 126:
        assert time.monotonic() < deadline, values
        time.sleep(0.5)
    assert values["ray_ocr_ray_rejects_total"] == 3
    assert values["ray_ocr_ray_line_seconds_count"] == 4

"""Jobs over an S3 that misbehaves, or a disk that is full: nothing is lost, and what ends says why."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.s3 import BAD, BUCKET, BadS3, bad_s3
from harness.processes import assert_same_dataset, kill_tree, list_parts, start_job, wait_for
from ray.cluster_utils import Cluster
from training.test_job import assert_same_weights

from ocr_ray.cli.flags import describe_flags, list_arguments
from ocr_ray.dataset.images import ImageConfig
from ocr_ray.evaluation import job as evaluating
from ocr_ray.evaluation.predictions import read_predictions
from ocr_ray.pages import crop_job as cropping
from ocr_ray.pages.synthetic.pages import write_pages
from ocr_ray.render import job as rendering
from ocr_ray.storage.location import list_files, locate, read_json
from ocr_ray.training import job as trainer
from ocr_ray.training.config import TrainConfig

pytestmark = pytest.mark.soak

WAIT_S = 1800
MENDED = "what is done stays: when that is mended, run the same command to go on"


@pytest.fixture(scope="module")
def server() -> Iterator[BadS3]:
    with bad_s3({}) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def address(server) -> Iterator[str]:
    """A Ray whose workers have the server's keys."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield cluster.address
    cluster.shutdown()


@pytest.fixture
def proxy(server) -> Iterator[BadS3]:
    """An S3 that does nothing wrong yet."""
    server.shares, server.refused = {}, {}
    server.done.clear()
    yield server
    server.shares, server.refused = {}, {}


def finish(job: str, flags: Mapping[str, Any], log_path: Path, address: str) -> dict[str, Any]:
    """Run a job that must succeed; return its summary."""
    started = start_job(job, flags, log_path, address=address)
    try:
        code = started.wait(timeout=WAIT_S)
    finally:
        end(started)
    assert code == 0, log_path.read_text()
    return dict(json.loads(log_path.read_text().splitlines()[-1]))


def end(job: subprocess.Popen) -> None:
    if job.poll() is None:
        kill_tree(job.pid)
        job.wait()


def tell(capsys: pytest.CaptureFixture[str], **figures: Any) -> None:
    with capsys.disabled():
        sys.stdout.write("\n" + json.dumps(figures) + "\n")


def plan_lines(place: str, fonts, **changes: Any) -> rendering.RenderConfig:
    config = rendering.RenderConfig(
        out_uri=f"{place}/lines",
        num_lines=1200,
        seed=5,
        lines_per_part=24,
        validation_share=0.05,
        fonts=tuple(font.name for font in fonts),
    )
    return replace(config, **changes)


def plan_training(place: str) -> trainer.TrainJobConfig:
    return trainer.TrainJobConfig(
        lines_uri=(f"{place}/lines", f"{place}/crops"),
        model="tiny",
        run_name="run",
        runs_uri=f"{place}/runs",
        models_uri=f"{place}/models",
        train=TrainConfig(epochs=2, batch_size=8, lr=5e-4, checkpoint_every_minutes=0.05),
        max_failures=1,
    )


def plan_evaluation(place: str) -> evaluating.EvaluationConfig:
    return evaluating.EvaluationConfig(
        model_uri=f"{place}/models/best_ocr",
        lines_uri=(f"{place}/lines", f"{place}/crops"),
        out_uri=f"{place}/evaluation",
        num_workers=1,
    )


def make_lines(place: str, fonts, log_path: Path, address: str) -> None:
    write_pages(locate(f"{place}/pages"), num_pages=40, seed=1, font_bytes=fonts[0].content)
    pages = cropping.CropConfig(
        pages_uri=f"{place}/pages",
        out_uri=f"{place}/crops",
        validation_share=0.3,
        pages_per_part=4,
        splice=40,
    )
    finish("render_lines", describe_flags(plan_lines(place, fonts)), log_path, address)
    finish("crop_pages", describe_flags(pages), log_path, address)


@pytest.fixture(scope="module")
def on_disk(address, fonts, tmp_path_factory) -> str:
    """Lines and crops on a disk."""
    folder = tmp_path_factory.mktemp("undisturbed")
    make_lines(str(folder), fonts, folder / "log", address)
    return str(folder)


@pytest.fixture(scope="module")
def undisturbed(on_disk, address) -> str:
    """The road on a disk: lines, crops, models, predictions."""
    folder = Path(on_disk)
    finish("train_trocr", describe_flags(plan_training(str(folder))), folder / "log", address)
    finish("evaluate_trocr", describe_flags(plan_evaluation(str(folder))), folder / "log", address)
    return on_disk


def test_the_whole_road_ends_the_same_where_a_tenth_of_all_requests_fail(
    undisturbed, proxy, address, fonts, tmp_path, capsys
) -> None:
    place, log_path, done = f"s3://{BUCKET}/road", tmp_path / "log", {}
    proxy.shares = BAD
    make_lines(place, fonts, log_path, address)
    done["render and crop"] = dict(proxy.done)
    finish("train_trocr", describe_flags(plan_training(place)), log_path, address)
    done["train"] = dict(proxy.done)
    finish("evaluate_trocr", describe_flags(plan_evaluation(place)), log_path, address)
    done["evaluate"] = dict(proxy.done)
    proxy.shares = {}
    tell(capsys, requests_so_far=done)
    assert all(proxy.done[kind] for kind in BAD)
    for name in ("lines", "crops"):
        assert_same_dataset(f"{place}/{name}", f"{undisturbed}/{name}")
    assert_same_weights(f"{place}/models", f"{undisturbed}/models")
    own, other = (locate(f"{where}/evaluation") for where in (place, undisturbed))
    assert read_json(own / "report.json")["overall"] == read_json(other / "report.json")["overall"]
    paths = [f"predictions/{name}" for name in list_files(other / "predictions")]
    for mine, theirs in zip(read_predictions(own, paths), read_predictions(other, paths), strict=True):
        assert mine["prediction"].to_pylist() == theirs["prediction"].to_pylist()


@pytest.mark.parametrize(
    ("code", "methods"), [("AccessDenied", "PUT POST"), ("ExpiredToken", "GET HEAD PUT POST DELETE")]
)
def test_a_render_that_is_refused_midway_says_where_and_is_completed(
    code: str, methods: str, on_disk, proxy, address, fonts, tmp_path
) -> None:
    config, log_path = plan_lines(f"s3://{BUCKET}/{code}", fonts), tmp_path / "log"
    job = start_job("render_lines", describe_flags(config), log_path, address=address)
    try:
        wait_for(lambda: len(list_parts(config.out_uri)) >= 3, job, log_path)
        proxy.refuse(code, methods)
        assert job.wait(timeout=120) == 1
    finally:
        end(job)
    last = log_path.read_text().splitlines()[-1]
    assert f" ERROR ocr_ray.cli.run_job: s3://{BUCKET}/{code}/lines/" in last
    assert "renew the credentials" in last
    assert last.endswith(MENDED)
    assert "Traceback" not in log_path.read_text()
    proxy.refused = {}
    left = len(list_parts(config.out_uri))
    assert 3 <= left < len(list_parts(f"{on_disk}/lines"))
    assert finish("render_lines", describe_flags(config), log_path, address)["parts_kept"] == left
    assert_same_dataset(config.out_uri, f"{on_disk}/lines")


def test_a_training_that_is_refused_midway_says_where_and_goes_on_to_the_same_weights(
    undisturbed, proxy, address, tmp_path
) -> None:
    place, log_path = f"s3://{BUCKET}/refused", tmp_path / "log"
    config = replace(plan_training(place), lines_uri=plan_training(undisturbed).lines_uri)
    run = locate(config.runs_uri) / config.run_name
    job = start_job("train_trocr", describe_flags(config), log_path, address=address)
    try:
        wait_for(lambda: trainer.SNAPSHOT in list_files(run, recursive=False), job, log_path, timeout_s=600)
        proxy.refuse("AccessDenied", "PUT POST")
        assert job.wait(timeout=600) == 1
    finally:
        end(job)
    last = log_path.read_text().splitlines()[-1]
    assert f" ERROR ocr_ray.cli.run_job: s3://{BUCKET}/refused/" in last
    assert last.endswith(MENDED)
    proxy.refused = {}
    finish("train_trocr", describe_flags(config), log_path, address)
    assert_same_weights(config.models_uri, f"{undisturbed}/models")


def test_a_full_disk_is_told_and_leaves_no_half_part(on_disk, fonts, tmp_path) -> None:
    """The disk is one of memory in a mount namespace of its own; between both runs it grows."""
    small, kept = tmp_path / "small", tmp_path / "kept"
    small.mkdir()
    config = plan_lines(str(small), fonts)
    command = [sys.executable, "-m", "jobs.render_lines", *list_arguments(describe_flags(config))]
    script = f"""
mount -t tmpfs -o size=4m none {small}
"$@" 2> {tmp_path}/first; echo $?
find {small} -type f > {tmp_path}/left
mount -o remount,size=400m {small}
"$@" 2> {tmp_path}/second; echo $?
cp -r {small} {kept}
"""
    ran = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_S,
    )
    first, second = ((tmp_path / name).read_text() for name in ("first", "second"))
    codes = [line for line in ran.stdout.splitlines() if len(line) == 1]
    assert codes == ["1", "0"], ran.stdout + ran.stderr + first + second
    last = first.splitlines()[-1]
    assert f"ERROR ocr_ray.cli.run_job: {small}/lines/" in last
    assert "No space left on device; free some space there" in last
    assert last.endswith(MENDED)
    assert "Traceback" not in first
    left = (tmp_path / "left").read_text().splitlines()
    assert not [path for path in left if path.endswith(".partial")]
    summary = json.loads(ran.stdout.splitlines()[-2])
    assert (
        summary["parts_kept"] == len([path for path in left if f"{small}/lines/rejects" not in path]) - 1 > 0
    )
    assert_same_dataset(f"{kept}/lines", f"{on_disk}/lines")


def test_200000_lines_are_the_same_where_a_tenth_of_all_requests_fail(
    proxy, address, fonts, tmp_path, capsys
) -> None:
    def render(place: str) -> float:
        config = plan_lines(
            place, fonts, num_lines=200_000, lines_per_part=250, image=ImageConfig(size="native")
        )
        started_s = time.monotonic()
        finish("render_lines", describe_flags(config), tmp_path / "log", address)
        return time.monotonic() - started_s

    on_disk_s = render(str(tmp_path))
    proxy.shares = BAD
    on_s3_s = render(f"s3://{BUCKET}/many")
    proxy.shares = {}
    requests = dict(proxy.done)
    assert_same_dataset(f"s3://{BUCKET}/many/lines", f"{tmp_path}/lines")
    tell(
        capsys,
        requests=requests,
        lines_per_s_on_disk=round(200_000 / on_disk_s),
        lines_per_s_on_s3=round(200_000 / on_s3_s),
    )

"""Jobs with a faulty S3 or a full disk: nothing is lost, and failures report their cause."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from fakes.ceph import ceph_gateway
from fakes.s3 import BUCKET, FAULTS, FaultyS3, faulty_s3
from harness.processes import assert_same_dataset, kill_tree, list_parts, start_job, wait_for
from ray.cluster_utils import Cluster
from training.test_job import assert_same_weights

from ocr_ray.cli.flags import describe_flags, list_arguments
from ocr_ray.dataset.images import ImageConfig
from ocr_ray.errors import InputError
from ocr_ray.evaluation import job as evaluating
from ocr_ray.evaluation.predictions import read_predictions
from ocr_ray.pages import crop_job as cropping
from ocr_ray.pages.synthetic.pages import write_pages
from ocr_ray.render import job as rendering
from ocr_ray.storage.location import check_writable, list_files, locate, read_json
from ocr_ray.training import job as trainer
from ocr_ray.training.config import TrainConfig

pytestmark = pytest.mark.soak

WAIT_S = 1800
ADVICE = "finished work is kept: fix this and run the same command to resume"


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyS3]:
    with faulty_s3({}) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def address(server) -> Iterator[str]:
    """A Ray cluster whose workers have the keys of the server."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield cluster.address
    cluster.shutdown()


@pytest.fixture
def proxy(server) -> Iterator[FaultyS3]:
    """The server without faults."""
    server.rates, server.refused, server.is_old = {}, {}, False
    server.counts.clear()
    yield server
    server.rates, server.refused = {}, {}


def finish(job: str, flags: Mapping[str, Any], log_path: Path, address: str) -> dict[str, Any]:
    """Run a job that must succeed; return its summary."""
    process = start_job(job, flags, log_path, address=address)
    try:
        code = process.wait(timeout=WAIT_S)
    finally:
        end(process)
    assert code == 0, log_path.read_text()
    return dict(json.loads(log_path.read_text().splitlines()[-1]))


def end(job: subprocess.Popen) -> None:
    if job.poll() is None:
        kill_tree(job.pid)
        job.wait()


def print_values(capsys: pytest.CaptureFixture[str], **values: Any) -> None:
    with capsys.disabled():
        sys.stdout.write("\n" + json.dumps(values) + "\n")


def plan_lines(folder: str, fonts, **changes: Any) -> rendering.RenderConfig:
    config = rendering.RenderConfig(
        out_uri=f"{folder}/lines",
        num_lines=1200,
        seed=5,
        lines_per_part=24,
        validation_share=0.05,
        fonts=tuple(font.name for font in fonts),
    )
    return replace(config, **changes)


def plan_training(folder: str) -> trainer.TrainJobConfig:
    return trainer.TrainJobConfig(
        lines_uri=(f"{folder}/lines", f"{folder}/crops"),
        model="tiny",
        run_name="run",
        runs_uri=f"{folder}/runs",
        models_uri=f"{folder}/models",
        train=TrainConfig(epochs=2, batch_size=8, lr=5e-4, checkpoint_every_minutes=0.05),
        max_failures=1,
    )


def plan_evaluation(folder: str) -> evaluating.EvaluationConfig:
    return evaluating.EvaluationConfig(
        model_uri=f"{folder}/models/best_ocr",
        lines_uri=(f"{folder}/lines", f"{folder}/crops"),
        out_uri=f"{folder}/evaluation",
        num_workers=1,
    )


def make_lines(folder: str, fonts, log_path: Path, address: str) -> None:
    write_pages(locate(f"{folder}/pages"), num_pages=40, seed=1, font_bytes=fonts[0].content)
    pages = cropping.CropConfig(
        pages_uri=f"{folder}/pages",
        out_uri=f"{folder}/crops",
        validation_share=0.3,
        pages_per_part=4,
        splice=40,
    )
    finish("render_lines", describe_flags(plan_lines(folder, fonts)), log_path, address)
    finish("crop_pages", describe_flags(pages), log_path, address)


@pytest.fixture(scope="module")
def on_disk(address, fonts, tmp_path_factory) -> str:
    """Lines and crops on a disk."""
    folder = tmp_path_factory.mktemp("undisturbed")
    make_lines(str(folder), fonts, folder / "log", address)
    return str(folder)


@pytest.fixture(scope="module")
def undisturbed(on_disk, address) -> str:
    """Lines, crops, models and predictions made on a disk."""
    folder = Path(on_disk)
    finish("train_trocr", describe_flags(plan_training(str(folder))), folder / "log", address)
    finish("evaluate_trocr", describe_flags(plan_evaluation(str(folder))), folder / "log", address)
    return on_disk


def run_all_jobs(folder: str, undisturbed: str, fonts, log_path: Path, address: str) -> None:
    """Make lines, crops, models and predictions in a folder; they must equal those made on a disk."""
    make_lines(folder, fonts, log_path, address)
    finish("train_trocr", describe_flags(plan_training(folder)), log_path, address)
    finish("evaluate_trocr", describe_flags(plan_evaluation(folder)), log_path, address)
    for name in ("lines", "crops"):
        assert_same_dataset(f"{folder}/{name}", f"{undisturbed}/{name}")
    assert_same_weights(f"{folder}/models", f"{undisturbed}/models")
    own, other = (locate(f"{parent}/evaluation") for parent in (folder, undisturbed))
    assert read_json(own / "report.json")["overall"] == read_json(other / "report.json")["overall"]
    paths = [f"predictions/{name}" for name in list_files(other / "predictions")]
    for table, other_table in zip(read_predictions(own, paths), read_predictions(other, paths), strict=True):
        assert table["prediction"].to_pylist() == other_table["prediction"].to_pylist()


def test_all_jobs_have_the_same_output_if_a_tenth_of_all_requests_to_an_older_server_fail(
    undisturbed, proxy, address, fonts, tmp_path, capsys
) -> None:
    proxy.rates, proxy.is_old = FAULTS, True
    run_all_jobs(f"s3://{BUCKET}/all", undisturbed, fonts, tmp_path / "log", address)
    print_values(capsys, requests=dict(proxy.counts))
    assert all(proxy.counts[fault] for fault in FAULTS)
    assert not {"MissingContentLength", "MissingContentMD5"} & proxy.counts.keys()


@pytest.fixture
def ceph(proxy, tmp_path, monkeypatch) -> Iterator[str]:
    """A bucket of a Ceph gateway, whose endpoint drivers know and the cluster's workers do not."""
    with ceph_gateway(tmp_path, access_key="test", secret_key="test") as url:
        boto3.client("s3", endpoint_url=url).create_bucket(Bucket="ceph")
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        yield "s3://ceph"
        assert not proxy.counts, "a worker called the other server"


def test_all_jobs_have_the_same_output_on_ceph(undisturbed, ceph, address, fonts, tmp_path) -> None:
    run_all_jobs(f"{ceph}/all", undisturbed, fonts, tmp_path / "log", address)


def test_ceph_refuses_the_checksums_that_the_fake_of_an_older_server_refuses(ceph, monkeypatch) -> None:
    """True for the versions of Debian 12 and 13, 16 and 18."""
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")
    with pytest.raises(InputError, match=r"MissingContentLength: .*; set AWS_REQUEST_CHECKSUM_CALC"):
        check_writable(locate(f"{ceph}/checksums"), "--out-uri")
    monkeypatch.delenv("AWS_REQUEST_CHECKSUM_CALCULATION")
    check_writable(locate(f"{ceph}/checksums"), "--out-uri")


@pytest.mark.parametrize(
    ("code", "methods"), [("AccessDenied", "PUT POST"), ("ExpiredToken", "GET HEAD PUT POST DELETE")]
)
def test_a_rendering_that_is_refused_midway_reports_where_and_can_be_completed(
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
    assert last.endswith(ADVICE)
    assert "Traceback" not in log_path.read_text()
    proxy.refused = {}
    num_finished = len(list_parts(config.out_uri))
    assert 3 <= num_finished < len(list_parts(f"{on_disk}/lines"))
    assert finish("render_lines", describe_flags(config), log_path, address)["parts_kept"] == num_finished
    assert_same_dataset(config.out_uri, f"{on_disk}/lines")


def test_a_training_that_is_refused_midway_reports_where_and_resumes_to_the_same_weights(
    undisturbed, proxy, address, tmp_path
) -> None:
    folder, log_path = f"s3://{BUCKET}/refused", tmp_path / "log"
    config = replace(plan_training(folder), lines_uri=plan_training(undisturbed).lines_uri)
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
    assert last.endswith(ADVICE)
    proxy.refused = {}
    finish("train_trocr", describe_flags(config), log_path, address)
    assert_same_weights(config.models_uri, f"{undisturbed}/models")


def run_on_full_disk(script: str, command: Sequence[str], folder: Path) -> tuple[str, str]:
    """Run a script in its own mount namespace, in which the command fails once and then succeeds.

    Return the script's output, and the command's first error output, from the file `first` of the folder.
    """
    result = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_S,
    )
    first, second = ((folder / name).read_text() for name in ("first", "second"))
    codes = [line for line in result.stdout.splitlines() if len(line) == 1]
    assert codes == ["1", "0"], result.stdout + result.stderr + first + second
    return result.stdout, first


def test_a_full_disk_is_reported_and_leaves_no_incomplete_part(on_disk, fonts, tmp_path) -> None:
    """The disk is a tmpfs in its own mount namespace, which grows between the two runs."""
    small, kept = tmp_path / "small", tmp_path / "kept"
    small.mkdir()
    config = plan_lines(str(small), fonts)
    command = [sys.executable, "-m", "jobs.render_lines", *list_arguments(describe_flags(config))]
    script = f"""
mount -t tmpfs -o size=4m none {small}
"$@" 2> {tmp_path}/first; echo $?
find {small} -type f > {tmp_path}/files
mount -o remount,size=400m {small}
"$@" 2> {tmp_path}/second; echo $?
cp -r {small} {kept}
"""
    output, first = run_on_full_disk(script, command, tmp_path)
    last = first.splitlines()[-1]
    assert f"ERROR ocr_ray.cli.run_job: {small}/lines/" in last
    assert "No space left on device; free some space there" in last
    assert last.endswith(ADVICE)
    assert "Traceback" not in first
    files = (tmp_path / "files").read_text().splitlines()
    assert not [path for path in files if path.endswith(".partial")]
    summary = json.loads(output.splitlines()[-2])
    assert (
        summary["parts_kept"] == len([path for path in files if f"{small}/lines/rejects" not in path]) - 1 > 0
    )
    assert_same_dataset(f"{kept}/lines", f"{on_disk}/lines")


def test_a_disk_that_is_full_in_training_is_reported_with_its_file_and_the_run_resumes(
    undisturbed, tmp_path
) -> None:
    """The disk, a tmpfs in its own mount namespace, holds the run but not its first checkpoint."""
    small, kept = tmp_path / "small", tmp_path / "kept"
    small.mkdir()
    config = replace(plan_training(str(small)), lines_uri=plan_training(undisturbed).lines_uri)
    command = [sys.executable, "-m", "jobs.train_trocr", *list_arguments(describe_flags(config))]
    script = f"""
mount -t tmpfs -o size=20m none {small}
"$@" 2> {tmp_path}/first; echo $?
mount -o remount,size=400m {small}
"$@" 2> {tmp_path}/second; echo $?
cp -r {small} {kept}
"""
    _, first = run_on_full_disk(script, command, tmp_path)
    last = first.splitlines()[-1]
    assert f"ERROR ocr_ray.cli.run_job: {small}/runs/run" in last
    assert "No space left on device; free some space there" in last
    assert last.endswith(ADVICE)
    assert_same_weights(f"{kept}/models", f"{undisturbed}/models")


def test_200000_lines_are_the_same_if_a_tenth_of_all_requests_fail(
    proxy, address, fonts, tmp_path, capsys
) -> None:
    def render(folder: str) -> float:
        config = plan_lines(
            folder, fonts, num_lines=200_000, lines_per_part=250, image=ImageConfig(size="native")
        )
        started_s = time.monotonic()
        finish("render_lines", describe_flags(config), tmp_path / "log", address)
        return time.monotonic() - started_s

    on_disk_s = render(str(tmp_path))
    proxy.rates = FAULTS
    on_s3_s = render(f"s3://{BUCKET}/many")
    proxy.rates = {}
    requests = dict(proxy.counts)
    assert_same_dataset(f"s3://{BUCKET}/many/lines", f"{tmp_path}/lines")
    print_values(
        capsys,
        requests=requests,
        lines_per_s_on_disk=round(200_000 / on_disk_s),
        lines_per_s_on_s3=round(200_000 / on_s3_s),
    )

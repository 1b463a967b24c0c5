"""Observability of jobs: Prometheus, Grafana, the dashboard and logs, without secrets."""

import json
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.request import urlopen

import boto3
import promql_parser
import pytest
from builders.faulty_pages import write_faulty_pages
from harness.submitting import PLANTED, ROOT, Head, find_secrets, head_started
from prometheus_client.parser import text_string_to_metric_families
from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

from ocr_ray.storage.location import Location, list_files, locate, read_bytes

DASHBOARD = json.loads((ROOT / "grafana/ocr_ray.json").read_text())
GRAFANA_VARIABLES = {r"\$__(range|rate_interval)": "5m", r"\$\w+": "0.5"}
OF_GPUS = "node_gpus_utilization"
"""A metric that nodes without a GPU do not report."""
OURS = "ray_ocr_ray_"
PARTS = {f"{OURS}parts_done", f"{OURS}parts_pending"}
EXPORTED_BY = {
    "render_lines": {f"{OURS}lines_total", f"{OURS}line_seconds_bucket", *PARTS},
    "crop_pages": {f"{OURS}rejects_total"},
    "train_trocr": {
        f"{OURS}{name}"
        for name in (
            "train_loss",
            "train_lines_per_second",
            "feed_wait_share",
            "validation_loss",
            "validation_cer",
        )
    },
    "evaluate_trocr": {f"{OURS}read_lines_total", *PARTS},
}
"""Our metrics that each job exports."""
TRAIN_RUNS = "/api/train/v2/runs/v1"
SCRAPE_S = 0.5
OF_SUBMISSION = re.compile("Runtime env is setting up|Running entrypoint for job")
"""Lines that Ray writes before a job starts."""


def parse_queries() -> list[promql_parser.Expr]:
    """Return the queries of all panels, with an example value for each variable of Grafana."""
    queries = []
    for target in (target for panel in DASHBOARD["panels"] for target in panel["targets"]):
        query = target["expr"]
        for variable, value in GRAFANA_VARIABLES.items():
            query = re.sub(variable, value, query)
        queries.append(promql_parser.parse(query))
    return queries


def list_queried() -> set[str]:
    """Return the names of all metrics in the panels."""
    names: set[str] = set()

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            names.add(node.name)

    for query in parse_queries():
        promql_parser.walk(query, visit)
    return names


@dataclass(frozen=True)
class Watched:
    """Logs, dashboard entries and written files of completed jobs."""

    logs: dict[str, list[str]]
    train_runs: list[dict[str, Any]]
    datasets: list[dict[str, Any]]
    written: dict[str, bytes]


@pytest.fixture(scope="module")
def folder(s3_environment: None, fonts) -> Location:
    """A folder on S3 with faulty pages."""
    boto3.client("s3").create_bucket(Bucket="watched")
    folder = locate("s3://watched/all")
    write_faulty_pages(folder / "pages", schema="71716", seed=1, font_bytes=fonts[0].content, num_pages=60)
    return folder


@pytest.fixture(scope="module")
def head(folder: Location) -> Iterator[Head]:
    """A head with the keys of S3 in its environment, which exports metrics every second."""
    environment = {
        **{name: os.environ[name] for name in ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")},
        "OCR_RAY_LOG": "json",
        "RAY_metrics_report_interval_ms": "1000",
    }
    with head_started(environment | PLANTED) as head:
        yield head


@pytest.fixture(scope="module")
def watched(head: Head, folder: Location, fonts) -> Watched:
    """Jobs that rendered lines, cropped faulty pages, trained a model and evaluated it."""
    logs = {job: finish(head, job, flags) for job, flags in make_flags(folder, fonts[0].name).items()}
    rendering = next(job for job in head.client().list_jobs() if "render_lines" in job.entrypoint)
    data = f"/api/data/datasets/{rendering.job_id}"
    return Watched(
        logs=logs,
        train_runs=head.fetch(TRAIN_RUNS)["train_runs"],
        datasets=head.fetch(data)["datasets"],
        written=head.list_written(TRAIN_RUNS, "/logical/actors", data)
        | {name: read_bytes(folder / name) for name in list_files(folder)},
    )


def make_flags(folder: Location, font: str) -> dict[str, dict[str, Any]]:
    """Return the flags of a few small jobs."""
    lines = (folder / "lines").uri
    return {
        "render_lines": {
            "out-uri": lines,
            "num-lines": 200,
            "fonts": font,
            "lines-per-part": 20,
            "validation-share": 0.3,
        },
        "crop_pages": {
            "pages-uri": (folder / "pages").uri,
            "out-uri": (folder / "crops").uri,
            "max-reject-fraction": 0.9,
            "pages-per-part": 10,
        },
        "train_trocr": {
            "lines-uri": lines,
            "model": "tiny",
            "run-name": "run",
            "runs-uri": (folder / "runs").uri,
            "models-uri": (folder / "models").uri,
            "num-workers": 2,
            "epochs": 1,
            "max-generated-lines": 4,
        },
        "evaluate_trocr": {
            "model-uri": (folder / "models/best_ocr").uri,
            "lines-uri": lines,
            "out-uri": (folder / "report").uri,
            "num-workers": 1,
        },
    }


def make_long_flags(folder: Location, font: str) -> dict[str, dict[str, Any]]:
    """Return the flags of jobs that run until they are stopped."""
    flags = make_flags(folder, font)
    changes = {
        "render_lines": {"out-uri": (folder / "long/lines").uri, "num-lines": 100_000, "lines-per-part": 100},
        "train_trocr": {"run-name": "long", "models-uri": (folder / "long/models").uri, "epochs": 10_000},
        "evaluate_trocr": {
            "out-uri": (folder / "long/report").uri,
            "split": "train",
            "batch-size": 1,
            "num-beams": 20,
        },
    }
    return {job: flags[job] | longer for job, longer in changes.items()}


def finish(head: Head, job: str, flags: dict[str, Any]) -> list[str]:
    """Submit a job that must succeed; return the lines of its log."""
    job_id = head.submit(job, flags)
    assert head.wait_for_end(job_id).status == "SUCCEEDED", head.logs(job_id)
    return head.logs(job_id).splitlines()


@contextmanager
def scraping(head: Head) -> Iterator[set[str]]:
    """Collect the names of all metrics of Ray's endpoint."""
    names: set[str] = set()
    ended = threading.Event()

    def scrape() -> None:
        while not ended.wait(SCRAPE_S):
            with urlopen(head.metrics_address) as response:
                families = text_string_to_metric_families(response.read().decode())
                names.update(sample.name for family in families for sample in family.samples)

    with ThreadPoolExecutor(1) as pool:
        scraped = pool.submit(scrape)
        try:
            yield names
        finally:
            ended.set()
        scraped.result()


def test_the_queries_of_grafana_can_be_parsed_and_use_our_metrics() -> None:
    assert len(parse_queries()) >= len(DASHBOARD["panels"])
    assert sum(name.startswith(OURS) for name in list_queried()) >= 10


@pytest.mark.soak
def test_every_metric_of_a_panel_is_scraped_while_jobs_run(
    head: Head, watched: Watched, folder: Location, fonts
) -> None:
    """Each job runs until all its metrics were scraped, because Ray drops gauges that are not set again."""
    scraped: set[str] = set()
    for job, flags in make_long_flags(folder, fonts[0].name).items():
        with scraping(head) as names:
            head.stop_when(partial(EXPORTED_BY[job].issubset, names), job, flags)
        scraped |= names
    queried = list_queried()
    assert OF_GPUS in METRICS_GAUGES
    assert queried - scraped <= {f"ray_{OF_GPUS}"}
    assert set().union(*EXPORTED_BY.values()) == {name for name in queried if name.startswith(OURS)}
    ours = {name for name in scraped if name.startswith(OURS)}
    assert {name for name in ours - queried if not name.endswith(("_sum", "_count", "_created"))} == set()


@pytest.mark.soak
def test_the_dashboard_shows_datasets_and_trainings(watched: Watched) -> None:
    assert [(run["name"], run["status"]) for run in watched.train_runs] == [("run", "FINISHED")]
    workers = watched.train_runs[0]["attempts"][-1]["workers"]
    assert sorted(worker["world_rank"] for worker in workers) == [0, 1]
    (dataset,) = watched.datasets
    assert (dataset["state"], dataset["progress"], dataset["total"]) == ("FINISHED", 10, 10)


@pytest.mark.soak
def test_every_line_of_a_log_is_json_and_the_last_is_the_summary(watched: Watched) -> None:
    for job, lines in watched.logs.items():
        records = [json.loads(line) for line in lines if not OF_SUBMISSION.search(line)]
        assert len(records) > 3, job
        for record in records[:-1]:
            assert record.keys() >= {"asctime", "levelname", "message"}
        assert "levelname" not in records[-1]


@pytest.mark.soak
def test_no_written_file_contains_a_secret(head: Head, watched: Watched) -> None:
    for name in ("plan.json", "manifest.json", "README.md", "training_state.pt", "raylet.out"):
        assert any(path.endswith(f"/{name}") for path in watched.written), name
    assert find_secrets(watched.written, *PLANTED.values(), head.token) == []

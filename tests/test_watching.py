"""A run as it is watched: what Prometheus, Grafana and the dashboard get of it, its logs, and no secrets."""

import json
import os
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

import boto3
import promql_parser
import pytest
from faulty_pages import write_faulty_pages
from killing import find_tree
from prometheus_client.parser import text_string_to_metric_families
from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES
from submitting import ROOT, Head, head_started

from ocr_ray.storage import Location, list_files, locate, read_bytes

DASHBOARD = json.loads((ROOT / "grafana/ocr_ray.json").read_text())
GRAFANA_VARIABLES = {r"\$__(range|rate_interval)": "5m", r"\$\w+": "0.5"}
OF_GPUS = "node_gpus_utilization"
"""What nodes without a GPU do not report."""
SECRETS = {
    name: f"planted{uuid.uuid4().hex}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN")
}
SCRAPE_S = 1.0
OF_SUBMISSION = re.compile("Runtime env is setting up|Running entrypoint for job")
"""What Ray itself writes before a job begins."""


def parse_queries() -> list[promql_parser.Expr]:
    """Return the queries of all panels, an example in place of each variable of Grafana."""
    found = []
    for target in (target for panel in DASHBOARD["panels"] for target in panel["targets"]):
        query = target["expr"]
        for variable, value in GRAFANA_VARIABLES.items():
            query = re.sub(variable, value, query)
        found.append(promql_parser.parse(query))
    return found


def list_queried() -> set[str]:
    """Return the names of all metrics that the panels show."""
    names: set[str] = set()

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            names.add(node.name)

    for query in parse_queries():
        promql_parser.walk(query, visit)
    return names


@dataclass(frozen=True)
class Watched:
    """What was seen of a run, and all that it wrote."""

    scraped: set[str]
    logs: dict[str, list[str]]
    train_runs: list[dict[str, Any]]
    datasets: list[dict[str, Any]]
    token: str
    written: dict[str, bytes]


@pytest.fixture(scope="module")
def watched(s3_environment: None, fonts) -> Watched:
    """Lines rendered, faulty pages cropped, a model trained and evaluated, with keys in the environment."""
    boto3.client("s3").create_bucket(Bucket="watched")
    place = locate("s3://watched/all")
    write_faulty_pages(place / "pages", schema="71716", seed=1, font_bytes=fonts[0].content, num_pages=60)
    environment = {
        **{name: os.environ[name] for name in ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")},
        "OCR_RAY_LOG": "json",
        "RAY_metrics_report_interval_ms": "1000",
    }
    with head_started(environment | SECRETS) as head:
        assert any(process.environ().items() >= SECRETS.items() for process in find_tree(head.process.pid))
        return watch(head, place, fonts[0].name)


def watch(head: Head, place: Location, font: str) -> Watched:
    """Run the jobs one after the other, scraping Prometheus' metrics all the time."""
    with scraping(head) as scraped:
        logs = {job: finish(head, job, flags) for job, flags in make_flags(place, font).items()}
    rendering = next(job for job in head.client().list_jobs() if "render_lines" in job.entrypoint)
    files = [path for path in head.folder.rglob("*") if path.is_file() and path.name != "token"]
    return Watched(
        scraped=scraped,
        logs=logs,
        train_runs=ask(head, "/api/train/v2/runs/v1")["train_runs"],
        datasets=ask(head, f"/api/data/datasets/{rendering.job_id}")["datasets"],
        token=head.token,
        written={str(path): path.read_bytes() for path in files}
        | {name: read_bytes(place / name) for name in list_files(place)},
    )


def make_flags(place: Location, font: str) -> dict[str, dict[str, Any]]:
    lines, crops = (place / "lines").uri, (place / "crops").uri
    small = {"lines-per-part": 20, "validation-share": 0.3}
    return {
        "render_lines": {"out-uri": lines, "num-lines": 200, "fonts": font, **small},
        "crop_pages": {
            "pages-uri": (place / "pages").uri,
            "out-uri": crops,
            "max-reject-fraction": 0.9,
            "pages-per-part": 10,
        },
        "train_trocr": {
            "lines-uri": lines,
            "model": "tiny",
            "run-name": "run",
            "runs-uri": (place / "runs").uri,
            "models-uri": (place / "models").uri,
            "num-workers": 2,
            "epochs": 1,
            "max-generated-lines": 4,
        },
        "evaluate_trocr": {
            "model-uri": (place / "models/best_ocr").uri,
            "lines-uri": lines,
            "out-uri": (place / "report").uri,
            "num-workers": 1,
        },
    }


def finish(head: Head, job: str, flags: dict[str, Any]) -> list[str]:
    """Submit a job that must succeed; return the lines of its log."""
    job_id = head.submit(job, flags)
    assert head.wait_for_end(job_id).status == "SUCCEEDED", head.logs(job_id)
    return head.logs(job_id).splitlines()


@contextmanager
def scraping(head: Head) -> Iterator[set[str]]:
    """Collect the names of all metrics that Ray's endpoint shows at any time."""
    names: set[str] = set()
    ended = threading.Event()

    def scrape() -> None:
        while not ended.wait(SCRAPE_S):
            with urlopen(head.metrics_address) as response:
                families = text_string_to_metric_families(response.read().decode())
                names.update(sample.name for family in families for sample in family.samples)

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield names
    finally:
        ended.set()
        thread.join()


def ask(head: Head, path: str) -> dict[str, Any]:
    request = Request(head.address + path, headers={"Authorization": f"Bearer {head.token}"})
    with urlopen(request) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def test_the_queries_of_grafana_can_be_parsed_and_ask_for_our_metrics() -> None:
    assert len(parse_queries()) >= len(DASHBOARD["panels"])
    assert sum(name.startswith("ray_ocr_ray_") for name in list_queried()) >= 10


@pytest.mark.soak
def test_every_metric_of_a_panel_is_scraped_while_jobs_run(watched: Watched) -> None:
    queried = list_queried()
    assert OF_GPUS in METRICS_GAUGES
    assert queried - watched.scraped <= {f"ray_{OF_GPUS}"}
    ours = {name.removesuffix("_sum") for name in watched.scraped if name.startswith("ray_ocr_ray_")}
    hidden = {name for name in ours if not name.endswith(("_bucket", "_count", "_created"))} - queried
    assert hidden == {"ray_ocr_ray_line_seconds"}  # shown by its buckets


@pytest.mark.soak
def test_dashboard_pages_of_data_and_training_are_filled(watched: Watched) -> None:
    assert [(run["name"], run["status"]) for run in watched.train_runs] == [("run", "FINISHED")]
    workers = watched.train_runs[0]["run_attempts"][-1]["train_workers"]
    assert sorted(worker["world_rank"] for worker in workers) == [0, 1]
    (dataset,) = watched.datasets
    assert (dataset["state"], dataset["progress"], dataset["total"]) == ("FINISHED", 10, 10)


@pytest.mark.soak
def test_every_line_of_a_log_is_json_and_the_last_one_the_summary(watched: Watched) -> None:
    for job, lines in watched.logs.items():
        records = [json.loads(line) for line in lines if not OF_SUBMISSION.search(line)]
        assert len(records) > 3, job
        for record in records[:-1]:
            assert record.keys() >= {"asctime", "levelname", "name", "message"}
        assert "levelname" not in records[-1]


@pytest.mark.soak
def test_no_secret_is_in_anything_that_was_written(watched: Watched) -> None:
    written = watched.written
    for known in ("plan.json", "manifest.json", "README.md", "training_state.pt", "raylet.out"):
        assert any(name.endswith(f"/{known}") for name in written), known
    for secret in (*SECRETS.values(), watched.token):
        assert [name for name, content in written.items() if secret.encode() in content] == []

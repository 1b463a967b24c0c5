"""The job experiment: data, the runs of all arms and seeds, and one report that compares them."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from ocr_ray.cluster.early_start import early_ray
from ocr_ray.dataset.manifest import require_datasets
from ocr_ray.dataset.plan import PLAN, check_reserved
from ocr_ray.evaluation.inputs import LinesPart, find_parts, read_word_origins
from ocr_ray.evaluation.predictions import part_path, read_predictions
from ocr_ray.experiment.arms import Run, list_arms
from ocr_ray.experiment.config import ExperimentConfig, plan_run
from ocr_ray.experiment.data import check_inputs, choose_model, make_data
from ocr_ray.experiment.findings import find_in_words
from ocr_ray.experiment.measures import SETS, RunMeasures, describe_arm, measure_run
from ocr_ray.experiment.page import choose_arms, choose_lines, experiment_html
from ocr_ray.experiment.runs import (
    SPLIT,
    RunPlan,
    check_steps,
    do_runs,
    is_evaluated,
    plan_evaluation,
)
from ocr_ray.storage.location import Location, locate, write_bytes, write_json

log = logging.getLogger(__name__)
REPORT, REPORT_PAGE = "report.json", "report.html"
OPEN_FIELDS = ("out_uri", "config", "added", "ratios", "parallel", "dashboard", "use_gpu", "num_workers")
"""Fields that can change from call to call: the runs themselves check what matters to them."""


def run_experiment(config: ExperimentConfig) -> dict[str, Any]:
    """Make the data, train and evaluate what is missing, and write the report; return a summary.

    Raises:
        InputError: an input or the output location is wrong.
        ProductionError: a run has failed or was stopped; finished runs are kept.
    """
    out = locate(config.out_uri)
    check_inputs(config)
    plan = _describe(config)
    check_reserved(out, plan, growing="num_seeds")
    write_json(out / PLAN, {"config": plan})
    runs = config.runs
    is_done = all(is_evaluated(run, out) for run in runs)
    with early_ray(num_cpus=None, dashboard=config.dashboard, unless=is_done):
        log.info("data for %d arms", len(list_arms(config.added, config.ratios)))
        counts = make_data(config, out)
        weights = {run.arm: run.arm.weigh(counts) for run in runs}
        model = choose_model(config, out)
        plans = [
            RunPlan(
                run=run,
                training=plan_run(config, run, out.uri, weights[run.arm], model),
                evaluation=plan_evaluation(config, run, out),
            )
            for run in runs
        ]
        do_runs(plans, 1 if is_done else _count_parallel(config))
    for run in runs:
        check_steps(run, out, config.num_steps, config.num_lines_trained)
    report = _make_report(config, out)
    write_bytes(out / REPORT_PAGE, _make_page(config, out, report).encode())
    write_json(out / REPORT, report)
    for sentence in report["findings"]:
        log.info("%s", sentence)
    log.info("the page to open: %s", out / REPORT_PAGE)
    return {
        "out_uri": out.uri,
        "report": (out / REPORT).uri,
        "page": (out / REPORT_PAGE).uri,
        "arms": len(report["arms"]),
        "runs": len(runs),
        "steps_per_run": config.num_steps,
        "findings": report["findings"],
    }


def _describe(config: ExperimentConfig) -> dict[str, Any]:
    """Return what determines the data and every run."""
    values = {name: value for name, value in asdict(config).items() if name not in OPEN_FIELDS}
    return {
        "job": "experiment",
        **values,
        "train": config.train.describe(),
        "steps_per_run": config.num_steps,
    }


def _count_parallel(config: ExperimentConfig) -> int:
    """Return how many runs to do at the same time."""
    if config.parallel is not None or not config.use_gpu:
        return config.parallel or 1
    from ocr_ray.cluster.capacity import count_workers
    from ocr_ray.cluster.session import ray_session

    with ray_session():
        return max(1, count_workers(None, use_gpu=True) // config.workers)


def _make_report(config: ExperimentConfig, out: Location) -> dict[str, Any]:
    """Return the report on all runs."""
    measures = dict(_measure_runs(config.runs, out))
    first = next(iter(measures.values()))
    arms = list_arms(config.added, config.ratios)
    by_arm = {arm: [measures[run] for run in config.runs if run.arm == arm] for arm in arms}
    baseline = by_arm[arms[0]]
    report: dict[str, Any] = {
        "model": config.model,
        "num_seeds": config.num_seeds,
        "steps_per_run": config.num_steps,
        "lines_per_run": config.num_lines_trained,
        "sets": {
            line_set.name: {"label": line_set.label, "lines": first.num_lines[line_set.name]}
            for line_set in SETS
        },
        "arms": [
            {
                "name": arm.name,
                "label": arm.label,
                "added": arm.added,
                "ratio": arm.ratio,
                "runs": [run.name for run in config.runs if run.arm == arm],
                **describe_arm(by_arm[arm], baseline),
            }
            for arm in arms
        ],
    }
    return {**report, "findings": find_in_words(report)}


def _make_page(config: ExperimentConfig, out: Location, report: dict[str, Any]) -> str:
    """Return the page of the report, with lines as the first seed of two arms has read them."""
    chosen, parts = choose_arms(report), list_parts(out)
    runs = {run.arm.name: run for run in reversed(config.runs)}
    predictions = {name: read_run(runs[name], out, len(parts)) for name in chosen}
    labels = {arm["name"]: arm["label"] for arm in report["arms"]}
    return experiment_html(report, choose_lines(predictions, parts, labels))


def _measure_runs(runs: Sequence[Run], out: Location) -> Iterator[tuple[Run, RunMeasures]]:
    parts = list_parts(out)
    origins = read_word_origins(parts)
    for run in runs:
        yield run, measure_run(read_run(run, out, len(parts)), origins)


def list_parts(out: Location) -> list[LinesPart]:
    """Return the parts of all lines that are evaluated, in the order of the predictions."""
    folders = require_datasets(
        [(out / "data" / name).uri for name in dict.fromkeys(line_set.dataset for line_set in SETS)]
    )
    return [part for name, folder in folders.items() for part in find_parts(name, folder, SPLIT)]


def read_run(run: Run, out: Location, num_parts: int) -> pa.Table:
    """Return all predictions of a run."""
    paths = [part_path(index) for index in range(num_parts)]
    return pa.concat_tables(read_predictions(out / "evaluation" / run.name, paths))

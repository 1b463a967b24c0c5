"""Evaluates a model on a split: predictions, `report.json` and `report.html`."""

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from ocr_ray.cli.flags import describe_flags
from ocr_ray.cluster.early_start import early_ray
from ocr_ray.cluster.on_gpu import call_on_gpu
from ocr_ray.dataset.manifest import read_digests, require_datasets
from ocr_ray.dataset.plan import PLAN, Plan, check_reserved, read_plan_config
from ocr_ray.errors import InputError
from ocr_ray.evaluation.analysis.baseline import compare_reports
from ocr_ray.evaluation.config import EvaluationConfig
from ocr_ray.evaluation.html.choose_examples import ChosenLines
from ocr_ray.evaluation.html.page import MAX_CONFUSIONS as NUM_SHOWN_CONFUSIONS
from ocr_ray.evaluation.html.page import report_html
from ocr_ray.evaluation.inputs import (
    EvaluationInputs,
    find_parts,
    find_training_datasets,
    read_slice_inputs,
    read_word_origins,
)
from ocr_ray.evaluation.predictions import PREDICTIONS, find_finished, part_path, read_predictions
from ocr_ray.evaluation.report import REPORT, REPORT_PAGE, Evaluation, ReportConfig, require_report
from ocr_ray.model.facts import read_facts
from ocr_ray.model.line_reading import READING_FLAGS
from ocr_ray.model.options import Decoding
from ocr_ray.model.reading_precision import settle_precision
from ocr_ray.storage.location import (
    Location,
    delete_file,
    exists,
    list_files,
    locate,
    locate_model,
    preflight,
    read_json,
    write_bytes,
    write_json,
)

log = logging.getLogger(__name__)

WORKER_MODULES = ("ocr_ray.evaluation.predict",)
"""What workers import while the driver checks the inputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The finished evaluation of another model."""

    report: dict[str, Any]
    location: Location
    paths: tuple[str, ...]
    """Of the parts of its predictions."""

    def predictions(self) -> Iterator[pa.Table]:
        return read_predictions(self.location, self.paths)


def evaluate_lines(config: EvaluationConfig) -> dict[str, Any]:
    """Read the lines, write their predictions and the report; return a summary.

    Raises:
        InputError: the model, a dataset, the baseline or the output location is wrong; raised before any line
            is read.
    """
    out = locate(config.out_uri)
    is_made = exists(out / REPORT)  # then the model was checked
    with early_ray(num_cpus=None, dashboard=config.dashboard, modules=WORKER_MODULES, unless=is_made):
        baseline = open_baseline(config.baseline) if config.baseline else None
        inputs = resolve_inputs(config, is_checked=is_made)
        slice_inputs, word_origins = read_slice_inputs(inputs, config.split), read_word_origins(inputs.parts)
        evaluation = Evaluation(describe_config(config, inputs), slice_inputs, word_origins)
        num_kept = _predict(config, inputs)
    report = write_report(evaluation, inputs, baseline)
    log.info("%s: CER %s, page %s", inputs.out / REPORT, report["overall"]["cer"], inputs.out / REPORT_PAGE)
    flagged = {name: report["flagged"][name] for name in READING_FLAGS}
    if any(flagged.values()):
        log.warning("predictions that may be incomplete, see flagged in %s: %s", inputs.out / REPORT, flagged)
    overall = {key: value for key, value in report["overall"].items() if key not in ("lines", "counts")}
    return {
        "report": (inputs.out / REPORT).uri,
        "page": (inputs.out / REPORT_PAGE).uri,
        **report["config"],
        "parts_kept": num_kept,
        "lines": report["overall"]["lines"],
        "overall": overall,
        "context_dependence": report["context_dependence"]["context_dependence"],
        "solving_rate": report["arithmetic"]["solving_rate"],
        "overread_rate": report["overread"]["overread_rate"],
        "flagged": flagged,
    }


def _predict(config: EvaluationConfig, inputs: EvaluationInputs) -> int:
    """Write the missing predictions, with Ray; return the number of parts that were already there."""
    done = find_finished(inputs.out, len(inputs.parts), inputs.plan.config_sha256)
    if len(done) == len(inputs.parts):
        reserve_output(inputs)
        return len(done)
    from ocr_ray.cluster.session import ray_session
    from ocr_ray.evaluation.predict import predict_lines

    with ray_session(reads=inputs.reads, writes=[inputs.out]):
        reserve_output(inputs)
        return predict_lines(inputs, inputs.decoding, num_workers=config.num_workers, use_gpu=config.use_gpu)


def resolve_inputs(config: EvaluationConfig, *, is_checked: bool = False) -> EvaluationInputs:
    """Return what the flags name; a model that `is_checked` is not loaded.

    It needs Ray only for the precision of a GPU, if this process has none.

    Raises:
        InputError: the model cannot be loaded, a dataset lacks the split, the output folder holds another
            evaluation, or there is no GPU.
    """
    datasets = require_datasets(config.lines_uri)
    parts = [part for name, folder in datasets.items() for part in find_parts(name, folder, config.split)]
    out, model = locate(config.out_uri), locate_model(config.model_uri)
    decoding = _choose_decoding(config, out)
    if is_checked:
        facts = read_facts(model)
    else:
        from ocr_ray.model.read import inspect_model

        facts = inspect_model(model, decoding.num_beams, datasets.values())
    plan = Plan(
        config={
            "job": "evaluate_trocr",
            "model_sha256": facts.sha256,
            "lines": read_digests(datasets),
            "num_parts": len(parts),
            "split": config.split,
            "label_column": facts.label_column,
            "num_beams": decoding.num_beams,
            "precision": decoding.precision,
            "max_aspect": decoding.max_aspect,
        },
        parts=(),
        flags=describe_flags(config),
    )
    check_reserved(out, plan.config, growing="")
    trained_on = require_datasets(config.trained_on, "--trained-on") if config.trained_on else None
    return EvaluationInputs(
        model=model,
        label_column=facts.label_column,
        datasets=datasets,
        parts=tuple(parts),
        out=out,
        training_datasets=find_training_datasets(facts.metrics) if trained_on is None else trained_on,
        trained_on=trained_on is not None,
        base_model=str(facts.metrics.get("base_model") or ""),
        decoding=decoding,
        plan=plan,
    )


def _choose_decoding(config: EvaluationConfig, out: Location) -> Decoding:
    return Decoding(
        batch_size=config.batch_size,
        num_beams=config.num_beams,
        precision=settle_precision(
            config.precision, read_plan_config(out), use_gpu=config.use_gpu, call_on_gpu=call_on_gpu
        ),
        max_aspect=config.max_aspect,
    )


def open_baseline(uri: str) -> Baseline:
    """Return the evaluation whose report.json `uri` names.

    Raises:
        InputError: there is no such report, or its folder holds no predictions.
    """
    location = locate(uri, "--baseline")
    if location.name != REPORT:
        raise InputError(f"--baseline must be the {REPORT} of an evaluation, got {uri}")
    folder = Location(location.filesystem, location.path.rpartition("/")[0])
    with preflight(folder, "--baseline"):
        if not exists(location):
            raise InputError(f"--baseline must be a finished evaluation, there is no {location}")
        names = [name for name in list_files(folder / PREDICTIONS) if name.endswith(".parquet")]
    if not names:
        raise InputError(f"--baseline needs its predictions, there are none in {folder / PREDICTIONS}")
    baseline = Baseline(
        report=read_json(location), location=folder, paths=tuple(f"{PREDICTIONS}/{name}" for name in names)
    )
    require_report(baseline.report, location)
    for _ in baseline.predictions():  # each table is checked
        pass
    return baseline


def reserve_output(inputs: EvaluationInputs) -> None:
    """Write plan.json; delete an earlier report, because its existence means a finished evaluation.

    The date is that of the first run, so that a repeated run leaves the same report.
    """
    plan, out = inputs.plan, inputs.out
    before = read_json(out / PLAN) if exists(out / PLAN) else {}
    record = {
        "config": plan.config,
        "config_sha256": plan.config_sha256,
        "created_at": before.get("created_at") or datetime.now(UTC).isoformat(timespec="seconds"),
        "flags": plan.flags,
    }
    write_json(out / PLAN, record)
    delete_file(out / REPORT)


def write_report(
    evaluation: Evaluation, inputs: EvaluationInputs, baseline: Baseline | None
) -> dict[str, Any]:
    """Count all predictions, write report.html, then report.json; return the report."""
    out = inputs.out
    chosen = ChosenLines()
    paths = [part_path(index) for index in range(len(inputs.parts))]
    for index, table in enumerate(read_predictions(out, paths)):
        chosen.add(index, evaluation.add(table))
    report = {"created_at": read_json(out / PLAN)["created_at"], **evaluation.describe()}
    report["hashes"] = {name: inputs.plan.config[name] for name in ("model_sha256", "lines")} | {
        "config_sha256": inputs.plan.config_sha256
    }
    if baseline:
        report["baseline"] = compare_reports(
            report,
            baseline.report,
            predictions=read_predictions(out, paths),
            baseline_predictions=baseline.predictions(),
            inputs=evaluation.inputs,
        )
    examples = chosen.read_examples(
        [(entry["truth"], entry["read"]) for entry in report["confusions"][:NUM_SHOWN_CONFUSIONS]],
        inputs.parts,
        lambda index: next(read_predictions(out, [paths[index]])),
        baseline.predictions() if baseline else (),
    )
    write_bytes(out / REPORT_PAGE, report_html(report, examples).encode())
    write_json(out / REPORT, report)
    return report


def describe_config(config: EvaluationConfig, inputs: EvaluationInputs) -> ReportConfig:
    """Return what the report records of its configuration."""
    decoding = asdict(inputs.decoding)
    del decoding["batch_size"], decoding["threads"]
    return ReportConfig(
        model_uri=inputs.model if isinstance(inputs.model, str) else inputs.model.uri,
        lines_uris={name: folder.uri for name, folder in inputs.datasets.items()},
        split=config.split,
        label_column=inputs.label_column,
        decoding=decoding,
    )

"""The jobs by name, and the console command `ocr-ray`.

Configurations and work are named as strings and imported only when needed, so that help and wrong flags are
answered without the seconds that Ray and PyTorch take to import.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Any, NoReturn

from ocr_ray.cli.run_job import run_job
from ocr_ray.errors import missing_extra


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job: its flags and its work, both as `module:name`."""

    config: str
    """A dataclass; its module imports nothing heavy."""
    work: str
    """A function of the configuration; returns the summary."""
    summary: str
    extra: str | None = None
    """The extra of the package that the work needs."""


JOBS = {
    "quickstart": Job(
        config="ocr_ray.quickstart.config:QuickstartConfig",
        work="ocr_ray.quickstart.job:run_quickstart",
        summary="Make lines and crops, train a small model and evaluate it: end to end in minutes.",
    ),
    "plan_dataset": Job(
        config="ocr_ray.render.plan_config:PlanConfig",
        work="ocr_ray.render.plan_job:plan_dataset",
        summary="Estimate how many lines to render, and the time, storage and cost that they take.",
    ),
    "render_lines": Job(
        config="ocr_ray.render.config:RenderConfig",
        work="ocr_ray.render.job:render_lines",
        summary="Render lines of random words and arithmetic into a Parquet dataset.",
    ),
    "audit_lines": Job(
        config="ocr_ray.audit.config:AuditConfig",
        work="ocr_ray.audit.job:audit_lines",
        summary="Check a dataset against its plan and manifest, and render some of its lines again.",
    ),
    "crop_pages": Job(
        config="ocr_ray.pages.config:CropConfig",
        work="ocr_ray.pages.crop_job:crop_pages",
        summary="Crop the text lines of labelled pages into a Parquet dataset.",
    ),
    "train_trocr": Job(
        config="ocr_ray.training.config:TrainJobConfig",
        work="ocr_ray.training.job:train_trocr",
        summary="Fine-tune a TrOCR model on datasets of lines, data-parallel over CPUs or GPUs.",
    ),
    "evaluate_trocr": Job(
        config="ocr_ray.evaluation.config:EvaluationConfig",
        work="ocr_ray.evaluation.job:evaluate_lines",
        summary="Read a split with a model and report its errors.",
    ),
    "label_pages": Job(
        config="ocr_ray.pages.config:LabelConfig",
        work="ocr_ray.pages.label_job:label_pages",
        summary="Read the text boxes of pages with a model into labels, lines and a review page.",
    ),
    "check_cluster": Job(
        config="ocr_ray.aws.config:CheckConfig",
        work="ocr_ray.aws.job:check_cluster",
        extra="cluster",
        summary="Check a cluster file before `ray up`.",
    ),
    "watch_spot": Job(
        config="ocr_ray.aws.config:SpotConfig",
        work="ocr_ray.aws.spot:watch_spot",
        summary="Wait for the interruption notice of this EC2 spot instance, then drain its Ray node.",
    ),
}


def run_named_job(name: str, *, prog: str | None = None, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the job `name` of `JOBS` as `run_job` does; `arguments` are those of the process by default."""
    job = JOBS[name]
    run_job(
        load(job.config),
        lambda: _load_work(job),
        prog=prog or f"python -m jobs.{name}",
        description=job.summary,
        arguments=arguments,
    )


def _load_work(job: Job) -> Any:
    try:
        return load(job.work)
    except ModuleNotFoundError as error:
        if job.extra is None:
            raise
        raise missing_extra(error.name or "", job.extra) from error


def load(path: str) -> Any:
    """Return what `module:name` names."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the console command `ocr-ray`: a job by its name with dashes, `--help` or `--version`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = words[0] if words else "--help"
    if command in ("-h", "--help"):
        _write(sys.stdout, _help())
    elif command == "--version":
        _write(sys.stdout, f"ocr-ray {version('ocr_ray')}")
    elif (name := command.replace("-", "_")) in JOBS:
        run_named_job(name, prog=f"ocr-ray {command}", arguments=words[1:])
    else:
        names = ", ".join(name.replace("_", "-") for name in JOBS)
        _write(sys.stderr, f"ocr-ray: the command must be one of {names}; got {command!r}")
        sys.exit(2)
    sys.exit(0)


def _help() -> str:
    jobs = [f"  {name.replace('_', '-'):<16}{job.summary}" for name, job in JOBS.items()]
    return "\n".join(
        [
            "usage: ocr-ray COMMAND [FLAGS]",
            "",
            "Data, training and evaluation for reading printed Korean maths, with Ray.",
            "",
            *jobs,
            "",
            "`ocr-ray COMMAND --help` explains the flags of a command; `ocr-ray --version` shows the version",
        ]
    )


def _write(stream: Any, text: str) -> None:
    stream.write(text + "\n")

"""The list of all jobs, and the console command `ocr-ray`.

Each job names its configuration and its work as strings, which are imported only when they are needed:
`--help` and wrong flags do not wait for Ray and PyTorch. This module itself imports nothing that takes long.
"""

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from typing import Any, NoReturn, TextIO

from ocr_ray.errors import require_package
from ocr_ray.storage.uri import mask_secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job; its configuration and its work are written `module:name`, within the package."""

    config: str
    """The dataclass of its flags; the module imports neither Ray nor PyTorch."""
    work: str
    """The function that takes the configuration and returns the summary, or None if it prints its result."""
    extra: str = ""
    """The extra of ocr_ray that the work needs."""


JOBS = {
    "quickstart": Job(config="quickstart.config:QuickstartConfig", work="quickstart.job:run_quickstart"),
    "plan_dataset": Job(config="render.plan_config:PlanConfig", work="render.plan_job:plan_dataset"),
    "render_lines": Job(config="render.config:RenderConfig", work="render.job:render_lines"),
    "audit_lines": Job(config="audit.config:AuditConfig", work="audit.job:audit_lines"),
    "crop_pages": Job(config="pages.config:CropConfig", work="pages.crop_job:crop_pages"),
    "train_trocr": Job(
        config="training.config:TrainJobConfig", work="training.finished:train_unless_finished"
    ),
    "evaluate_trocr": Job(config="evaluation.config:EvaluationConfig", work="evaluation.job:evaluate_lines"),
    "label_pages": Job(config="pages.config:LabelConfig", work="pages.label_job:label_pages"),
    "read": Job(config="reading.config:ReadConfig", work="reading.job:read_and_print"),
    "demo": Job(config="reading.config:DemoConfig", work="reading.demo:show_demo", extra="demo"),
    "experiment": Job(config="experiment.config:ExperimentConfig", work="experiment.job:run_experiment"),
    "check_cluster": Job(config="aws.config:CheckConfig", work="aws.job:check_cluster", extra="cluster"),
    "watch_spot": Job(config="aws.config:SpotConfig", work="aws.spot:watch_spot"),
}
SUMMARIES = {
    "quickstart": "Run every step on a small scale: train with and without context-free lines, compare.",
    "plan_dataset": "Estimate how many lines to render, and the time, storage and cost.",
    "render_lines": "Render lines of random words and arithmetic into a Parquet dataset.",
    "audit_lines": "Check a dataset against its plan and manifest; can render lines again to compare them.",
    "crop_pages": "Crop the text lines of labelled pages into a Parquet dataset.",
    "train_trocr": "Fine-tune a TrOCR model on datasets of lines, data-parallel over CPUs or GPUs.",
    "evaluate_trocr": "Read a split with a model and report its errors.",
    "label_pages": "Read the text boxes of pages with a model; write labels, lines and a review page.",
    "read": "Read the text of images and PDFs with a model: lines or whole pages.",
    "demo": "Show a web page on this machine that reads the images dropped into it.",
    "experiment": "Train models that differ only in the lines they are trained on, and compare them.",
    "check_cluster": "Check a cluster file before `ray up`.",
    "watch_spot": "Wait for the interruption notice of this EC2 spot instance, then drain its Ray node.",
}
"""One line about each job, for `--help`."""
EXTRAS = {"cluster": ("boto3", "jsonschema"), "demo": ("gradio",)}
"""The packages of each extra that a job needs."""


def run_named_job(name: str, *, prog: str | None = None, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a job of `JOBS` and exit, as `run_job` does; `arguments` defaults to those of the process."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(
            signal.SIGINT, signal.SIG_DFL
        )  # until `run_job` catches Ctrl-C: no traceback of imports
    from ocr_ray.cli.run_job import run_job

    job = JOBS[name]

    def load_work() -> Any:
        for package in EXTRAS.get(job.extra, ()):
            require_package(package, needed_by=name, install=f"ocr_ray[{job.extra}]")
        return load(job.work)

    run_job(
        load(job.config),
        load_work,
        prog=prog or f"python -m jobs.{name}",
        description=SUMMARIES[name],
        arguments=arguments,
        job=name,
    )


def load(path: str) -> Any:
    """Import `module:name` of the package and return it."""
    module, _, name = path.partition(":")
    return getattr(import_module(f"ocr_ray.{module}"), name)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the console command `ocr-ray`, whose first argument is a job's name with dashes."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = words[0] if words else "--help"
    if command in ("-h", "--help", "help"):
        _write(sys.stdout, _help())
    elif command == "--version":
        _write(sys.stdout, f"ocr-ray {version('ocr_ray')}")
    elif (name := command.replace("-", "_")) in JOBS:
        run_named_job(name, prog=f"ocr-ray {command}", arguments=words[1:])
    else:
        names = [name.replace("_", "-") for name in JOBS]
        similar = get_close_matches(command, names, n=1)
        hint = f"; did you mean {similar[0]}?" if similar else ""
        shown = mask_secrets(repr(command))
        _write(sys.stderr, f"ocr-ray: the command must be one of {', '.join(names)}, got {shown}{hint}")
        sys.exit(2)
    sys.exit(0)


def _help() -> str:
    jobs = [f"  {name.replace('_', '-'):<16}{summary}" for name, summary in SUMMARIES.items()]
    return "\n".join(
        [
            "usage: ocr-ray COMMAND [FLAGS]",
            "",
            "Data, training and evaluation for TrOCR models that read printed Korean maths, with Ray.",
            "",
            *jobs,
            "",
            "`ocr-ray COMMAND --help` lists the flags of a command, `ocr-ray --version` shows the version.",
        ]
    )


def _write(stream: TextIO, text: str) -> None:
    stream.write(text + "\n")

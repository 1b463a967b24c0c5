"""Training and evaluation of the runs: one after the other in this process, or side by side as commands."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ocr_ray.cli.flags import describe_flags, list_arguments
from ocr_ray.cluster.ray_state import joins_cluster
from ocr_ray.errors import ProductionError
from ocr_ray.evaluation.config import EvaluationConfig
from ocr_ray.evaluation.job import evaluate_lines
from ocr_ray.evaluation.report import REPORT
from ocr_ray.experiment.arms import Run
from ocr_ray.experiment.config import ExperimentConfig
from ocr_ray.experiment.measures import SETS
from ocr_ray.model.metrics_file import METRICS
from ocr_ray.storage.location import Location, exists, read_json
from ocr_ray.training.config import TrainJobConfig
from ocr_ray.training.finished import train_unless_finished

log = logging.getLogger(__name__)
SPLIT = "validation"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What one run trains and what its model reads."""

    run: Run
    training: TrainJobConfig
    evaluation: EvaluationConfig


def plan_evaluation(config: ExperimentConfig, run: Run, out: Location) -> EvaluationConfig:
    """Return the evaluation of a run: of the model after the last step, on the lines of all sets."""
    datasets = dict.fromkeys(line_set.dataset for line_set in SETS)
    return EvaluationConfig(
        model_uri=(model_folder(run, out)).uri,
        lines_uri=tuple((out / "data" / name).uri for name in datasets),
        out_uri=(out / "evaluation" / run.name).uri,
        split=SPLIT,
        use_gpu=config.use_gpu,
        dashboard=config.dashboard,
    )


def model_folder(run: Run, out: Location) -> Location:
    """Return the folder of a run's model after its last step."""
    return out / "models" / run.name / "trained_ocr"


def is_evaluated(run: Run, out: Location) -> bool:
    """Return whether a run has been evaluated."""
    return exists(out / "evaluation" / run.name / REPORT)


def do_runs(plans: Sequence[RunPlan], parallel: int) -> None:
    """Train and evaluate the runs, `parallel` at a time; what is finished is left as it is.

    Raises:
        InputError, ProductionError: those of training and evaluation; a run is resumed by another call.
    """
    if parallel > 1 and len(plans) > 1:
        _do_side_by_side(plans, parallel)
        return
    for number, plan in enumerate(plans, start=1):
        log.info("run %d of %d: %s", number, len(plans), plan.run.arm.label)
        train_unless_finished(plan.training)
        evaluate_lines(plan.evaluation)


def _do_side_by_side(plans: Sequence[RunPlan], parallel: int) -> None:
    """Run the commands of each run as processes that join this job's Ray."""
    from ocr_ray.cluster.session import ray_session

    with ray_session():
        environment = dict(os.environ)
        if not joins_cluster():
            import ray

            environment["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
        with _processes(environment) as processes, ThreadPoolExecutor(parallel) as pool:
            ended = list(pool.map(processes.do, plans))
    if failed := [plan.run.name for plan, is_done in zip(plans, ended, strict=True) if not is_done]:
        raise ProductionError(
            f"the runs {', '.join(failed)} have failed, see above; run the same command to resume"
        )


class _Processes:
    """Processes of the runs, which end with this one."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._running: set[subprocess.Popen[bytes]] = set()
        self._is_stopped = False

    def do(self, plan: RunPlan) -> bool:
        """Train and evaluate a run; return whether both have succeeded."""
        log.info("run %s: %s", plan.run.name, plan.run.arm.label)
        return all(
            self._call(job, config)
            for job, config in (("train-trocr", plan.training), ("evaluate-trocr", plan.evaluation))
        )

    def _call(self, job: str, config: Any) -> bool:
        program = "from ocr_ray.cli.commands import main; main()"
        words = [sys.executable, "-c", program, job, *list_arguments(describe_flags(config))]
        if self._is_stopped:
            return False
        with subprocess.Popen(words, env=self._environment, stdout=subprocess.DEVNULL) as process:
            self._running.add(process)
            code = process.wait()
            self._running.remove(process)
        return code == 0

    def stop(self) -> None:
        """Let the processes save their work and end, and start no others."""
        self._is_stopped = True
        for process in list(self._running):
            process.terminate()


@contextmanager
def _processes(environment: dict[str, str]) -> Iterator[_Processes]:
    processes = _Processes(environment)
    try:
        yield processes
    finally:
        processes.stop()


def check_steps(run: Run, out: Location, num_steps: int, num_lines: int) -> None:
    """Check that a run has taken as many steps over as many lines as every other.

    Raises:
        ProductionError: it has not.
    """
    metrics = read_json(model_folder(run, out) / METRICS)["metrics"]
    if (metrics["step"], metrics["lines"]) != (num_steps, num_lines):
        raise ProductionError(
            f"every run must take {num_steps} steps over {num_lines} lines, {run.name} has taken "
            f"{metrics['step']} over {metrics['lines']}; choose another --out-uri"
        )

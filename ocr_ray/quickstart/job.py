"""The job quickstart: an experiment of two arms, end to end on a small scale."""

from typing import Any

from ocr_ray.experiment.job import run_experiment
from ocr_ray.quickstart.config import QuickstartConfig, plan_experiment


def run_quickstart(config: QuickstartConfig) -> dict[str, Any]:
    """Make the data, train both models, and compare them; return what was found."""
    return run_experiment(plan_experiment(config))

"""The job quickstart: an experiment of two arms, end to end on a small scale."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ocr_ray.experiment.job import run_experiment
from ocr_ray.quickstart.config import QuickstartConfig, plan_experiment


@contextmanager
def without_warnings_of_real_runs() -> Iterator[None]:
    """Leave out the warnings about mixture and incomplete predictions, expected of so small a run."""
    loggers = [logging.getLogger(name) for name in ("ocr_ray.training.job", "ocr_ray.evaluation.job")]
    for logger in loggers:
        logger.addFilter(_is_no_warning)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(_is_no_warning)


def _is_no_warning(record: logging.LogRecord) -> bool:
    return record.levelno != logging.WARNING


def run_quickstart(config: QuickstartConfig) -> dict[str, Any]:
    """Make the data, train both models, and compare them; return what was found."""
    with without_warnings_of_real_runs():
        return run_experiment(plan_experiment(config))

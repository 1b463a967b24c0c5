"""Monitoring never ends a job: gauges, cards, plots and progress that fail are left out, with one warning."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

_warned: set[str] = set()
"""What has failed in this process."""


@contextmanager
def monitoring(what: str) -> Iterator[None]:
    """Log an error of the body instead of raising it, once in a process for the same `what`.

    Outputs that must be complete, such as the files of a dataset or of a model, are written outside: a disk
    that is full or an S3 that refuses them stops the job.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - Ray, matplotlib, tensorboardX and huggingface_hub raise anything
        if what not in _warned:
            _warned.add(what)
            log.warning("%s failed, the job goes on without: %s: %s", what, type(error).__name__, error)

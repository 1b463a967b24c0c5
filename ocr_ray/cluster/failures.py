"""Failures of training: a lost node is told from a failed worker."""

import logging

from ray.exceptions import RayError
from ray.train import WorkerGroupError

from ocr_ray.cluster.capacity import find_lost_node, list_dead_nodes
from ocr_ray.errors import CheckpointError, InputError, ProductionError, StorageError
from ocr_ray.storage.error_messages import describe_storage_error
from ocr_ray.storage.location import Location

log = logging.getLogger(__name__)


class Failures:
    """Counts the failures of a run, except those that are due to a lost node."""

    def __init__(self, max_failures: int, run: Location) -> None:
        self._max_failures, self._run = max_failures, run
        self._count = 0
        self._dead = list_dead_nodes()

    def add(self, failure: WorkerGroupError) -> None:
        """Count a failure; return if training should be started again.

        Raises:
            InputError, CheckpointError, ProductionError: the same error would come again.
            ProductionError: there were more failures than allowed.
        """
        # Ray Train wraps the death of a worker in an error of its own.
        errors = [getattr(e, "health_check_failure", e) for e in failure.worker_failures.values()]
        for error in errors:
            is_final = isinstance(error, InputError | CheckpointError | ProductionError)
            if is_final and not isinstance(error, StorageError):
                raise error
        if lost := find_lost_node(self._dead):
            self._dead = list_dead_nodes()
            log.warning("%s: the node %s is lost, training goes on without it", self._run, lost)
            return
        self._count += 1
        # The death of a worker makes the others fail in other ways.
        error = next((error for error in errors if isinstance(error, RayError)), errors[0])
        if not isinstance(error, RayError | StorageError):
            log.warning("%s", failure)  # with the traceback of the worker
        if self._count <= self._max_failures:
            log.warning(
                "%s: failure %d of at most %d, training is started again: %s",
                self._run,
                self._count,
                self._max_failures,
                summarize(error),
            )
            return
        if isinstance(error, StorageError) or describe_storage_error(error):
            raise error
        raise ProductionError(
            f"workers of {self._run} failed {self._count} times, --max-failures is {self._max_failures}; "
            f"the last error: {summarize(error)}; run the same command to resume from the last checkpoint"
        ) from error


def summarize(error: BaseException) -> str:
    """Return the type of an error and its first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__

"""Failures of workers, counted in one Ray session of a single node."""

import errno

import pytest
from ray.exceptions import ActorDiedError
from ray.train import WorkerGroupError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

from ocr_ray.cluster.failures import Failures
from ocr_ray.errors import InputError, ProductionError, StorageError
from ocr_ray.storage.location import locate

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]


def test_too_many_failures_end_with_the_cause_and_how_to_resume(caplog) -> None:
    """The second worker lost its connection because the first died, which Ray Train reports so."""
    failures = Failures(1, locate("/runs/x"))
    died = WorkerHealthCheckFailedError("A worker health check failed.", ActorDiedError())
    lost = WorkerGroupError("", {1: RuntimeError("Connection closed"), 0: died})
    failures.add(lost)
    assert "/runs/x: failure 1 of at most 1, training is started again: ActorDiedError: " in caplog.text
    reason = r"^workers of /runs/x failed 2 times, --max-failures is 1; the last error: ActorDiedError: .*"
    with pytest.raises(ProductionError, match=reason + "run the same command to resume from the last"):
        failures.add(lost)


@pytest.mark.parametrize(
    "error",
    [InputError("no lines"), ProductionError("the loss must be finite"), OSError(errno.ENOSPC, "No space")],
)
def test_an_error_that_says_what_to_do_is_raised_unchanged(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error.args[-1])):
        Failures(0, locate("/runs/x")).add(WorkerGroupError("", {0: error}))


def test_an_s3_that_refuses_is_tried_again() -> None:
    Failures(1, locate("/runs/x")).add(WorkerGroupError("", {0: StorageError("s3 is gone")}))

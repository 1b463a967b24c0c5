"""The one use of Ray's private API: Ray Train's helper actors get the address of the Ray that they run in.

Ray Train starts actors next to its workers that ask Ray's state API whether the run is still alive. A local
Ray has no RAY_ADDRESS, so the state API takes the address in /tmp/ray/ray_current_cluster, which the last
`ray start` on the machine left there. If that Ray is gone, they wait for it: half a minute at the end of
every training.

No public option reaches these actors. `RunConfig(worker_runtime_env=…)` is only for the workers, and
`ray.init(runtime_env=…)` needs the address before that Ray has one. But Ray Train copies the environment
variables of a list of its own from the driver to these actors.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.train.v2._internal.constants import ENV_VARS_TO_PROPAGATE

from ocr_ray.cluster.capacity import joins_cluster


@contextmanager
def ray_address_for_train_actors() -> Iterator[None]:
    """Set RAY_ADDRESS for the actors that Ray Train starts; does nothing if the driver has it already."""
    if joins_cluster():
        yield
        return
    is_new = "RAY_ADDRESS" not in ENV_VARS_TO_PROPAGATE
    ENV_VARS_TO_PROPAGATE.add("RAY_ADDRESS")
    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    try:
        yield
    finally:
        del os.environ["RAY_ADDRESS"]
        if is_new:
            ENV_VARS_TO_PROPAGATE.discard("RAY_ADDRESS")

"""The uses of Ray's private API: signals during training, and an address for Ray Train's helper actors.

`fit` replaces the handler of SIGINT by one that ends training without a checkpoint and exits with 0. A
trainer that leaves it alone lets Ctrl-C save a checkpoint, as SIGTERM does.

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
from typing import Any

import ray
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.constants import ENV_VARS_TO_PROPAGATE

from ocr_ray.cluster.ray_state import environment, joins_cluster

ON_CLUSTER = {"RAY_TRAIN_ENABLE_STATE_TRACKING": "1"}
LOCAL = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0", "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5"}
"""Settings of Ray Train."""


class SignalKeepingTrainer(TorchTrainer):
    """A TorchTrainer that keeps the handler of SIGINT."""

    def _register_sigint_handler(self, controller: Any) -> None:
        pass


@contextmanager
def environment_for_ray_train(run_name: str) -> Iterator[None]:
    """Set RAY_ADDRESS for the actors that Ray Train starts, unless the driver has it already.

    On a cluster Ray Train records the run for /api/train/v2/runs/v1 of the dashboard. A Ray that the job has
    started on this machine does without, and without the actor that watches for nodes to be taken away: they
    cost five and four seconds of CPU time. There the end of the workers is also noticed sooner.

    Ray Train's own metrics are turned off for a run name that is not ASCII: the name is one of their tags,
    and Ray ends the training because it cannot encode it.
    """
    defaults = ON_CLUSTER if joins_cluster() else LOCAL
    changes = {name: value for name, value in defaults.items() if name not in os.environ}
    if not joins_cluster():
        changes["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    if not run_name.isascii():
        changes["RAY_TRAIN_METRICS_ENABLED"] = "0"
    ENV_VARS_TO_PROPAGATE.add("RAY_ADDRESS")
    with environment(changes):
        yield

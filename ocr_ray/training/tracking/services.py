"""Reports of a run to Weights & Biases and MLflow, made by the driver from `metrics.jsonl`.

The driver has the credentials, and outlives workers that are restarted. `reported/<service>.json` in the
folder of the run holds the id of the run there and the last record that was sent: a resumed run goes on in
the same place, and sends no record twice.
"""

import logging
import os
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from ocr_ray.cluster.monitoring import monitoring
from ocr_ray.dataset.plan import flatten
from ocr_ray.errors import InputError, require_package
from ocr_ray.storage.location import Location, exists, read_bytes, read_json, write_json
from ocr_ray.storage.strict_json import parse_json
from ocr_ray.training.tracking.curves import Record
from ocr_ray.training.tracking.tensorboard import name_tags
from ocr_ray.training.tracking.tracker import METRICS_FILE

log = logging.getLogger(__name__)

PROJECT = "ocr_ray"
"""The project of Weights & Biases and the experiment of MLflow, if the environment names none."""
INTERVAL_S = 10.0
END_TIMEOUT_S = 60.0
"""The longest time that the end of a job waits for the last reports."""
MAX_PARAMS = 100
"""MLflow takes no more at a time."""


class Service(Protocol):
    """A run at a tracking service, new or continued."""

    id: str

    def send(self, records: Sequence[tuple[int, Record]]) -> None:
        """Send records with their numbers in the history."""

    def close(self, *, succeeded: bool) -> None:
        """Wait until all is sent, and mark the run as ended."""


class WandbRun:
    """A run of Weights & Biases; without a key in the environment or ~/.netrc its files stay with the run."""

    def __init__(self, run: Location, run_id: str | None, settings: Mapping[str, Any]) -> None:
        import wandb

        self.id = run_id or secrets.token_hex(4)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.name,
            id=self.id,
            resume="allow",
            mode=None if "WANDB_MODE" in os.environ else "online" if _has_wandb_key() else "offline",
            dir=run.path if run.is_local else tempfile.gettempdir(),
            settings=wandb.Settings(console="off", silent=True, disable_git=True, save_code=False),
        )
        self._run.config.update(dict(settings), allow_val_change=True)
        self._run.define_metric("*", step_metric="lines")

    def send(self, records: Sequence[tuple[int, Record]]) -> None:
        for number, record in records:
            values = {"lines": record["lines"], "epoch": record["epoch"], **name_tags(record)}
            self._run.log(values, step=number)  # which must grow, over all parts of an interrupted run

    def close(self, *, succeeded: bool) -> None:
        self._run.finish(exit_code=0 if succeeded else 1)


def _has_wandb_key() -> bool:
    import wandb

    return bool(wandb.login(prompt=False, verify=False))


class MlflowRun:
    """A run of MLflow; without MLFLOW_TRACKING_URI it is in `mlflow.db` in the folder of the run."""

    def __init__(self, run: Location, run_id: str | None, settings: Mapping[str, Any]) -> None:
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client = MlflowClient(
            os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{run.path}/mlflow.db"
        )
        if run_id is None:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            experiment = self._client.get_experiment_by_name(name)
            experiment_id = experiment.experiment_id if experiment else self._client.create_experiment(name)
            run_id = self._client.create_run(experiment_id, run_name=run.name).info.run_id
            params = [Param(key, str(value)) for key, value in settings.items()]
            for start in range(0, len(params), MAX_PARAMS):
                self._client.log_batch(run_id, params=params[start : start + MAX_PARAMS])
        else:
            self._client.update_run(run_id, status="RUNNING")
        self.id = run_id
        self._started_ms = self._client.get_run(run_id).info.start_time

    def send(self, records: Sequence[tuple[int, Record]]) -> None:
        from mlflow.entities import Metric

        for _, record in records:
            # Times of training, so that a record that is sent again is the same one for MLflow.
            time_ms, lines = self._started_ms + round(1000 * record["seconds"]), int(record["lines"])
            tags = {"epoch": record["epoch"], **name_tags(record)}
            self._client.log_batch(
                self.id, metrics=[Metric(tag, float(value), time_ms, lines) for tag, value in tags.items()]
            )

    def close(self, *, succeeded: bool) -> None:
        self._client.set_terminated(self.id, status="FINISHED" if succeeded else "FAILED")


SERVICES: dict[str, Callable[[Location, str | None, Mapping[str, Any]], Service]] = {
    "wandb": WandbRun,
    "mlflow": MlflowRun,
}
"""The services that the driver reports to, by their names in --report-to; workers write for TensorBoard."""
PACKAGES = {"wandb": ("wandb",), "mlflow": ("mlflow", "sqlalchemy", "alembic")}


def check_services(names: Sequence[str], run: Location) -> None:
    """Check that the services can be reported to.

    Raises:
        InputError: a package is missing, or a service without a server could only write to S3.
    """
    for name in names:
        for package in PACKAGES.get(name, ()):
            require_package(package, needed_by=f"--report-to {name}", install=f"ocr_ray[{name}]")
    if run.is_local:
        return
    if "mlflow" in names and not os.environ.get("MLFLOW_TRACKING_URI"):
        raise InputError(
            f"--report-to mlflow needs the address of a server in MLFLOW_TRACKING_URI, got none; {run} "
            "cannot hold its database"
        )
    if "wandb" in names and "WANDB_MODE" not in os.environ and not _has_wandb_key():
        raise InputError(
            f"--report-to wandb needs a key in WANDB_API_KEY or ~/.netrc, got none; {run} "
            "cannot hold its files"
        )


@contextmanager
def reporting(names: Sequence[str], run: Location, settings: Mapping[str, Any]) -> Iterator[None]:
    """Report the records of a run while the body runs, in a thread for each service, and the last at its end.

    `settings` are the parameters of the run. A service that fails is left out, with one warning.
    """
    ended, outcome = threading.Event(), {"succeeded": False}
    threads = [
        threading.Thread(
            target=_report,
            args=(name, run, flatten(settings), ended, outcome),
            name=f"to {name}",
            daemon=True,
        )
        for name in names
        if name in SERVICES
    ]
    for thread in threads:
        thread.start()
    try:
        yield
        outcome["succeeded"] = True
    finally:
        ended.set()
        for thread in threads:
            thread.join(END_TIMEOUT_S)


def _report(
    name: str,
    run: Location,
    settings: Mapping[str, Any],
    ended: threading.Event,
    outcome: Mapping[str, bool],
) -> None:
    """Send new records until the end; the service is opened for the first one."""
    service: Service | None = None
    is_last = False
    while not is_last:
        is_last = ended.wait(INTERVAL_S)
        with monitoring(f"reporting to {name}"):
            state = _read_state(run, name)
            history = enumerate(_read_records(run))
            new = [(number, record) for number, record in history if _position(record) > state["position"]]
            if new and service is None:
                service = SERVICES[name](run, state["id"], settings)
                _write_state(run, name, {**state, "id": service.id})
                log.info("reporting to %s, run %s", name, service.id)
            if new and service is not None:
                service.send(new)
                _write_state(run, name, {"id": service.id, "position": _position(new[-1][1])})
    if service is not None:
        with monitoring(f"the end of reporting to {name}"):
            service.close(succeeded=outcome["succeeded"])


def _position(record: Record) -> list[int]:
    """Return the place of a record in the history of its run, which a resumed run repeats."""
    return [int(record["lines"]), int(record["kind"] == "validation")]


def _read_records(run: Location) -> list[Record]:
    if not exists(run / METRICS_FILE):
        return []
    return [parse_json(line) for line in read_bytes(run / METRICS_FILE).decode().splitlines()]


def _read_state(run: Location, name: str) -> dict[str, Any]:
    file = run / "reported" / f"{name}.json"
    return dict(read_json(file)) if exists(file) else {"id": None, "position": [-1, 0]}


def _write_state(run: Location, name: str, state: Mapping[str, Any]) -> None:
    write_json(run / "reported" / f"{name}.json", dict(state))

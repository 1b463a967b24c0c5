"""Reports to the real clients of Weights & Biases and MLflow, without a server, read from what they store."""

import json
import sqlite3
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest

from ocr_ray.errors import InputError, StoppedError
from ocr_ray.storage.location import Location, locate
from ocr_ray.training.config import TrainConfig, TrainJobConfig
from ocr_ray.training.tracking.services import check_services, reporting
from ocr_ray.training.tracking.tracker import write_tracking

Record = dict[str, Any]
SETTINGS = {"train": {"lr": 5e-5}, "model": "tiny"}
KEYS = ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME")


@pytest.fixture(autouse=True)
def _no_servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave the services without a key or address, whatever this machine has."""
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def make_history(num_epochs: int) -> list[Record]:
    history: list[Record] = []
    for epoch in range(1, num_epochs + 1):
        position = {"epoch": epoch, "lines": 1000 * epoch, "step": 10 * epoch, "seconds": 20.0 * epoch}
        history += [
            {"kind": "train", **position, "loss": 3.0 / epoch},
            {"kind": "validation", **position, "validation_cer": 0.5 / epoch, "crops/validation_cer": 0.25},
        ]
    return history


def interrupt_and_resume(run_path: Path, service: str) -> None:
    """Report a run that is interrupted twice: within an epoch, and by a fall back to an older checkpoint."""
    run, history = locate(str(run_path)), make_history(3)

    def interrupt() -> None:
        with reporting([service], run, SETTINGS):
            write_tracking(run, history[:3], [], events=False)
            raise StoppedError("after three records")

    with pytest.raises(StoppedError, match="after three records"):
        interrupt()
    for end in (2, 6, 6):
        with reporting([service], run, SETTINGS):
            write_tracking(run, history[:end], [], events=False)


def read_wandb(file: Path) -> Iterator[Any]:
    """Yield the records of a file of Weights & Biases, which is a log of LevelDB with protocol buffers."""
    from wandb.proto import wandb_internal_pb2

    content, at, message = file.read_bytes(), 7, b""
    assert content[:4] == b":W&B"
    while at < len(content):
        if -at % 32768 < 7:
            at += -at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        message += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield wandb_internal_pb2.Record.FromString(message)
            message = b""


def test_wandb_gets_each_record_once_in_one_run_without_a_key(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    interrupt_and_resume(tmp_path / "first", "wandb")
    files = sorted((tmp_path / "first/wandb").glob("offline-run-*/*.wandb"))
    records = [record for file in files for record in read_wandb(file)]
    runs = {(record.run.run_id, record.run.display_name) for record in records if record.HasField("run")}
    ((run_id, name),) = runs
    assert (len(files), name) == (2, "first")
    state = json.loads((tmp_path / "first/reported/wandb.json").read_text())
    assert state == {"id": run_id, "position": [3000, 1]}
    rows = [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]
    assert [row["_step"] for row in rows] == [*range(6)]
    assert [row["lines"] for row in rows] == [1000, 1000, 2000, 2000, 3000, 3000]
    assert [row["train/loss"] for row in rows[::2]] == [3.0, 1.5, 1.0]
    assert rows[3]["validation_cer"] == rows[3]["validation_cer/crops"] == 0.25
    config = {
        item.key: json.loads(item.value_json)
        for record in records
        for item in [*record.run.config.update, *record.config.update]
    }
    assert (config["train.lr"], config["model"]) == (5e-5, "tiny")


def test_mlflow_gets_each_record_once_in_one_run_of_a_local_database(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    interrupt_and_resume(tmp_path / "first", "mlflow")
    with sqlite3.connect(tmp_path / "first/mlflow.db") as database:
        ((run_id, name, status, started_ms),) = database.execute(
            "select run_uuid, name, status, start_time from runs"
        )
        assert (name, status) == ("first", "FINISHED")
        assert database.execute("select name from experiments where name = 'ocr_ray'").fetchall()
        params = dict(database.execute("select key, value from params").fetchall())
        rows = database.execute(
            "select step, timestamp - ?, value from metrics where key = 'train/loss' order by step",
            (started_ms,),
        ).fetchall()
        counts = dict(database.execute("select key, count(*) from metrics group by key").fetchall())
    assert rows == [(1000, 20_000, 3.0), (2000, 40_000, 1.5), (3000, 60_000, 1.0)]
    assert counts == {"train/loss": 3, "validation_cer": 3, "validation_cer/crops": 3, "epoch": 3}
    assert (params["train.lr"], params["model"]) == ("5e-05", "tiny")
    assert json.loads((tmp_path / "first/reported/mlflow.json").read_text())["id"] == run_id


def test_a_service_that_fails_does_not_end_training(tmp_path: Path, monkeypatch, caplog) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://here")
    run = locate(str(tmp_path))
    with reporting(["mlflow"], run, {}):
        write_tracking(run, make_history(1), [], events=False)
    assert "reporting to mlflow failed, the job goes on without: " in caplog.text
    assert not (tmp_path / "reported").exists()


def test_tensorboard_files_are_left_out_if_another_service_is_asked_for(tmp_path: Path) -> None:
    write_tracking(locate(str(tmp_path)), make_history(1), [], events=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "curves.png",
        "metrics.jsonl",
        "samples.jsonl",
    ]


def test_wrong_services_are_refused_before_any_work(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(ValueError, match=r"report_to must be of tensorboard, wandb, mlflow, got \['comet'\]"):
        TrainJobConfig(
            lines_uri=("a",), models_uri="b", run_name="c", report_to=("comet",), train=TrainConfig()
        )
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "wandb", None)
        with pytest.raises(InputError, match=r'wandb needs .* pip install "ocr_ray\[wandb\]"'):
            check_services(["tensorboard", "wandb"], locate(str(tmp_path)))
    # Like S3 this is no file system in which the clients can write.
    elsewhere = Location(pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem()), "run")
    for service, needed in (("mlflow", "MLFLOW_TRACKING_URI"), ("wandb", "WANDB_API_KEY")):
        pytest.importorskip(service)
        with pytest.raises(InputError, match=f"--report-to {service} needs .* in {needed}"):
            check_services([service], elsewhere)

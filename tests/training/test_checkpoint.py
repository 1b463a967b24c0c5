import json
import random
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from builders.training_data import make_tiny_model
from transformers import AutoTokenizer, VisionEncoderDecoderModel

from ocr_ray.errors import CheckpointError, StorageError
from ocr_ray.model.load import PROCESSOR_FILES, OcrModel
from ocr_ray.model.precision import make_scaler
from ocr_ray.storage.location import locate
from ocr_ray.training.checkpoint import (
    HISTORY_FILE,
    STATE_FILE,
    Throughput,
    Training,
    TrainState,
    is_model_file,
    load_checkpoint,
    rng_file,
    save_checkpoint,
)
from ocr_ray.training.config import TINY, TrainConfig
from ocr_ray.training.setup import first_model

torch.set_num_threads(1)

STATE = TrainState(
    epoch=2,
    lines_done=24,
    global_step=7,
    lines=56,
    seconds=1.5,
    since_record=Throughput(loss=2.5, tokens=9, lines=8, seconds=0.5),
    best_score=0.5,
    best_lines=32,
    history=[{"kind": "train", "epoch": 1, "lr": 0.1}],
    samples=[{"lines": 32, "truth": "가", "prediction": "나"}],
)


def make_training(ocr: OcrModel, *, rank: int = 0, world_size: int = 1) -> Training:
    optimizer = torch.optim.Adam(ocr.network.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    scaler = make_scaler("fp32", torch.device("cpu"))
    return Training(
        ocr=ocr, optimizer=optimizer, scheduler=scheduler, scaler=scaler, rank=rank, world_size=world_size
    )


def take_step(training: Training) -> None:
    for parameter in training.ocr.network.parameters():
        parameter.grad = torch.randn_like(parameter)
    training.optimizer.step()
    training.scheduler.step(1.0)


@pytest.fixture
def training(model_folder: Path) -> Training:
    return make_training(make_tiny_model(model_folder))


@pytest.fixture
def folder(tmp_path: Path, training: Training) -> Path:
    """A checkpoint after a step."""
    take_step(training)
    save_checkpoint(tmp_path / "checkpoint", training, STATE)
    return tmp_path / "checkpoint"


def test_everything_is_restored(folder: Path, training: Training, model_folder: Path) -> None:
    drawn = [random.random(), np.random.random(), torch.rand(1).item()]
    other = make_training(make_tiny_model(model_folder))
    assert load_checkpoint(folder, other) == STATE
    assert [random.random(), np.random.random(), torch.rand(1).item()] == drawn
    torch.manual_seed(0)
    take_step(training)
    torch.manual_seed(0)
    take_step(other)
    expected = training.ocr.network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in other.ocr.network.state_dict().items())
    assert other.scheduler.state_dict() == training.scheduler.state_dict()
    assert other.optimizer.param_groups[0]["lr"] == training.optimizer.param_groups[0]["lr"] < 0.1


def test_a_checkpoint_is_a_hugging_face_folder_with_the_files_of_its_model(
    folder: Path, model_folder: Path
) -> None:
    assert {path.name for path in folder.iterdir()} == {path.name for path in model_folder.iterdir()} | {
        STATE_FILE,
        HISTORY_FILE,
        rng_file(0),
    }
    assert {path.name for path in folder.iterdir() if is_model_file(path.name)} == {
        path.name for path in model_folder.iterdir()
    }
    saved = json.loads((folder / HISTORY_FILE).read_text())
    assert saved == {"history": STATE.history, "samples": STATE.samples}
    for name in PROCESSOR_FILES:
        if (model_folder / name).exists():
            assert (folder / name).read_bytes() == (model_folder / name).read_bytes()
    assert VisionEncoderDecoderModel.from_pretrained(folder).generation_config.no_repeat_ngram_size == 0
    assert len(AutoTokenizer.from_pretrained(folder)) > 256


def test_other_ranks_write_only_their_generators(tmp_path: Path, training: Training) -> None:
    other = make_training(training.ocr, rank=1, world_size=2)
    save_checkpoint(tmp_path / "rank", other, STATE)
    assert [path.name for path in (tmp_path / "rank").iterdir()] == ["rng-00001.pt"]


def test_a_rank_that_is_new_keeps_its_own_generators(folder: Path, training: Training) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    load_checkpoint(folder, make_training(training.ocr, rank=1, world_size=2))
    assert torch.equal(torch.rand(1), expected)


def test_the_generators_of_a_rank_must_be_there(tmp_path: Path, training: Training) -> None:
    save_checkpoint(tmp_path, make_training(training.ocr, rank=0, world_size=2), STATE)
    with pytest.raises(CheckpointError, match=r"incomplete: .*rng-00001\.pt is missing"):
        load_checkpoint(tmp_path, make_training(training.ocr, rank=1, world_size=2))


NAMES = [
    "config.json",
    "generation_config.json",
    "merges.txt",
    "model.safetensors",
    "preprocessor_config.json",
    "rng-00000.pt",
    "tokenizer.json",
    "training_state.pt",
]


def test_a_missing_file_is_named(folder: Path, training: Training) -> None:
    for name in NAMES:
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        with pytest.raises(CheckpointError, match=f"incomplete: .*{name} is missing"):
            load_checkpoint(folder, training)
        (folder / name).write_bytes(content)


@contextmanager
def limit_of_file_size(size_bytes: int) -> Iterator[None]:
    """The kernel refuses to write more to any file, as it does on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_file_that_the_disk_refuses_is_named(tmp_path: Path, training: Training, folder: Path) -> None:
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    order = ["rng-00000.pt", "model.safetensors", "training_state.pt"]
    limits = [100, sizes[order[0]], sizes[order[1]]]
    assert sorted(order, key=sizes.__getitem__) == order
    for name, limit in [(order[0], 0), *zip(order, limits, strict=True)]:
        target = tmp_path / f"full-{name}-{limit}"
        with (
            limit_of_file_size(limit),
            pytest.raises(StorageError, match=rf"^{target}/{name} cannot be used: File too large; "),
        ):
            save_checkpoint(target, training, STATE)
    (target / "tokenizer.json").unlink()
    (target / "tokenizer.json").mkdir()
    with pytest.raises(StorageError, match=rf"^{target}/tokenizer.json cannot be used: Is a directory; "):
        save_checkpoint(target, training, STATE)


@pytest.mark.parametrize("limit", [0, 3000, 100_000])
def test_a_disk_that_refuses_the_tiny_model_is_named(limit: int, tmp_path: Path, monkeypatch) -> None:
    """tokenizers and safetensors raise errors that are no OSError and name no file."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    run = locate(str(tmp_path / "run"))
    message = rf"^{tmp_path}/ocr_ray-tiny-.* cannot be used: .* too large; "
    with (
        limit_of_file_size(limit),
        pytest.raises(StorageError, match=f"(?i){message}"),
        first_model(TINY, run, [], TrainConfig()),
    ):
        raise NotImplementedError


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_half_written_file_is_named(folder: Path, training: Training, kept: float) -> None:
    for name in NAMES:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(kept * len(content))])
        with pytest.raises(CheckpointError, match=f"half-written: .*{name}"):
            load_checkpoint(folder, training)
        (folder / name).write_bytes(content)
    assert load_checkpoint(folder, training) == STATE


@pytest.mark.parametrize("name", ["training_state.pt", "rng-00000.pt"])
def test_no_code_of_a_checkpoint_is_run(folder: Path, training: Training, name: str, tmp_path: Path) -> None:
    content = (folder / name).read_bytes()
    torch.save({"state": Touch(tmp_path / "ran")}, folder / name)
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(folder, training)
    (folder / name).write_bytes(content)
    assert not (tmp_path / "ran").exists()


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)

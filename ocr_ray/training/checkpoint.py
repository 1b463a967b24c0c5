"""Checkpoints: a Hugging Face model folder plus the state to resume training exactly.

```
config.json model.safetensors generation_config.json  written by rank 0
tokenizer.json vocab.json preprocessor_config.json …  copied byte for byte from the base model
history.json                                          the training and validation records so far
training_state.pt                                     optimizer, scheduler, progress, sizes of all files
rng-00000.pt rng-00001.pt …                           the random generators of each rank
```
"""

import logging
import pickle
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import VisionEncoderDecoderModel
from transformers.utils.logging import disable_progress_bar

from ocr_ray.errors import CheckpointError, StorageError
from ocr_ray.model.load import OcrModel, copy_processor_files
from ocr_ray.storage.error_messages import describe_storage_error
from ocr_ray.storage.strict_json import to_json

log = logging.getLogger(__name__)

STATE_FILE, WEIGHTS_FILE = "training_state.pt", "model.safetensors"
HISTORY_FILE = "history.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Loss, lines and time of a number of steps."""

    loss: float = 0.0
    """Sum over the tokens of all ranks."""
    tokens: int = 0
    lines: int = 0
    seconds: float = 0.0
    wait_seconds: float = 0.0
    """The part of `seconds` in which the first rank waited for data."""

    def __add__(self, other: "Throughput") -> "Throughput":
        return Throughput(**{name: value + getattr(other, name) for name, value in asdict(self).items()})

    def to_metrics(self) -> dict[str, float]:
        """Return the loss per token, lines per second and the share of time spent waiting; all finite."""
        seconds = max(self.seconds, 1e-9)
        return {
            "loss": self.loss / max(1, self.tokens),
            "lines_per_second": self.lines / seconds,
            "feed_wait_share": self.wait_seconds / seconds,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainState:
    """The progress of a run."""

    epoch: int = 0
    """Completed epochs."""
    lines_done: int = 0
    """Lines trained on in the current epoch, in its order."""
    global_step: int = 0
    """Completed optimizer steps."""
    lines: int = 0
    """Lines trained on in all epochs."""
    seconds: float = 0.0
    """Time spent in training and validation."""
    since_record: Throughput = field(default_factory=Throughput)
    """Since the last training record."""
    since_validation: Throughput = field(default_factory=Throughput)
    best_score: float | None = None
    best_lines: int | None = None
    """Lines trained on at the best score."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """The training and validation records so far."""
    samples: list[dict[str, Any]] = field(default_factory=list)
    """Some lines of each validation with their predictions."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainState":
        """Return the state whose `asdict` is `values`."""
        throughputs = {name: Throughput(**values[name]) for name in ("since_record", "since_validation")}
        return cls(**values | throughputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Model, optimizer and scheduler of one rank; updated in place."""

    ocr: OcrModel
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.ReduceLROnPlateau
    scaler: torch.amp.GradScaler
    rank: int = 0
    world_size: int = 1


def rng_file(rank: int) -> str:
    """Return the name of the file with the random generators of a rank."""
    return f"rng-{rank:05d}.pt"


def is_model_file(name: str) -> bool:
    """Return whether a file of a checkpoint belongs to the model rather than to the training state."""
    return name not in (STATE_FILE, HISTORY_FILE) and not name.startswith("rng-")


def save_checkpoint(folder: Path, training: Training, state: TrainState) -> None:
    """Write this rank's files: every rank its random generators, rank 0 also the model and the state.

    Raises:
        StorageError: the disk refuses a file, for example because it is full; the message names it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _save(_pack_generators(), folder / rng_file(training.rank))
    if training.rank != 0:
        return
    disable_progress_bar()
    with name_file(folder / WEIGHTS_FILE):
        training.ocr.network.save_pretrained(folder)
    with name_file(folder):
        copy_processor_files(training.ocr.folder, folder)
    history = {"history": state.history, "samples": state.samples}
    with name_file(folder / HISTORY_FILE):
        (folder / HISTORY_FILE).write_text(to_json(history), encoding="utf-8")
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    content = {
        "optimizer": training.optimizer.state_dict(),
        "scheduler": training.scheduler.state_dict(),
        "scaler": training.scaler.state_dict(),
        "state": asdict(state),
        "world_size": training.world_size,
        "sizes_bytes": sizes,
    }
    _save(content, folder / STATE_FILE)


@contextmanager
def name_file(path: Path) -> Iterator[None]:
    """Raise StorageError with the path of a file that the disk refuses: errors of writing do not name it."""
    try:
        yield
    except Exception as error:  # tokenizers raises a bare one
        # After an error of the disk, torch raises a RuntimeError of its own.
        for cause in (error, error.__context__ or error):
            if message := describe_storage_error(cause, str(path)):
                raise StorageError(message) from error
        raise


def _save(content: dict[str, Any], path: Path) -> None:
    # Given a path, torch writes itself and reports `unexpected pos` if the disk is full.
    with name_file(path), path.open("wb") as file:
        torch.save(content, file)


def load_checkpoint(folder: Path, training: Training) -> TrainState:
    """Restore weights, optimizer, scheduler and random generators; return the state of the run.

    A rank that did not exist when the checkpoint was written keeps its generators.

    Raises:
        CheckpointError: a file is missing or half-written; the message names it.
    """
    content = _load(folder / STATE_FILE)
    for name, size_bytes in content["sizes_bytes"].items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"the checkpoint is incomplete: {path} is missing")
        if path.stat().st_size != size_bytes:
            raise CheckpointError(
                f"the checkpoint is half-written: {path} must have {size_bytes} bytes, "
                f"has {path.stat().st_size}"
            )
    generators = None
    if training.rank < content["world_size"]:
        generators = _load(folder / rng_file(training.rank))
    disable_progress_bar()
    saved = VisionEncoderDecoderModel.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
    )
    training.ocr.network.load_state_dict(saved.state_dict())
    training.optimizer.load_state_dict(content["optimizer"])
    training.scheduler.load_state_dict(content["scheduler"])
    training.scaler.load_state_dict(content["scaler"])
    if generators is None:
        log.info(
            "rank %d is new since the checkpoint: its random generators start from the seed", training.rank
        )
    else:
        _unpack_generators(generators)  # last: loading a model draws random numbers
    return TrainState.from_dict(content["state"])


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"the checkpoint is incomplete: {path} is missing")
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"the checkpoint is half-written: {path} cannot be read: {error}") from error
    return content


def _pack_generators() -> dict[str, Any]:
    """Return the state of the global generators in types that `torch.load(weights_only=True)` accepts."""
    numpy_state: Any = np.random.get_state()
    _, keys, position, has_gauss, cached_gaussian = numpy_state
    return {
        "python": random.getstate(),
        "numpy": (keys.tolist(), int(position), int(has_gauss), float(cached_gaussian)),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _unpack_generators(generators: dict[str, Any]) -> None:
    keys, position, has_gauss, cached_gaussian = generators["numpy"]
    random.setstate(generators["python"])
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), position, has_gauss, cached_gaussian))
    torch.set_rng_state(generators["torch"])
    if torch.cuda.is_available() and len(generators["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(generators["cuda"])

"""The flags of train_trocr."""

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

import tyro

from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.model.options import Precision
from ocr_ray.randomness import check_seed
from ocr_ray.storage.uri import check_name

TINY = "tiny"
"""The value of --model that stands for a small model of random weights."""
FREE_FIELDS = ("batch_size", "global_batch_size", "checkpoint_every_minutes", "loader_threads")
"""Fields that can change when a run is resumed, as long as the global batch size stays the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Hyperparameters of fine-tuning."""

    epochs: int = 5
    """Number of epochs; can be raised to continue a finished run."""
    batch_size: int = 16
    """Batch size per worker."""
    global_batch_size: int | None = None
    """Lines per optimizer step over all workers; larger values accumulate gradients.
    Must be a multiple of --batch-size x --num-workers, which is the default."""
    lr: float = 5e-5
    """Learning rate of Adam after warm-up."""
    warmup_steps: int = 0
    """Steps of linear learning rate warm-up."""
    lr_patience: int = 0
    """Number of validations without improvement to tolerate before the learning rate is reduced."""
    lr_factor: float = 0.5
    """Factor by which the learning rate is reduced."""
    max_grad_norm: float | None = None
    """Clip gradients to this norm. Default: no clipping."""
    precision: Precision = "fp32"
    """tf32: fp32 with faster matrix products on NVIDIA GPUs; bf16, fp16: autocast, weights stay fp32."""
    batch_by_length: bool = True
    """Put labels of similar length into one step, which saves padding."""
    augment: bool = False
    """Augment page and spliced lines anew each epoch: blur, contrast, stroke width, shear, JPEG, edges."""
    seed: int = 0
    """Seed of the line order, augmentation and dropout."""
    label_column: LabelColumn = "text"
    """Column to train on. text: the printed text; markup: with maths in $...$ as AI Hub writes it."""
    select_on: Literal["page", "all"] = "page"
    """Validation lines that select the best model. page: page lines, or all if there are none."""
    best_by: Literal["validation_loss", "cer"] = "validation_loss"
    """Metric that selects the best model and reduces the learning rate; lower is better."""
    validate_every_lines: int | None = None
    """Also validate within epochs, after every this many lines. Default: only at the end of epochs."""
    max_generated_lines: int = 2000
    """Maximum number of validation lines per dataset to decode for CER and WER; the loss is over all."""
    checkpoint_every_minutes: float = 10.0
    """Minutes between checkpoints, the most that an interruption can cost; 0: only at validations."""
    loader_threads: int = 2
    """Number of threads per worker that decode images."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "max_generated_lines", "loader_threads"):
            _require(self, name, getattr(self, name) >= 1, "at least 1")
        for name in ("global_batch_size", "validate_every_lines"):
            value = getattr(self, name)
            _require(self, name, value is None or value >= 1, "at least 1")
        for name in ("lr_patience", "warmup_steps", "checkpoint_every_minutes"):
            _require(self, name, getattr(self, name) >= 0, "at least 0")
        _require(self, "lr", 0 < self.lr < 1, "between 0 and 1")
        _require(self, "lr_factor", 0 < self.lr_factor < 1, "between 0 and 1")
        _require(self, "max_grad_norm", self.max_grad_norm is None or self.max_grad_norm > 0, "above 0")
        check_seed(self.seed)
        choices = {
            "label_column": ("text", "markup"),
            "select_on": ("page", "all"),
            "best_by": ("validation_loss", "cer"),
            "precision": ("fp32", "tf32", "bf16", "fp16"),
        }
        for name, values in choices.items():
            _require(self, name, getattr(self, name) in values, " or ".join(values))

    def count_global(self, world_size: int) -> int:
        """Return the global batch size of `world_size` workers.

        Raises:
            ValueError: it is not a multiple of `batch_size` x `world_size`.
        """
        per_forward_pass = self.batch_size * world_size
        total = self.global_batch_size or per_forward_pass
        if total % per_forward_pass:
            raise ValueError(
                f"global_batch_size must be a multiple of {per_forward_pass}, which is batch_size "
                f"{self.batch_size} x {world_size} workers, got {total}"
            )
        return total

    def describe(self, world_size: int) -> dict[str, Any]:
        """Return the values that identify a run: none of them can change when it is resumed."""
        values = {name: value for name, value in asdict(self).items() if name not in FREE_FIELDS}
        return values | {"global_batch_size": self.count_global(world_size)}


def _require(config: TrainConfig, name: str, holds: bool, requirement: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {requirement}, got {getattr(config, name)!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJobConfig:
    """Fine-tune a TrOCR model on lines, data-parallel, with checkpoints within epochs and at their ends.

    Run it again with the same --run-name to resume from the last checkpoint.
    """

    lines_uri: tuple[str, ...]
    """Datasets from render_lines and crop_pages; each line of their train splits is used once an epoch."""
    models_uri: str
    """Output folder for best_ocr/ and trained_ocr/."""
    run_name: str
    """Name of the run to start or resume."""
    mix: tuple[str, ...] = ()
    """URI=WEIGHT for each of --lines-uri: its share of the lines trained on at any time.
    Small datasets repeat, large ones continue in the next epoch. Default: every line once an epoch."""
    model: str = "team-lucid/trocr-small-korean"
    """VisionEncoderDecoder to fine-tune: a hub id, or a folder, such as best_ocr of an earlier run.
    A run goes on only with the same files; from the hub it keeps the commit that it began with.
    The value tiny stands for a small model with random weights, to try things out."""
    runs_uri: str = "runs"
    """Folder for checkpoints; each run has a subfolder with its name."""
    fresh: bool = False
    """Fail if the run exists already instead of resuming it."""
    num_workers: int = 2
    """Number of data-parallel workers."""
    use_gpu: bool = False
    """Give each worker a GPU."""
    dashboard: bool = True
    """Start Ray's dashboard too, if the job starts Ray itself; without it the start is faster."""
    max_failures: int = 3
    """Number of times that training is restarted after a worker failed; a lost node does not count."""
    keep_checkpoints: int = 1
    """Number of best checkpoints to keep in addition to the latest."""
    pretraining_lines: int = 0
    """Lines with context from pre-training, which count in the reported ratio of context-free lines.
    For team-lucid/trocr-small-korean: 6000000."""
    train: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        if not self.lines_uri:
            raise ValueError("lines_uri must name at least one dataset")
        check_name(self.run_name, "run_name")
        for name, least in (
            ("num_workers", 1),
            ("keep_checkpoints", 1),
            ("max_failures", 0),
            ("pretraining_lines", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        self.train.count_global(self.num_workers)  # checks that the global batch size fits

"""How a model is fine-tuned: the flags of a run."""

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

import tyro

from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.model.options import Precision
from ocr_ray.randomness import check_seed

FREE_FIELDS = ("batch_size", "global_batch_size", "checkpoint_every_minutes", "feed_threads")
"""What may change from one start of a run to the next; the global batch itself may not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How a model is fine-tuned; the defaults are the brief's."""

    epochs: int = 5
    """How often every line is trained on; may grow from run to run."""
    batch_size: int = 16
    """Lines that one worker passes through the network at once."""
    global_batch_size: int | None = None
    """Lines of one optimizer step over all workers, a multiple of --batch-size times workers: gradients of
    several batches are added up. None: --batch-size times workers."""
    lr: float = 5e-5
    """Learning rate of Adam after the warm-up."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises from 0."""
    lr_patience: int = 0
    """Validations without a better score after which the learning rate is reduced."""
    lr_factor: float = 0.5
    """What the learning rate is multiplied by then."""
    max_grad_norm: float | None = None
    """Gradients whose norm is greater are scaled down to it; None: they are not."""
    precision: Precision = "fp32"
    """fp32; tf32: fp32 with faster products on NVIDIA GPUs; bf16 or fp16: autocast, weights stay fp32."""
    batch_by_length: bool = True
    """Puts labels of like length into one step, so that less is padded."""
    augment: bool = False
    """Varies lines of pages and spliced lines anew each epoch: blur, contrast, ink, shear, JPEG, edges."""
    seed: int = 0
    """Of the order of the lines, of augmentation and of dropout."""
    label_column: LabelColumn = "text"
    """text: what is printed; markup: with the maths in $...$ as AI Hub writes it."""
    select_on: Literal["page", "all"] = "page"
    """The validation lines that choose the best model: page (all where no dataset has any) or all."""
    best_by: Literal["validation_loss", "cer"] = "validation_loss"
    """What is lowest for the best model, and lowers the learning rate when it stops falling."""
    validate_every_lines: int | None = None
    """Lines after which to validate within an epoch too; None: at its end alone."""
    max_generated_lines: int = 2000
    """Validation lines of each dataset that are read for CER and WER; the loss is taken over all."""
    checkpoint_every_minutes: float = 10.0
    """Minutes that an interruption costs at most; 0: checkpoints at validations alone."""
    feed_threads: int = 2
    """Threads of a worker that decode images ahead."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "max_generated_lines", "feed_threads"):
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
        """Return the lines of one optimizer step of so many workers.

        Raises:
            ValueError: they cannot share `global_batch_size` in batches of `batch_size`.
        """
        per_pass = self.batch_size * world_size
        total = self.global_batch_size or per_pass
        if total % per_pass:
            raise ValueError(
                f"global_batch_size must be a multiple of {per_pass}, which is batch_size {self.batch_size} "
                f"x {world_size} workers, got {total}"
            )
        return total

    def describe(self, world_size: int) -> dict[str, Any]:
        """Return what makes a run itself: what may not change when it goes on."""
        values = {name: value for name, value in asdict(self).items() if name not in FREE_FIELDS}
        return values | {"global_batch_size": self.count_global(world_size)}


def _require(config: TrainConfig, name: str, holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {what}, got {getattr(config, name)!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJobConfig:
    """Fine-tune a TrOCR on lines, data-parallel, with checkpoints within epochs and at their ends.

    Run again with the same --run-name it goes on from the last checkpoint.
    """

    lines_uri: tuple[str, ...]
    """Datasets of lines, as render_lines and crop_pages make them; every line of their train splits is read
    once an epoch."""
    models_uri: str
    """Where best_ocr/ and trained_ocr/ go."""
    run_name: str
    """The run that is begun, or gone on with."""
    mix: tuple[str, ...] = ()
    """URI=SHARE for each of --lines-uri: its share of the lines trained on, at any time; small datasets
    repeat, large ones go on in the next epoch. None: every line once an epoch."""
    model: str = "team-lucid/trocr-small-korean"
    """A hub id, a folder or s3:// folder of any Hugging Face VisionEncoderDecoder, such as an earlier run's
    best_ocr; tiny: a small one of random weights, to try things out."""
    runs_uri: str = "runs"
    """Where runs keep their checkpoints, each in a folder of its name."""
    fresh: bool = False
    """Refuse a run that was begun already, instead of going on with it."""
    num_workers: int = 2
    """Data-parallel workers."""
    use_gpu: bool = False
    """Each worker takes a GPU."""
    max_failures: int = 3
    """How often the run goes on by itself after a worker failed; lost nodes do not count."""
    keep_checkpoints: int = 1
    """Best checkpoints that are kept beside the latest."""
    pretraining_lines: int = 0
    """Lines with context that the model was trained on before, for the ratio that is told; the brief counts
    6000000 for team-lucid/trocr-small-korean."""
    train: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        if not self.lines_uri:
            raise ValueError("lines_uri must name at least one dataset")
        if not self.run_name or "/" in self.run_name:
            raise ValueError(f"run_name must be a folder's name, got {self.run_name!r}")
        for name, least in (
            ("num_workers", 1),
            ("keep_checkpoints", 1),
            ("max_failures", 0),
            ("pretraining_lines", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        self.train.count_global(self.num_workers)  # refuses what cannot be shared out


TINY = "tiny"

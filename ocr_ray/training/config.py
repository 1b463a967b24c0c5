"""The flags of train_trocr."""

from collections.abc import Mapping, Sized
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal, get_args

import tyro

from ocr_ray.dataset.hub import HubConfig
from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.model.options import Capability, Precision, PrecisionChoice, choose_precision
from ocr_ray.randomness import check_seed
from ocr_ray.storage.uri import check_name

Service = Literal["tensorboard", "wandb", "mlflow"]
"""Where curves can be sent."""
TINY = "tiny"
"""The value of --model that stands for a small model of random weights."""
FREE_FIELDS = (
    "batch_size",
    "global_batch_size",
    "checkpoint_every_minutes",
    "loader_threads",
    "compile",
    "deterministic",
)
"""Fields that can change when a run is resumed, as long as the global batch size stays the same."""
LrSchedule = Literal["plateau", "cosine", "linear"]
FINAL_LR_SHARE = 0.05
"""The learning rate of the last step, as a share of `lr`, with a schedule that decays."""
CPU_BATCH_SIZE, GPU_BATCH_SIZE = 16, 64
CPU_WORKERS, CPU_LOADER_THREADS = 2, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Hyperparameters of fine-tuning."""

    epochs: int = 5
    """Number of epochs; can be raised to continue a finished run."""
    lines_per_epoch: int | None = None
    """Lines of an epoch with --mix, so that runs on other mixtures take as many steps.
    Default: the number of lines of all datasets."""
    batch_size: int | None = None
    """Batch size per worker. Default: 64 on a GPU, 16 on a CPU, or what fits the global batch size."""
    global_batch_size: int | None = None
    """Lines per optimizer step over all workers; larger values accumulate gradients.
    Must be a multiple of --batch-size x --num-workers, which is the default of a new run."""
    lr: float = 5e-5
    """Learning rate of Adam after warm-up."""
    warmup_steps: int = 0
    """Steps of linear learning rate warm-up."""
    lr_schedule: LrSchedule = "plateau"
    """plateau: reduce the learning rate by --lr-factor after --lr-patience validations without improvement.
    cosine, linear: after warm-up, decay to 5 % of --lr at the last step of --epochs; no other reductions.
    If --epochs of a run is raised, its next steps follow the decay of the new number of epochs, so that the
    learning rate of a finished run rises again."""
    lr_patience: int = 0
    """Number of validations without improvement to tolerate before plateau reduces the learning rate."""
    lr_factor: float = 0.5
    """Factor by which plateau reduces the learning rate."""
    max_grad_norm: float | None = None
    """Clip gradients to this norm. Default: no clipping."""
    precision: PrecisionChoice = "auto"
    """auto: bf16 on a GPU of compute capability 8.0 or more, fp16 on an older one, fp32 on a CPU; a resumed
    run keeps its precision. tf32: fp32 with faster matrix products on NVIDIA GPUs; bf16, fp16: autocast,
    weights stay fp32."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compile the layers of the encoder, and on a GPU record the step as CUDA graphs. If that fails, training
    goes on without. auto: on for a GPU, off on a CPU and with --deterministic."""
    deterministic: bool = False
    """Use only operations that give the same bits in every run, on a GPU too: a resumed run then equals an
    undisturbed one. Slower on a GPU: the layers are not compiled and no CUDA graphs are used."""
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
    loader_threads: int | None = None
    """Number of threads per worker that decode images. Default: with GPUs the cores of the node shared among
    its workers, else 2, or 1 if there are fewer cores."""

    def __post_init__(self) -> None:
        for name in ("epochs", "max_generated_lines"):
            _require(self, name, getattr(self, name) >= 1, "at least 1")
        for name in (
            "batch_size",
            "global_batch_size",
            "loader_threads",
            "validate_every_lines",
            "lines_per_epoch",
        ):
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
            "lr_schedule": ("plateau", "cosine", "linear"),
            "precision": ("auto", "fp32", "tf32", "bf16", "fp16"),
            "compile": ("auto", "on", "off"),
        }
        for name, values in choices.items():
            _require(self, name, getattr(self, name) in values, " or ".join(values))
        if self.deterministic and self.compile == "on":
            raise ValueError(
                "compile must be auto or off with deterministic, got on: kernels are chosen by their speed"
            )

    @property
    def lines_per_batch(self) -> int:
        """`batch_size`, or the default of a CPU before `fit` has set one."""
        return self.batch_size or CPU_BATCH_SIZE

    @property
    def number_format(self) -> Precision:
        """`precision`, or that of a CPU before `settle` has set one."""
        return "fp32" if self.precision == "auto" else self.precision

    def is_compiled(self, *, on_gpu: bool) -> bool:
        """Return whether to compile on a device."""
        return self.compile == "on" or (self.compile == "auto" and on_gpu and not self.deterministic)

    def settle(self, capability: Capability | None) -> "TrainConfig":
        """Return it with the precision of a GPU, or of a CPU if `capability` is None, if it is auto."""
        if self.precision != "auto":
            return self
        return replace(self, precision=choose_precision(capability))

    def fit(self, world_size: int, *, on_gpu: bool) -> "TrainConfig":
        """Return it with the largest batch size of at most the usual one that fits, if it has none."""
        usual = GPU_BATCH_SIZE if on_gpu else CPU_BATCH_SIZE
        total = self.global_batch_size or usual * world_size
        sizes = range(1, usual + 1) if self.batch_size is None else (self.batch_size,)
        fitting = [size for size in sizes if total % (size * world_size) == 0]
        return replace(self, batch_size=max(fitting, default=self.batch_size or usual))

    def count_global(self, world_size: int) -> int:
        """Return the global batch size of `world_size` workers.

        Raises:
            ValueError: it is not a multiple of `batch_size` x `world_size`.
        """
        per_forward_pass = self.lines_per_batch * world_size
        total = self.global_batch_size or per_forward_pass
        if total % per_forward_pass:
            raise ValueError(
                f"global_batch_size must be a multiple of {per_forward_pass}, which is batch_size "
                f"{self.lines_per_batch} x {world_size} workers, got {total}"
            )
        return total

    def count_lines(self, lengths: Mapping[str, Sized] | None) -> int:
        """Return the lines of an epoch over datasets with these lines."""
        return self.lines_per_epoch or sum(map(len, (lengths or {}).values()))

    def describe(self) -> dict[str, Any]:
        """Return the values that identify a run: none of them can change when it is resumed."""
        values = {name: value for name, value in asdict(self).items() if name not in FREE_FIELDS}
        if self.lr_schedule == "plateau":  # the plan of a run of version 0.2.0 does not name it
            del values["lr_schedule"]
        if self.lines_per_epoch is None:  # nor this
            del values["lines_per_epoch"]
        return values | {"global_batch_size": self.global_batch_size}


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
    The value base stands for the small model of this package, which reads printed digits, signs and common
    syllables of maths problems; tiny for a small model with random weights, to try things out."""
    runs_uri: str = "runs"
    """Folder for checkpoints; each run has a subfolder with its name."""
    fresh: bool = False
    """Fail if the run exists already instead of resuming it."""
    num_workers: int | None = None
    """Number of data-parallel workers. Default: 2; with --use-gpu one for each GPU that the cluster has or
    may start, fewer if the global batch size cannot be shared among so many."""
    use_gpu: bool = False
    """Give each worker a GPU."""
    dashboard: bool = True
    """Start Ray's dashboard too, if the job starts Ray itself; without it the start is faster."""
    max_failures: int = 3
    """Number of times that training is restarted after a worker failed; a lost node does not count."""
    report_to: tuple[Service, ...] = ("tensorboard",)
    """Where metrics are sent besides the files of the run. tensorboard: files in the folder of the run;
    wandb: Weights & Biases, offline without WANDB_API_KEY; mlflow: the server in MLFLOW_TRACKING_URI, or a
    database in the folder of the run."""
    keep_checkpoints: int = 1
    """Number of best checkpoints to keep in addition to the latest."""
    pretraining_lines: int = 0
    """Lines with context from pre-training, which count in the reported ratio of context-free lines.
    For team-lucid/trocr-small-korean: 6000000."""
    hub: Annotated[HubConfig, tyro.conf.arg(name="")] = field(default_factory=HubConfig)
    train: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        if not self.lines_uri:
            raise ValueError("lines_uri must name at least one dataset")
        check_name(self.run_name, "run_name")
        if self.train.lines_per_epoch is not None and not self.mix:
            raise ValueError(
                f"lines_per_epoch must be given with --mix, got {self.train.lines_per_epoch}: without, every "
                "line is used once an epoch"
            )
        if unknown := set(self.report_to) - set(get_args(Service)):
            raise ValueError(f"report_to must be of {', '.join(get_args(Service))}, got {sorted(unknown)}")
        for name, least in (
            ("num_workers", 1),
            ("keep_checkpoints", 1),
            ("max_failures", 0),
            ("pretraining_lines", 0),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        # With GPUs, which are not counted yet: that the batch of one worker fits.
        num_workers = self.num_workers or (1 if self.use_gpu else CPU_WORKERS)
        self.train.fit(num_workers, on_gpu=self.use_gpu).count_global(num_workers)

    def keep(self, plan: Mapping[str, Any]) -> "TrainJobConfig":
        """Return it with what a run has decided, so that the same command resumes it on other devices.

        `plan` is the configuration in the run's plan, empty for a new run. Kept are the precision, if it is
        auto, and the global batch size, if the batch size or the number of workers is a default.
        """
        train, is_open = self.train, self.train.batch_size is None or self.num_workers is None
        if train.precision == "auto" and "precision" in plan:
            train = replace(train, precision=plan["precision"])
        if train.global_batch_size is None and is_open and "global_batch_size" in plan:
            train = replace(train, global_batch_size=plan["global_batch_size"])
        return replace(self, train=train)

    def settle(self, num_workers: int) -> "TrainJobConfig":
        """Return it with all sizes set, for at most `num_workers` workers if it names no number.

        Raises:
            ValueError: the global batch size is not a multiple of the batch size and the number of workers.
        """
        train = self.train
        if self.num_workers is None and train.global_batch_size is not None:
            per_worker = train.batch_size or 1
            counts = range(1, num_workers + 1)
            fitting = [count for count in counts if train.global_batch_size % (per_worker * count) == 0]
            num_workers = max(fitting, default=num_workers)
        num_workers = self.num_workers or num_workers
        train = train.fit(num_workers, on_gpu=self.use_gpu)
        train = replace(train, global_batch_size=train.count_global(num_workers))
        return replace(self, num_workers=num_workers, train=train)


def share_cores(num_cores: int, num_workers: int, *, on_gpu: bool) -> int:
    """Return the number of loader threads of each worker of a node.

    A core is left for the training thread. A CPU worker computes with its core itself, so few threads do.
    """
    per_worker = num_cores // num_workers
    return max(1, per_worker - 1 if on_gpu else min(CPU_LOADER_THREADS, per_worker))

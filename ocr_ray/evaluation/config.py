"""The flags of `evaluate_trocr`."""

from dataclasses import dataclass

from ocr_ray.dataset.lines import SPLITS
from ocr_ray.model.options import PrecisionChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """Read a split of one or more datasets with a model and report its errors."""

    model_uri: str
    """Model folder, a Hugging Face hub id, or base: the small model of this package."""
    lines_uri: tuple[str, ...]
    """Datasets of lines to read; the report names each by its folder."""
    out_uri: str
    """Folder for report.json, report.html and predictions/; an interrupted run resumes here."""
    split: str = "validation"
    """train, validation or test."""
    baseline: str | None = None
    """report.json of another model on the same lines, with its predictions/ in the same folder.
    The report compares both models and tests the differences for significance."""
    trained_on: tuple[str, ...] = ()
    """Training datasets of the model, to report seen and unseen words and fonts separately.
    Default: the datasets named in its metrics.json."""
    max_aspect: float | None = None
    """Lines wider than this many times their height are read in pieces, and as a whole for comparison.
    Default: every line is read as a whole."""
    num_beams: int = 1
    """Number of beams in beam search; 1: greedy decoding."""
    batch_size: int | None = None
    """Lines per batch and worker. Default: 16 on a CPU; 512 on a GPU, divided by --num-beams, or fewer if its
    memory is too small."""
    precision: PrecisionChoice = "auto"
    """auto: bf16 on a GPU of compute capability 8.0 or more, fp16 on an older one, fp32 on a CPU; an
    interrupted run keeps its precision."""
    num_workers: int | None = None
    """Number of parallel workers, each with the model. Default: one per CPU; with --use-gpu, per GPU."""
    use_gpu: bool = False
    """Give each worker a GPU."""
    dashboard: bool = True
    """Start Ray's dashboard too, if the job starts Ray itself; without it the start is faster."""

    def __post_init__(self) -> None:
        if not self.lines_uri:
            raise ValueError("lines_uri must name at least one dataset")
        if self.split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {self.split!r}")
        for name in ("batch_size", "num_workers", "num_beams"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        if self.max_aspect is not None and not self.max_aspect >= 1:
            raise ValueError(f"max_aspect must be at least 1, got {self.max_aspect}")

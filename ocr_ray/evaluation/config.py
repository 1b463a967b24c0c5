"""The flags of evaluate_trocr."""

from dataclasses import dataclass

from ocr_ray.dataset.lines import SPLITS
from ocr_ray.model.options import Decoding, Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """Read a split of one or more datasets with a model and count its errors."""

    model_uri: str
    """A model's folder, or a Hugging Face hub id."""
    lines_uri: tuple[str, ...]
    """Datasets of lines, each reported under its folder's name."""
    out_uri: str
    """Where report.json, report.html and predictions/ go; an interrupted run of the same is completed."""
    split: str = "validation"
    """train, validation or test."""
    baseline: str | None = None
    """Another model's report.json on the same lines, its predictions/ beside it: both are shown side by side,
    with how likely a difference is chance."""
    trained_on: tuple[str, ...] = ()
    """Datasets that the model has learnt from, to tell seen words and fonts from unseen ones; none: those
    that its metrics.json names."""
    max_aspect: float | None = None
    """Lines wider than so many times their height are read in pieces, cut at their widest gaps, and as a
    whole to compare; None: as a whole."""
    num_beams: int = 1
    """Beams of the search; 1: greedy."""
    batch_size: int = 16
    """Lines read at once by each worker; 64 or more on a GPU."""
    precision: Precision | None = None
    """fp32, tf32, bf16 or fp16; None: bf16 with --use-gpu, else fp32."""
    num_workers: int | None = None
    """Models that read at once; None: one per CPU, with --use-gpu one per GPU."""
    use_gpu: bool = False
    """Each worker takes a GPU."""

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

    def decoding(self) -> Decoding:
        return Decoding(
            batch_size=self.batch_size,
            num_beams=self.num_beams,
            precision=self.precision or ("bf16" if self.use_gpu else "fp32"),
            max_aspect=self.max_aspect,
        )

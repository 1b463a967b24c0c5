"""The flags of label_pages."""

from dataclasses import dataclass, field

from ocr_ray.cluster.produce_options import ProduceOptions, Verification
from ocr_ray.dataset.images import ImageConfig
from ocr_ray.pages.labels.read import BoxFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelConfig:
    """Read the text of every box of pages; their labels say where the boxes are, texts may be empty."""

    model_uri: str
    """A model's folder, or a Hugging Face hub id."""
    pages_uri: str
    """Folder or .zip with images (.png, .jpg) and labels with boxes (.json) in the format of AI Hub 71716 or
    71859, paired by name, in any sub-folders and zips."""
    out_uri: str
    """Where labels/, the Parquet parts and review.html go: an empty folder, or an earlier run of the same,
    which is completed."""
    flag_below: float = 0.9
    """Lines that the model is less sure of are flagged for a person, from 0 to 1."""
    max_aspect: float | None = None
    """Boxes wider than so many times their height are cut at their widest gaps and read in pieces; None: none
    is."""
    margin_px: int = 0
    """Added to each side of a box, as it was for the lines that the model learnt from."""
    box_format: BoxFormat = "xyxy"
    """How 71716 labels give a box: left, top, right, bottom; or left, top, width, height; or points."""
    image: ImageConfig = field(default_factory=lambda: ImageConfig(format="png"))
    review: int = 50
    """Pages shown in review.html, those that the model is least sure of first."""
    batch_size: int = 16
    """Lines read at once by each worker; 64 or more on a GPU."""
    use_gpu: bool = False
    """Each worker takes a GPU and keeps the model there; as many parts are read at once as there are GPUs."""
    pages_per_part: int = 256
    """Pages of one Parquet file, which is one task."""
    num_cpus: int | None = None
    """The most CPUs used, each with a model; None: all of this machine or cluster, or one for each GPU."""
    max_reject_fraction: float = 0.05
    """The job fails if a greater share of the boxes and pages gave no line."""
    verify: Verification = "footers"
    """How parts of an earlier run are checked; rows: every row is hashed again."""

    def __post_init__(self) -> None:
        if not 0 <= self.flag_below <= 1:
            raise ValueError(f"flag_below must be from 0 to 1, got {self.flag_below}")
        if self.max_aspect is not None and not self.max_aspect >= 1:
            raise ValueError(f"max_aspect must be at least 1, got {self.max_aspect}")
        for name, least in (("margin_px", 0), ("review", 0), ("batch_size", 1), ("pages_per_part", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        self.engine()  # checks the rest

    def engine(self) -> ProduceOptions:
        return ProduceOptions(
            num_cpus=self.num_cpus, verify=self.verify, max_reject_fraction=self.max_reject_fraction
        )

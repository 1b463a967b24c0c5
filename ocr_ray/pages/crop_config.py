"""The flags of crop_pages."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from ocr_ray.cluster.produce_options import ProduceOptions, Verification
from ocr_ray.dataset.images import ImageConfig
from ocr_ray.dataset.lines import FIRST_NUMBERS
from ocr_ray.pages.labels.read import BoxFormat
from ocr_ray.randomness import check_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class CropStyle:
    """What is cut out of a page, and how it is stored."""

    image: ImageConfig = field(default_factory=lambda: ImageConfig(format="png"))
    margin_px: int = 0
    """Added to each side of a box, as far as the page reaches."""
    mode: Literal["line", "page"] = "line"
    """line: each labelled line; page: the whole page as one line, with the problem as its text."""

    def __post_init__(self) -> None:
        if self.margin_px < 0:
            raise ValueError(f"margin_px must be at least 0, got {self.margin_px}")
        if self.mode not in ("line", "page"):
            raise ValueError(f"mode must be line or page, got {self.mode!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CropConfig:
    """Cut the labelled text lines out of AI Hub's maths pages (datasets 71716, 71718 and 71859)."""

    pages_uri: str
    """Folder or .zip with images (.png, .jpg) and their labels (.json), paired by name, in any sub-folders
    and zips."""
    out_uri: str
    """Where the dataset goes: an empty folder, or an earlier run of the same, which is completed."""
    validation_share: float = 0.2
    """Share of the problems that becomes the validation split; those that differ only in numbers stay
    together. What lies in Validation, as AI Hub delivers it, becomes the test split whole."""
    seed: int = 0
    """Decides the split, and the spliced lines."""
    box_format: BoxFormat = "xyxy"
    """How 71716 labels give a box: left, top, right, bottom; or left, top, width, height; or points."""
    crop: Annotated[CropStyle, tyro.conf.arg(name="")] = field(default_factory=CropStyle)
    splice: int = 0
    """Lines of 5 to 30 characters to be joined from words of different problems besides: real print without
    context. Each split has its share, of words of its own pages."""
    preview: int = 0
    """Random pages shown with their boxes, crops and texts in preview.html, before any is cropped."""
    pages_per_part: int = 1024
    """Pages, or spliced lines, of one Parquet file, which is one task."""
    num_cpus: int | None = None
    """The most CPUs used; None: all of this machine or cluster."""
    max_reject_fraction: float = 0.05
    """The job fails if a greater share of the boxes and pages was rejected."""
    verify: Verification = "footers"
    """How parts of an earlier run are checked; rows: every row is hashed again."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if not 0 <= self.validation_share <= 1:
            raise ValueError(f"validation_share must be from 0 to 1, got {self.validation_share}")
        if self.pages_per_part < 1:
            raise ValueError(f"pages_per_part must be at least 1, got {self.pages_per_part}")
        for name in ("splice", "preview"):
            if not 0 <= getattr(self, name) < FIRST_NUMBERS["validation"]:
                raise ValueError(f"{name} must be a number of lines or pages, got {getattr(self, name)}")
        self.engine()  # checks the rest

    def engine(self) -> ProduceOptions:
        return ProduceOptions(
            num_cpus=self.num_cpus, verify=self.verify, max_reject_fraction=self.max_reject_fraction
        )

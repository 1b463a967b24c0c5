"""The flags of crop_pages and label_pages."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from ocr_ray.cluster.produce_options import ProduceOptions, Verification
from ocr_ray.dataset.hub import HubConfig
from ocr_ray.dataset.images import ImageConfig
from ocr_ray.dataset.lines import FIRST_NUMBERS
from ocr_ray.pages.labels.page_label import BoxFormat
from ocr_ray.randomness import check_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class CropStyle:
    """What is cut from a page, and how it is stored."""

    image: ImageConfig = field(default_factory=lambda: ImageConfig(format="png"))
    margin_px: int = 0
    """Margin around each box in pixels, as far as the page reaches."""
    mode: Literal["line", "page"] = "line"
    """line: each labelled line; page: the whole page as one line, with the whole problem as its text."""

    def __post_init__(self) -> None:
        if self.margin_px < 0:
            raise ValueError(f"margin_px must be at least 0, got {self.margin_px}")
        if self.mode not in ("line", "page"):
            raise ValueError(f"mode must be line or page, got {self.mode!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CropConfig:
    """Crop the labelled text lines of AI Hub's maths pages (datasets 71716, 71718 and 71859)."""

    pages_uri: str
    """Folder or .zip with images (.png, .jpg) and their labels (.json), paired by file name.
    Sub-folders, and zips inside, also in pieces (.zip.part0, .zip.001), are read too."""
    out_uri: str
    """Folder of the dataset: empty, or from an earlier run, which is completed."""
    validation_share: float = 0.2
    """Share of the problems in the validation split; problems that differ only in numbers stay together.
    AI Hub's own Validation data becomes the test split."""
    seed: int = 0
    """Seed of the splits and the spliced lines."""
    box_format: BoxFormat = "xyxy"
    """How 71716 labels give a box. xyxy: left, top, right, bottom;
    xywh: left, top, width, height; points: a list of points."""
    crop: Annotated[CropStyle, tyro.conf.arg(name="")] = field(default_factory=CropStyle)
    splice: int = 0
    """Number of additional lines joined from words of different problems: real print without context.
    They have 5 to 30 characters. Each split gets its share, made of words from its own pages."""
    preview: int = 0
    """Number of random pages shown with boxes, crops and texts in preview.html, written before cropping."""
    pages_per_part: int = 1024
    """Pages, or spliced lines, per Parquet file; each file is one task."""
    hub: Annotated[HubConfig, tyro.conf.arg(name="")] = field(default_factory=HubConfig)
    num_cpus: int | None = None
    """Maximum number of CPUs. Default: all of this machine or cluster."""
    dashboard: bool = True
    """Start Ray's dashboard too, if the job starts Ray itself; without it the start is faster."""
    max_reject_fraction: float = 0.05
    """The job fails if a larger share of boxes and pages is rejected."""
    verify: Verification = "footers"
    """How the parts of an earlier run are checked. footers: by their footers; rows: every row is hashed."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if not 0 <= self.validation_share <= 1:
            raise ValueError(f"validation_share must be from 0 to 1, got {self.validation_share}")
        if self.pages_per_part < 1:
            raise ValueError(f"pages_per_part must be at least 1, got {self.pages_per_part}")
        for name in ("splice", "preview"):
            if not 0 <= getattr(self, name) < FIRST_NUMBERS["validation"]:
                raise ValueError(
                    f"{name} must be from 0 to {FIRST_NUMBERS['validation'] - 1}, got {getattr(self, name)}"
                )
        produce_options(self)  # checks the other fields


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelConfig:
    """Read the text of every labelled box with a model; the texts in the labels are ignored."""

    out_uri: str
    """Folder for labels/, the Parquet parts and review.html.
    Empty, or from an earlier run, which is completed."""
    model_uri: str = ""
    """Model folder, a Hugging Face hub id, or base: the small model of this package.
    Required without --apply."""
    pages_uri: str = ""
    """Folder or .zip with images (.png, .jpg) and labels with boxes (.json), paired by file name.
    Sub-folders, and zips inside, also in pieces (.zip.part0, .zip.001), are read too.
    Labels are in the format of AI Hub 71716 or 71859. Required without --apply."""
    apply: str = ""
    """File of corrections, from review.html or a JSON export of Label Studio.
    Writes the labels and lines of --labelled-uri with them to --out-uri; no page is read."""
    labelled_uri: str = ""
    """With --apply: the folder of the earlier run that was reviewed."""
    flag_below: float = 0.9
    """Lines with a lower confidence, from 0 to 1, are flagged for review."""
    max_aspect: float | None = None
    """Boxes wider than this many times their height are cut at their widest gaps and read in pieces.
    Default: every box is read as a whole."""
    margin_px: int = 0
    """Margin around each box in pixels; use that of the lines that the model was trained on."""
    box_format: BoxFormat = "xyxy"
    """How 71716 labels give a box. xyxy: left, top, right, bottom;
    xywh: left, top, width, height; points: a list of points."""
    image: ImageConfig = field(default_factory=lambda: ImageConfig(format="png"))
    review: int = 50
    """Number of pages shown in review.html, the least confident first."""
    label_studio_images: str = ""
    """Write the pages of review.html to label_studio.json too, as tasks to import into Label Studio.
    The value precedes the path of each image, such as /data/local-files/?d=pages/ for its local storage."""
    batch_size: int | None = None
    """Lines per batch in each worker. Default: 16 on a CPU; 512 on a GPU, or fewer if its memory is too
    small."""
    use_gpu: bool = False
    """Read on GPUs, one worker per GPU."""
    pages_per_part: int = 256
    """Pages per Parquet file; each file is one task."""
    num_cpus: int | None = None
    """Maximum number of CPUs, each with a copy of the model.
    Default: all of this machine or cluster; with --use-gpu one for each GPU."""
    dashboard: bool = True
    """Start Ray's dashboard too, if the job starts Ray itself; without it the start is faster."""
    max_reject_fraction: float = 0.05
    """The job fails if a larger share of boxes and pages gives no line."""
    verify: Verification = "footers"
    """How the parts of an earlier run are checked. footers: by their footers; rows: every row is hashed."""

    def __post_init__(self) -> None:
        if not 0 <= self.flag_below <= 1:
            raise ValueError(f"flag_below must be from 0 to 1, got {self.flag_below}")
        if self.max_aspect is not None and not self.max_aspect >= 1:
            raise ValueError(f"max_aspect must be at least 1, got {self.max_aspect}")
        for name, least in (("margin_px", 0), ("review", 0), ("batch_size", 1), ("pages_per_part", 1)):
            if (number := getattr(self, name)) is not None and number < least:
                raise ValueError(f"{name} must be at least {least}, got {number}")
        produce_options(self)  # checks the other fields


def produce_options(config: CropConfig | LabelConfig) -> ProduceOptions:
    """Return the options of a job that do not change its dataset."""
    return ProduceOptions(
        num_cpus=config.num_cpus, verify=config.verify, max_reject_fraction=config.max_reject_fraction
    )

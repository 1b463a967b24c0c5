"""The flags of render_lines."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from ocr_ray.cluster.produce_options import ProduceOptions, Verification
from ocr_ray.dataset.hub import HubConfig
from ocr_ray.dataset.images import ImageConfig
from ocr_ray.dataset.lines import FIRST_NUMBERS
from ocr_ray.randomness import check_seed
from ocr_ray.render.fonts.find import DEFAULT_FONTS
from ocr_ray.render.style import Look, StyleConfig
from ocr_ray.textgen.sampler import TextConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """Locations of the files that lines are made from."""

    corpus_uri: str | None = None
    """Folder of .txt files to draw random words from. Default: the built-in word list."""
    texts_uri: str | None = None
    """Dataset of labelled lines whose train split gives running text for --sentence-share."""
    lengths_like: str | None = None
    """Dataset of lines whose lengths replace --min-length and --max-length."""
    pictures_uri: str | None = None
    """Folder of background images for --renderer trdg; each line gets a random crop of one."""
    model: str | None = None
    """Hub id or folder of the model to train; lines leave out characters that its tokenizer loses."""
    focus: str | None = None
    """report.json of evaluate_trocr, for an additional dataset that focuses on what was misread.
    Half of its lines contain more of the misread characters."""


Renderer = Literal["fast", "trdg"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderConfig:
    """Render lines of random words and arithmetic, with equal shares for all fonts."""

    out_uri: str
    """Folder of the dataset: empty, or from an earlier run with the same flags, to resume or grow it."""
    num_lines: int = 300_000
    """Number of lines; can be raised later. With few resources, start with 100000 to 300000."""
    seed: int = 0
    """Seed; line i depends only on it, on i, the inputs and the options of text and style."""
    sources: Annotated[SourceConfig, tyro.conf.arg(name="")] = field(default_factory=SourceConfig)
    fonts: tuple[str, ...] = DEFAULT_FONTS
    """Font families, files, faces such as batang.ttc#2, folders with a final slash, or NAME=URI.
    Variable fonts are drawn at weight 400, or as chosen: noto.ttf#wght=700."""
    fonts_uri: str | None = None
    """Folder of font files to search before the machine's own fonts."""
    holdout_fonts: tuple[str, ...] = ()
    """Fonts used only in the test split."""
    validation_share: float = 0.01
    """Share of lines in the validation split."""
    test_share: float = 0.01
    """Share of lines in the test split, which exists only if fonts or words are held out."""
    text: Annotated[TextConfig, tyro.conf.arg(name="")] = field(default_factory=TextConfig)
    style: Look = "pages"
    """pages: as varied as scanned pages; plain: the defaults of trdg."""
    look: Annotated[StyleConfig, tyro.conf.arg(name="style")] = field(default_factory=StyleConfig)
    renderer: Renderer = "fast"
    """fast: our own; trdg: same geometry, ten times slower, with its own noise or --pictures-uri."""
    image: ImageConfig = field(default_factory=ImageConfig)
    lines_per_part: int = 4096
    """Lines per Parquet file; each file is one task."""
    hub: Annotated[HubConfig, tyro.conf.arg(name="")] = field(default_factory=HubConfig)
    num_cpus: int | None = None
    """Maximum number of CPUs. Default: all of this machine or cluster."""
    dashboard: bool = True
    """Start Ray's dashboard too, if the job starts Ray itself; without it the start is faster."""
    max_reject_fraction: float = 0.01
    """The job fails if a larger share of the lines cannot be drawn."""
    verify: Verification = "footers"
    """How the parts of an earlier run are checked. footers: by their footers; rows: every row is hashed."""

    def __post_init__(self) -> None:
        limit = FIRST_NUMBERS["validation"]
        if not 1 <= self.num_lines < limit:
            raise ValueError(f"num_lines must be from 1 to {limit - 1}, got {self.num_lines}")
        check_seed(self.seed)
        shares = self.validation_share, self.test_share
        if not (min(shares) >= 0 and sum(shares) <= 1):
            raise ValueError(f"validation_share and test_share must be from 0 to 1 together, got {shares}")
        if self.lines_per_part < 1:
            raise ValueError(f"lines_per_part must be at least 1, got {self.lines_per_part}")
        if self.sources.pictures_uri and self.renderer != "trdg":
            raise ValueError("pictures_uri needs --renderer trdg, got --renderer fast")
        self.engine()  # checks the rest

    def engine(self) -> ProduceOptions:
        return ProduceOptions(
            num_cpus=self.num_cpus, verify=self.verify, max_reject_fraction=self.max_reject_fraction
        )

"""The flags of render_lines."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from ocr_ray.cluster.produce_options import ProduceOptions, Verification
from ocr_ray.dataset.images import ImageConfig
from ocr_ray.dataset.lines import FIRST_NUMBERS
from ocr_ray.randomness import check_seed
from ocr_ray.render.fonts.find import DEFAULT_FONTS
from ocr_ray.render.style import Look, StyleConfig
from ocr_ray.textgen.sampler import TextConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """Where the material of the lines is."""

    corpus_uri: str | None = None
    """Folder of .txt files whose words are drawn at random; None: the word list of the package."""
    texts_uri: str | None = None
    """Dataset of labelled lines whose train split is drawn again by --sentence-share."""
    lengths_like: str | None = None
    """Dataset of lines whose lengths are followed instead of --min-length and --max-length."""
    pictures_uri: str | None = None
    """Folder of pictures of which --renderer trdg lays a part behind each line."""
    model: str | None = None
    """Hub id or folder of the model to be trained: characters that its tokenizer loses are left out."""
    focus: str | None = None
    """report.json of evaluate_trocr: half of the lines hold more of what was misread, for a dataset besides
    the others. None: all characters come as they come."""


Renderer = Literal["fast", "trdg"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderConfig:
    """Render lines of random words and arithmetic, in equal shares of every font."""

    out_uri: str
    """Where the dataset goes: an empty folder, or an earlier run of the same, which is completed or grown."""
    num_lines: int = 300_000
    """Lines in all; may grow from run to run. With few resources start at 100,000 to 300,000."""
    seed: int = 0
    """Line i depends on the seed, i, the corpus and the fonts, and on nothing else."""
    sources: Annotated[SourceConfig, tyro.conf.arg(name="")] = field(default_factory=SourceConfig)
    fonts: tuple[str, ...] = DEFAULT_FONTS
    """Families in any language, files, batang.ttc#2, folders (with a slash), or NAME=URI."""
    fonts_uri: str | None = None
    """Folder of font files that is looked in first, for machines without fonts."""
    holdout_fonts: tuple[str, ...] = ()
    """Fonts of the test split, which train and validation do not have."""
    validation_share: float = 0.01
    """Share of the lines that becomes the validation split."""
    test_share: float = 0.01
    """Share that becomes the test split where fonts or words are held out; there is none otherwise."""
    text: Annotated[TextConfig, tyro.conf.arg(name="")] = field(default_factory=TextConfig)
    style: Look = "pages"
    """pages: as varied as scanned pages; plain: trdg's defaults."""
    look: Annotated[StyleConfig, tyro.conf.arg(name="style")] = field(default_factory=StyleConfig)
    renderer: Renderer = "fast"
    """fast; trdg: the same geometry ten times slower, with its own noise or --pictures-uri behind."""
    image: ImageConfig = field(default_factory=ImageConfig)
    lines_per_part: int = 4096
    """Lines in one Parquet file, which is one task."""
    num_cpus: int | None = None
    """The most CPUs used; None: all of this machine or cluster."""
    max_reject_fraction: float = 0.01
    """The job fails if a greater share of the lines could not be drawn."""
    verify: Verification = "footers"
    """How parts of an earlier run are checked; rows: every row is hashed again."""

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

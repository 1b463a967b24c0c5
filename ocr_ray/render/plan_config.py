"""The flags of plan_dataset."""

import math
from dataclasses import dataclass, field
from fractions import Fraction

from ocr_ray.dataset.images import ImageConfig
from ocr_ray.dataset.lines import FIRST_NUMBERS
from ocr_ray.render.config import RenderConfig, SourceConfig
from ocr_ray.render.fonts.find import DEFAULT_FONTS


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanConfig:
    """Estimate how many context-free lines to render, and what that costs."""

    pretraining_lines: int = 6_000_000
    """Lines that the model was pre-trained on."""
    labelled_lines: int = 15_224
    """Labelled lines of your own pages."""
    ratios: tuple[float, ...] = (0.3, 0.5)
    """Ratios of context-free lines to lines with context, each above 0 and at most 1."""
    fonts: int = 3
    """Number of fonts; each gets the same number of lines."""
    num_lines: tuple[int, ...] = ()
    """Other numbers of lines to estimate for, such as 100000 300000."""
    pilot_lines: int = 500
    """Lines rendered as a pilot to measure rate and size, then discarded; at most a part; 0: no pilot."""
    corpus_uri: str | None = None
    """Corpus of the pilot. Default: the built-in word list."""
    font_names: tuple[str, ...] = DEFAULT_FONTS
    """Fonts of the pilot, as for --fonts of render_lines."""
    image: ImageConfig = field(default_factory=ImageConfig)
    lines_per_part: int = 4096
    """Lines per Parquet file; each file is rendered by one core."""
    machines: int = 4
    """Number of machines that render."""
    cores_per_machine: int = 16
    """Cores per machine, as fast as those here; count two cloud vCPUs (hyperthreads) as one."""
    efficiency: float = 0.85
    """Speed of a core when all cores are busy, as a share of its speed in the pilot."""
    machine_price: float | None = None
    """Price of a machine per hour, in any currency. Default: no cost is estimated."""

    def __post_init__(self) -> None:
        for name in ("pretraining_lines", "labelled_lines"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.pretraining_lines + self.labelled_lines == 0:
            raise ValueError("pretraining_lines and labelled_lines must not both be 0")
        if not self.ratios or not all(0 < ratio <= 1 for ratio in self.ratios):
            raise ValueError(f"ratios must be one or more shares above 0 and at most 1, got {self.ratios}")
        for name in ("fonts", "lines_per_part", "machines", "cores_per_machine"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.pilot_lines <= self.lines_per_part:
            raise ValueError(
                f"pilot_lines must be from 0 to lines_per_part, {self.lines_per_part}, got {self.pilot_lines}"
            )
        if not 0 < self.efficiency <= 1:
            raise ValueError(f"efficiency must be above 0 and at most 1, got {self.efficiency}")
        if self.machine_price is not None and not 0 <= self.machine_price < math.inf:
            raise ValueError(f"machine_price must be 0 or more, got {self.machine_price}")
        limit = FIRST_NUMBERS["validation"]
        for _, lines in self.list_targets():
            if not 1 <= lines < limit:
                raise ValueError(
                    f"a dataset must have from 1 to {limit - 1} lines, got {lines}; "
                    "change ratios, pretraining_lines or num_lines"
                )

    def list_targets(self) -> list[tuple[float, int]]:
        """Return the ratio and the number of context-free lines to estimate for, rounded half up."""
        contextual = self.pretraining_lines + self.labelled_lines
        # Fractions are exact: the float 0.3 times an integer can be just below a half.
        targets = [(r, int(Fraction(str(r)) * contextual + Fraction(1, 2))) for r in self.ratios]
        return targets + [(lines / contextual, lines) for lines in self.num_lines]

    def render_config(self, num_lines: int) -> RenderConfig:
        """Return the flags of render_lines for that many lines; all others have their defaults."""
        return RenderConfig(
            out_uri=".",
            num_lines=num_lines,
            sources=SourceConfig(corpus_uri=self.corpus_uri),
            fonts=self.font_names,
            image=self.image,
            lines_per_part=self.lines_per_part,
        )

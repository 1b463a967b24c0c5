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
    """How much the model has read with context, what share of that to add without, and on which machines."""

    pretraining_lines: int = 6_000_000
    """Lines the model was pre-trained on."""
    labelled_lines: int = 15_224
    """Labelled lines of your own pages."""
    ratios: tuple[float, ...] = (0.3, 0.5)
    """Context-free lines as shares of the lines with context, each above 0 and at most 1."""
    fonts: int = 3
    """Fonts that the lines are shared out over."""
    num_lines: tuple[int, ...] = ()
    """Further numbers of lines to reckon for, such as 100000 300000."""
    pilot_lines: int = 500
    """Lines rendered here for rate and size, at most one part, nothing kept; 0: none, counts alone."""
    corpus_uri: str | None = None
    """Corpus of the pilot; None: the word list of the package."""
    font_names: tuple[str, ...] = DEFAULT_FONTS
    """Fonts of the pilot, as --fonts of render_lines."""
    image: ImageConfig = field(default_factory=ImageConfig)
    lines_per_part: int = 4096
    """Lines in one Parquet file, which one core makes."""
    machines: int = 4
    """Machines that render."""
    cores_per_machine: int = 16
    """Cores of each, as fast as one here; a cloud's vCPU is mostly a hyperthread: count two as one core."""
    efficiency: float = 0.85
    """Rate of a core among many busy ones, as a share of its rate alone in the pilot."""
    machine_price: float | None = None
    """Price of a machine for an hour, in any currency; None: no cost is given."""

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
        for _, lines in self.wanted():
            if not 1 <= lines < limit:
                raise ValueError(
                    f"a dataset must have from 1 to {limit - 1} lines, got {lines}; "
                    "change ratios, pretraining_lines or num_lines"
                )

    def wanted(self) -> list[tuple[float, int]]:
        """Return each share of the lines with context that is planned for, and its lines, rounded half up."""
        contextual = self.pretraining_lines + self.labelled_lines
        # Exact: the float 0.3 times an integer may fall on the wrong side of a half.
        shares = [(r, int(Fraction(str(r)) * contextual + Fraction(1, 2))) for r in self.ratios]
        return shares + [(lines / contextual, lines) for lines in self.num_lines]

    def recipe(self, num_lines: int) -> RenderConfig:
        """Return the flags of render_lines for that many lines, with its defaults; nothing is written."""
        return RenderConfig(
            out_uri=".",
            num_lines=num_lines,
            sources=SourceConfig(corpus_uri=self.corpus_uri),
            fonts=self.font_names,
            image=self.image,
            lines_per_part=self.lines_per_part,
        )

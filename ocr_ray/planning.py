"""How many context-free lines to render: the rule of thumb that keeps a model's sense of context.

Words drawn at random have no context. Too few of them and the model goes on inventing the tails of lines; too
many and it stops using context where context helps. The rule: 30 to 50 % of the lines that do have context,
those of the pre-training and the labelled ones together.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

STARTER_LINES = (100_000, 300_000)
"""With few resources: begin in this range, look at what evaluation says, and grow the dataset in place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanConfig:
    """How much the model has read with context, and what share of that to add without."""

    pretraining_lines: int = 6_000_000
    """Lines the model was pre-trained on."""
    labelled_lines: int = 15_224
    """Labelled lines of your own pages."""
    ratios: tuple[float, ...] = (0.3, 0.5)
    """Context-free lines as shares of the lines with context, each above 0 and at most 1."""
    fonts: int = 3
    """Fonts that the lines are shared out over."""

    def __post_init__(self) -> None:
        for name in ("pretraining_lines", "labelled_lines"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.pretraining_lines + self.labelled_lines == 0:
            raise ValueError("pretraining_lines and labelled_lines must not both be 0")
        if not self.ratios or not all(0 < ratio <= 1 for ratio in self.ratios):
            raise ValueError(f"ratios must be one or more shares above 0 and at most 1, got {self.ratios}")
        if self.fonts < 1:
            raise ValueError(f"fonts must be at least 1, got {self.fonts}")


def plan_lines(config: PlanConfig) -> dict[str, Any]:
    """Return how many context-free lines to render for each ratio, in all (rounded half up) and per font.

    Lines per font are rounded up, so that no font falls short. `starter_lines` is a first dataset for few
    resources; `render_lines` grows it later without making a line again.
    """
    contextual = config.pretraining_lines + config.labelled_lines
    plans = []
    for ratio in config.ratios:
        # Exact: the float 0.3 times an integer may fall on the wrong side of a half.
        lines = int(Fraction(str(ratio)) * contextual + Fraction(1, 2))
        plans.append({"ratio": ratio, "lines": lines, "lines_per_font": -(-lines // config.fonts)})
    return {"contextual_lines": contextual, "plans": plans, "starter_lines": list(STARTER_LINES)}

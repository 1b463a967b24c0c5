"""Flags of quickstart."""

from dataclasses import dataclass

from ocr_ray.render.config import RenderConfig
from ocr_ray.render.fonts.find import Font
from ocr_ray.training.config import TINY, TrainConfig, TrainJobConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickstartConfig:
    """Render lines, draw and crop pages, train a small model on two workers, and evaluate it.

    A demonstration of the whole pipeline: the model is trained for too few steps to read well.
    """

    out_uri: str = "runs/quickstart"
    """Folder for lines/, pages/, crops/, runs/, models/ and evaluation/; a second run resumes there."""
    num_lines: int = 2_000
    """Lines to render."""
    num_pages: int = 60
    """Pages to draw, with labels in AI Hub's format."""
    epochs: int = 2
    """Number of training epochs."""
    num_workers: int = 2
    """Number of data-parallel training workers."""
    seed: int = 0
    """Seed of all lines, pages and initial weights."""
    dashboard: bool = True
    """Start Ray's dashboard too, if the job starts Ray itself; without it the start is faster."""

    def __post_init__(self) -> None:
        if self.num_pages < 1:
            raise ValueError(f"num_pages must be at least 1, got {self.num_pages}")
        plan_lines(self, "", [])  # checks the other flags
        plan_training(self, "")


def plan_lines(config: QuickstartConfig, out_uri: str, fonts: list[Font]) -> RenderConfig:
    """Return the configuration of the rendering; parts are small, so that every CPU gets several."""
    return RenderConfig(
        out_uri=f"{out_uri}/lines",
        num_lines=config.num_lines,
        seed=config.seed,
        fonts=tuple(font.name for font in fonts),
        validation_share=0.05,
        lines_per_part=256,
    )


def plan_training(config: QuickstartConfig, out_uri: str) -> TrainJobConfig:
    """Return the configuration of the training; random weights need a higher learning rate."""
    return TrainJobConfig(
        lines_uri=(f"{out_uri}/lines", f"{out_uri}/crops"),
        model=TINY,
        run_name="quickstart",
        runs_uri=f"{out_uri}/runs",
        models_uri=f"{out_uri}/models",
        num_workers=config.num_workers,
        train=TrainConfig(epochs=config.epochs, lr=5e-4, seed=config.seed),
    )

"""Flags of quickstart."""

from dataclasses import dataclass, replace

from ocr_ray.experiment.arms import Added
from ocr_ray.experiment.config import MODEL, ExperimentConfig, default_training

ADDED: Added = "words_spliced"
RATIO = 0.5
"""The lines that the second model is trained on in addition, and how many for each line of pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickstartConfig:
    """Every step on a small scale: train on pages alone, and on context-free lines too, and compare both.

    Both start from the same model and take the same steps.
    """

    out_uri: str = "runs/quickstart"
    """Folder for data/, runs/, models/, evaluation/ and report.html; a second run resumes there."""
    model: str = MODEL
    """Model that both start from: a folder, a hub id, or a value that train_trocr accepts."""
    num_lines: int = 2_000
    """Lines of words to render, and as many to splice from words of pages."""
    num_pages: int = 400
    """Pages to draw, with labels in AI Hub's format."""
    lines_per_epoch: int = 10_000
    """Lines of an epoch."""
    epochs: int = 1
    """Number of training epochs."""
    num_workers: int = 2
    """Number of data-parallel training workers."""
    seed: int = 0
    """Seed of all lines, pages and of training."""
    dashboard: bool = True
    """Start Ray's dashboard too, if the job starts Ray itself; without it the start is faster."""

    def __post_init__(self) -> None:
        plan_experiment(self)  # checks the flags


def plan_experiment(config: QuickstartConfig) -> ExperimentConfig:
    """Return the experiment of two arms and one seed."""
    train = replace(
        default_training(),
        epochs=config.epochs,
        lines_per_epoch=config.lines_per_epoch,
        lr=3e-4,
        max_grad_norm=1.0,
        max_generated_lines=32,
        seed=config.seed,
    )
    return ExperimentConfig(
        out_uri=config.out_uri,
        model=config.model,
        added=(ADDED,),
        ratios=(RATIO,),
        num_seeds=1,
        num_pages=config.num_pages,
        num_box_pages=60,
        num_lines=config.num_lines,
        num_workers=config.num_workers,
        dashboard=config.dashboard,
        train=train,
    )

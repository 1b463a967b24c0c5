"""The whole road on a small scale: lines, pages, crops, a model, its evaluation."""

import logging
import os
from dataclasses import asdict, dataclass
from typing import Any

from ocr_ray.cluster.session import ray_session
from ocr_ray.dataset.plan import PLAN, check_reserved
from ocr_ray.evaluation.job import EvaluationConfig, evaluate_lines
from ocr_ray.pages.crop_job import CropConfig, crop_pages
from ocr_ray.pages.synthetic.pages import write_pages
from ocr_ray.render.fonts.find import DEFAULT_FONTS, Font, find_available_fonts
from ocr_ray.render.job import RenderConfig, render_lines
from ocr_ray.storage.location import locate, write_json
from ocr_ray.training.config import TrainConfig
from ocr_ray.training.job import TrainJobConfig, train_trocr
from ocr_ray.training.setup import TINY

log = logging.getLogger(__name__)

PAGE_FONT = "맑은 고딕"
"""The pages of AI Hub are set in a gothic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickstartConfig:
    """Render lines, draw and crop pages, train a small model over two workers, evaluate it.

    It trains on few lines for few steps to show the road, not to make a model that reads.
    """

    out_uri: str = "runs/quickstart"
    """Where lines/, pages/, crops/, runs/, models/ and evaluation/ go; a second run makes what is missing."""
    num_lines: int = 2_000
    """Rendered lines."""
    num_pages: int = 60
    """Pages drawn in AI Hub's format."""
    epochs: int = 2
    """Rounds over all lines."""
    num_workers: int = 2
    """Data-parallel training workers."""
    seed: int = 0
    """Decides every line, page and weight."""

    def __post_init__(self) -> None:
        if self.num_pages < 1:
            raise ValueError(f"num_pages must be at least 1, got {self.num_pages}")
        plan_lines(self, "", [])  # checks the other flags
        plan_training(self, "")


def run_quickstart(config: QuickstartConfig) -> dict[str, Any]:
    """Make everything below `out_uri`; return what was made and where."""
    out = locate(config.out_uri)
    fonts = find_available_fonts(DEFAULT_FONTS)
    plan = {**asdict(config), "out_uri": "", "fonts": [font.name for font in fonts]}
    check_reserved(out, plan, growing="")
    write_json(out / PLAN, {"config": plan})
    with ray_session(num_cpus=max(os.cpu_count() or 1, config.num_workers), writes=[out]):
        log.info("1 of 5: rendering %d lines", config.num_lines)
        lines = render_lines(plan_lines(config, out.uri, fonts))
        log.info("2 of 5: drawing %d pages", config.num_pages)
        font = next((font for font in fonts if font.name == PAGE_FONT), fonts[0])
        write_pages(
            out / "pages",
            num_pages=config.num_pages,
            seed=config.seed,
            font_bytes=font.content,
            font_index=font.face,
        )
        log.info("3 of 5: cropping the pages")
        crops = crop_pages(
            CropConfig(pages_uri=f"{out.uri}/pages", out_uri=f"{out.uri}/crops", seed=config.seed)
        )
        log.info("4 of 5: training a small model; too few lines and steps for it to read")
        training = train_trocr(plan_training(config, out.uri))
        log.info("5 of 5: evaluating best_ocr")
        evaluation = evaluate_lines(
            EvaluationConfig(
                model_uri=f"{out.uri}/models/best_ocr",
                lines_uri=(f"{out.uri}/lines", f"{out.uri}/crops"),
                out_uri=f"{out.uri}/evaluation",
            )
        )
    return {
        "out_uri": out.uri,
        "lines": {"rendered": lines["lines"], "cropped": crops["lines"]},
        "by_font": lines["by_font"],
        "models": [training["best_ocr"]["uri"], training["trained_ocr"]["uri"]],
        "report": evaluation["report"],
        "cer": evaluation["overall"]["cer"],
        "note": "a demonstration: trained on too few lines and steps to read",
    }


def plan_lines(config: QuickstartConfig, out_uri: str, fonts: list[Font]) -> RenderConfig:
    """Return what is rendered: parts small enough for every CPU to have some."""
    return RenderConfig(
        out_uri=f"{out_uri}/lines",
        num_lines=config.num_lines,
        seed=config.seed,
        fonts=tuple(font.name for font in fonts),
        validation_share=0.05,
        lines_per_part=256,
    )


def plan_training(config: QuickstartConfig, out_uri: str) -> TrainJobConfig:
    """Return what is trained: random weights need a greater learning rate than fine-tuning."""
    return TrainJobConfig(
        lines_uri=(f"{out_uri}/lines", f"{out_uri}/crops"),
        model=TINY,
        run_name="quickstart",
        runs_uri=f"{out_uri}/runs",
        models_uri=f"{out_uri}/models",
        num_workers=config.num_workers,
        train=TrainConfig(epochs=config.epochs, lr=5e-4, seed=config.seed),
    )

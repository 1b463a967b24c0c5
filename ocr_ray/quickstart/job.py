"""The job quickstart: lines, pages, crops, a model and its evaluation, end to end on a small scale."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from ocr_ray.cluster.early_start import early_ray
from ocr_ray.dataset.plan import PLAN, check_reserved
from ocr_ray.evaluation.config import EvaluationConfig
from ocr_ray.evaluation.job import evaluate_lines
from ocr_ray.evaluation.report import REPORT
from ocr_ray.pages.config import CropConfig
from ocr_ray.pages.crop_job import crop_pages
from ocr_ray.pages.synthetic.pages import write_pages
from ocr_ray.quickstart.config import QuickstartConfig, plan_lines, plan_training
from ocr_ray.render.fonts.find import DEFAULT_FONTS, find_available_fonts
from ocr_ray.render.job import render_lines
from ocr_ray.storage.location import exists, locate, write_json
from ocr_ray.training.finished import train_unless_finished

log = logging.getLogger(__name__)

PAGE_FONT = "맑은 고딕"
"""Pages of AI Hub are printed in a sans serif."""


@contextmanager
def without_warnings_of_real_runs() -> Iterator[None]:
    """Leave out the warnings about mixture and incomplete predictions, expected of so small a run."""
    loggers = [logging.getLogger(name) for name in ("ocr_ray.training.job", "ocr_ray.evaluation.job")]
    for logger in loggers:
        logger.addFilter(_is_no_warning)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(_is_no_warning)


def _is_no_warning(record: logging.LogRecord) -> bool:
    return record.levelno != logging.WARNING


def run_quickstart(config: QuickstartConfig) -> dict[str, Any]:
    """Make all datasets and models under `out_uri`; return their counts and locations."""
    out = locate(config.out_uri)
    fonts = find_available_fonts(DEFAULT_FONTS)
    plan = {**asdict(config), "out_uri": "", "fonts": [font.name for font in fonts]}
    del plan["dashboard"]  # no output depends on it
    check_reserved(out, plan, growing="")
    write_json(out / PLAN, {"config": plan})
    num_cpus = max(os.cpu_count() or 1, config.num_workers)
    with (
        without_warnings_of_real_runs(),
        early_ray(num_cpus=num_cpus, dashboard=config.dashboard, unless=exists(out / "evaluation" / REPORT)),
    ):
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
            font_axes=[value for _, value in font.axes],
        )
        log.info("3 of 5: cropping the pages")
        crops = crop_pages(
            CropConfig(pages_uri=f"{out.uri}/pages", out_uri=f"{out.uri}/crops", seed=config.seed)
        )
        log.info("4 of 5: training a small model, for too few steps to read well")
        training = train_unless_finished(plan_training(config, out.uri))
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
        "note": "a demonstration: the model was trained for too few steps to read well",
    }

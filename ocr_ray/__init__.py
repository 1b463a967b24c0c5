"""Data, training and evaluation for TrOCR models that read printed Korean maths, with Ray.

The names below are imported when they are first used, so that `import ocr_ray` is light. Every job is a function
of its configuration, e.g. `render_lines(RenderConfig(out_uri="data/lines", num_lines=1000))`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ocr_ray.audit.config import AuditConfig
    from ocr_ray.audit.job import audit_lines
    from ocr_ray.cluster.open_lines import as_ray_dataset
    from ocr_ray.dataset.open_lines import as_datasets, open_image, open_lines
    from ocr_ray.evaluation.config import EvaluationConfig
    from ocr_ray.evaluation.job import evaluate_lines
    from ocr_ray.metrics import evaluate_pairs
    from ocr_ray.model.recognizer import load_recognizer
    from ocr_ray.pages.crop_config import CropConfig
    from ocr_ray.pages.crop_job import crop_pages
    from ocr_ray.render.config import RenderConfig
    from ocr_ray.render.job import render_lines
    from ocr_ray.render.one_line import render_line
    from ocr_ray.render.plan_config import PlanConfig
    from ocr_ray.render.plan_job import plan_dataset
    from ocr_ray.training.config import TrainJobConfig
    from ocr_ray.training.job import train_trocr

_MODULES = {
    "AuditConfig": "audit.config",
    "CropConfig": "pages.crop_config",
    "EvaluationConfig": "evaluation.config",
    "PlanConfig": "render.plan_config",
    "RenderConfig": "render.config",
    "TrainJobConfig": "training.config",
    "as_datasets": "dataset.open_lines",
    "as_ray_dataset": "cluster.open_lines",
    "audit_lines": "audit.job",
    "crop_pages": "pages.crop_job",
    "evaluate_lines": "evaluation.job",
    "evaluate_pairs": "metrics",
    "load_recognizer": "model.recognizer",
    "open_image": "dataset.open_lines",
    "open_lines": "dataset.open_lines",
    "plan_dataset": "render.plan_job",
    "render_line": "render.one_line",
    "render_lines": "render.job",
    "train_trocr": "training.job",
}
__all__ = [
    "AuditConfig",
    "CropConfig",
    "EvaluationConfig",
    "PlanConfig",
    "RenderConfig",
    "TrainJobConfig",
    "as_datasets",
    "as_ray_dataset",
    "audit_lines",
    "crop_pages",
    "evaluate_lines",
    "evaluate_pairs",
    "load_recognizer",
    "open_image",
    "open_lines",
    "plan_dataset",
    "render_line",
    "render_lines",
    "train_trocr",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

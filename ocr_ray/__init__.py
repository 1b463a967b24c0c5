"""Data, training and evaluation for TrOCR models that read printed Korean maths, with Ray.

The names below are imported when they are first used, so that `import ocr_ray` is light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ocr_ray.cluster.ray_dataset import as_ray_dataset
    from ocr_ray.dataset.open_lines import as_datasets, open_image, open_lines
    from ocr_ray.metrics import evaluate_pairs
    from ocr_ray.model.recognizer import load_recognizer
    from ocr_ray.reading.read import read
    from ocr_ray.render.config import RenderConfig
    from ocr_ray.render.job import render_lines
    from ocr_ray.render.one_line import render_line
    from ocr_ray.render.plan_config import PlanConfig
    from ocr_ray.render.plan_job import plan_dataset

_MODULES = {
    "PlanConfig": "render.plan_config",
    "RenderConfig": "render.config",
    "as_datasets": "dataset.open_lines",
    "as_ray_dataset": "cluster.ray_dataset",
    "evaluate_pairs": "metrics",
    "load_recognizer": "model.recognizer",
    "open_image": "dataset.open_lines",
    "open_lines": "dataset.open_lines",
    "plan_dataset": "render.plan_job",
    "read": "reading.read",
    "render_line": "render.one_line",
    "render_lines": "render.job",
}
__all__ = [
    "PlanConfig",
    "RenderConfig",
    "as_datasets",
    "as_ray_dataset",
    "evaluate_pairs",
    "load_recognizer",
    "open_image",
    "open_lines",
    "plan_dataset",
    "read",
    "render_line",
    "render_lines",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

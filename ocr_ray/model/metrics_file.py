"""The metrics.json of a trained model."""

from pathlib import Path
from typing import Any, get_args

from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.errors import InputError
from ocr_ray.model.refusal import refused
from ocr_ray.storage.location import exists, locate, read_json

METRICS = "metrics.json"
LABEL_COLUMNS: tuple[LabelColumn, ...] = get_args(LabelColumn)


def read_label_column(model_folder: Path) -> LabelColumn:
    """Return the label column that a model was trained on, from its metrics.json; `text` if it has none.

    Raises:
        InputError: metrics.json names another column.
    """
    metrics = read_metrics(model_folder)
    for label_column in LABEL_COLUMNS:
        if metrics.get("label_column", "text") == label_column:
            return label_column
    raise InputError(
        f"label_column in {model_folder / METRICS} must be one of {', '.join(LABEL_COLUMNS)}, "
        f"got {metrics['label_column']!r}"
    )


def read_metrics(model_folder: Path) -> dict[str, Any]:
    """Return the content of a model's metrics.json, empty if it has none.

    Raises:
        InputError: it is not a JSON object.
    """
    location = locate(str(model_folder / METRICS))
    metrics = {}
    if exists(location):
        with refused(f"{location} must hold a JSON object"):
            metrics = read_json(location)
    if not isinstance(metrics, dict):
        raise InputError(f"{location} must be a JSON object, got {type(metrics).__name__}")
    return metrics

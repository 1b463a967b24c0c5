"""What an evaluation reads: the parts of datasets, and the column that a model was trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ocr_ray.errors import InputError
from ocr_ray.lines import LabelColumn
from ocr_ray.storage import Location, exists, list_files, locate, read_json

LABEL_COLUMNS: tuple[LabelColumn, ...] = get_args(LabelColumn)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinesPart:
    """A part file whose lines are to be read."""

    dataset: str
    location: Location


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationInputs:
    """All that an evaluation reads, and where it writes; resolved before any work."""

    model: Location | str
    """A folder, or a hub id."""
    label_column: LabelColumn
    """The column that the model was trained on, which holds the truth."""
    datasets: dict[str, Location]
    parts: tuple[LinesPart, ...]
    """In the order of their predictions' names."""
    out: Location
    plan: dict[str, Any]
    """What makes this evaluation itself."""

    @property
    def reads(self) -> list[Location]:
        """The folders that every node must see to read from."""
        models = [] if isinstance(self.model, str) else [self.model]
        return [*models, *self.datasets.values()]


def find_parts(dataset: str, place: Location, split: str) -> list[LinesPart]:
    """Return the part files of a dataset's split, in order.

    Raises:
        InputError: there are none.
    """
    names = [name for name in list_files(place / split, recursive=False) if name.endswith(".parquet")]
    if not names:
        raise InputError(
            f"--lines-uri must hold a split {split!r}, found no .parquet files in {place / split}"
        )
    return [LinesPart(dataset=dataset, location=place / split / name) for name in names]


def read_label_column(model_folder: Path) -> LabelColumn:
    """Return the column that a model was trained on, after its metrics.json; `text` where it has none.

    Raises:
        InputError: metrics.json names another column.
    """
    location = locate(str(model_folder / "metrics.json"))
    metrics = read_json(location) if exists(location) else {}
    for label_column in LABEL_COLUMNS:
        if metrics.get("label_column", "text") == label_column:
            return label_column
    raise InputError(
        f"label_column in {location} must be one of {', '.join(LABEL_COLUMNS)}, "
        f"got {metrics['label_column']!r}"
    )

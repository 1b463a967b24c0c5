"""Texts and text lengths of an existing dataset, for rendering lines like them."""

from collections import Counter
from collections.abc import Iterator

from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.dataset.manifest import require_datasets
from ocr_ray.dataset.stored_rows import iter_groups
from ocr_ray.errors import InputError
from ocr_ray.storage.location import Location, list_files

SPLIT = "train"
"""The split that is read: texts of the other splits must not get into training data."""
MAX_LENGTH = 200


def require_lines(uri: str, flag: str) -> Location:
    """Return the location of a complete dataset of lines; raises InputError otherwise."""
    (dataset,) = require_datasets([uri], flag).values()
    return dataset


def read_texts(dataset: Location) -> tuple[str, ...]:
    """Return the distinct texts of a dataset's train split, sorted."""
    return tuple(sorted(set(iter_texts(dataset))))


def read_lengths(dataset: Location) -> tuple[tuple[int, float], ...]:
    """Return (length, number of lines) of the train split, up to MAX_LENGTH characters, sorted by length.

    Raises:
        InputError: there are no lines.
    """
    lengths = Counter(len(text) for text in iter_texts(dataset))
    counts = tuple((length, float(lengths[length])) for length in sorted(lengths) if length <= MAX_LENGTH)
    if not counts:
        raise InputError(f"--lengths-like must have lines in {SPLIT}/, {dataset} has none")
    return counts


def iter_texts(dataset: Location, column: LabelColumn = "text") -> Iterator[str]:
    """Yield the text of each line of a dataset's train split, in the order of its parts."""
    for name in list_files(dataset / SPLIT):
        if name.endswith(".parquet"):
            for table in iter_groups(dataset / SPLIT / name, [column]):
                yield from table[column].to_pylist()

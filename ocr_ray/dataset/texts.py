"""What the lines of a dataset say: running text to be drawn again, and lengths to be followed."""

from collections import Counter
from collections.abc import Iterator

import pyarrow.parquet as pq

from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.dataset.manifest import require_datasets
from ocr_ray.errors import InputError
from ocr_ray.storage.location import Location, list_files, open_file

SPLIT = "train"
"""The split that is read: what a model is judged by must not come back in what it learns from."""
MAX_LENGTH = 200


def require_lines(uri: str, flag: str) -> Location:
    """Return where one complete dataset of lines is; InputError otherwise."""
    (place,) = require_datasets([uri], flag).values()
    return place


def read_texts(place: Location) -> tuple[str, ...]:
    """Return the distinct texts of a dataset's train split, sorted."""
    return tuple(sorted(set(iter_texts(place))))


def read_lengths(place: Location) -> tuple[tuple[int, float], ...]:
    """Return how many lines of the train split have each length up to MAX_LENGTH characters, sorted.

    Raises:
        InputError: there are none.
    """
    lengths = Counter(len(text) for text in iter_texts(place))
    counts = tuple((length, float(lengths[length])) for length in sorted(lengths) if length <= MAX_LENGTH)
    if not counts:
        raise InputError(f"--lengths-like must have lines in {SPLIT}/, {place} has none")
    return counts


def iter_texts(place: Location, column: LabelColumn = "text") -> Iterator[str]:
    """Yield what each line of a dataset's train split says, in the order of its parts."""
    for name in list_files(place / SPLIT):
        if name.endswith(".parquet"):
            with open_file(place / SPLIT / name) as file:
                texts = pq.read_table(file, columns=[column])[column].to_pylist()
            yield from texts

"""Where the lines of a split lie, and the order of an epoch."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from ocr_ray.randomness import keyed_generator
from ocr_ray.storage import Location, list_files

WINDOW_ROW_GROUPS = 32
FOOTER_THREADS = 16


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Where some consecutive lines of a dataset lie."""

    part: Location
    index: int
    num_lines: int
    footer: Any
    """The part's `pyarrow.parquet.FileMetaData`, kept so that it is read once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One split of a dataset, as its Parquet footers describe it."""

    name: str
    """Of the dataset."""
    row_groups: tuple[RowGroup, ...]
    """Those that have lines, in the order of their parts."""

    @property
    def num_lines(self) -> int:
        return sum(group.num_lines for group in self.row_groups)


def open_split(name: str, place: Location) -> Split:
    """Return where the lines of a split's folder lie, from the footers of its parts; none without parts."""
    parts = [place / path for path in list_files(place, recursive=False) if path.endswith(".parquet")]
    with ThreadPoolExecutor(FOOTER_THREADS) as pool:
        footers = list(pool.map(_read_footer, parts))
    row_groups = [
        RowGroup(part, index, footer.row_group(index).num_rows, footer)
        for part, footer in zip(parts, footers, strict=True)
        for index in range(footer.num_row_groups)
    ]
    return Split(name=name, row_groups=tuple(group for group in row_groups if group.num_lines))


def _read_footer(part: Location) -> Any:
    with part.filesystem.open_input_file(part.path) as file:
        return pq.read_metadata(file)


def iter_windows(
    row_counts: Sequence[int], *, seed: int = 0, epoch: int | None = None
) -> Iterator[npt.NDArray[np.int64]]:
    """Give the lines of an epoch as (row group, row) pairs, shape (lines, 2), window by window.

    Row groups are permuted, then taken 32 at a time, and the lines of such a window are permuted. Without an
    epoch everything stays in its order.
    """
    groups = np.arange(len(row_counts))
    if epoch is not None:
        groups = keyed_generator(seed, "row groups", epoch).permutation(groups)
    for first in range(0, len(groups), WINDOW_ROW_GROUPS):
        window = groups[first : first + WINDOW_ROW_GROUPS]
        counts = [row_counts[group] for group in window]
        rows = np.concatenate([np.arange(count) for count in counts])
        lines = np.stack([np.repeat(window, counts), rows], axis=1)
        if epoch is not None:
            lines = keyed_generator(seed, f"window of epoch {epoch}", first).permutation(lines)
        yield lines


def read_columns(group: RowGroup, columns: list[str]) -> Any:
    """Return some columns of a row group as a table; `image.bytes` names a field of a struct."""
    with group.part.filesystem.open_input_file(group.part.path) as file:
        part = pq.ParquetFile(file, metadata=group.footer, pre_buffer=True)
        return part.read_row_group(group.index, columns=columns, use_threads=False)

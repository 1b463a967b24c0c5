"""The row groups of a split, and reading them in background threads before their lines are used."""

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

import numpy as np

from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.dataset.stored_rows import read_footers, read_group
from ocr_ray.storage.location import Location, list_files


@dataclass(frozen=True, slots=True, kw_only=True)
class LineDataset:
    """A dataset of lines with its splits."""

    name: str
    """The name in metrics and messages."""
    folder: Location


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group of a Parquet part."""

    part: Location
    index: int
    num_lines: int
    footer: Any
    """The part's `pyarrow.parquet.FileMetaData`, kept so that it is read only once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One split of a dataset, as its Parquet footers describe it."""

    name: str
    """The name of the dataset."""
    row_groups: tuple[RowGroup, ...]
    """The row groups that have lines, in the order of their parts."""

    @property
    def num_lines(self) -> int:
        return sum(group.num_lines for group in self.row_groups)


def open_split(name: str, folder: Location) -> Split:
    """Return the split whose parts lie in a folder, without row groups where there are no parts."""
    parts = [folder / path for path in list_files(folder, recursive=False) if path.endswith(".parquet")]
    row_groups = [
        RowGroup(part, index, footer.row_group(index).num_rows, footer)
        for part, footer in zip(parts, read_footers(parts), strict=True)
        for index in range(footer.num_row_groups)
    ]
    return Split(name=name, row_groups=tuple(group for group in row_groups if group.num_lines))


def read_columns(group: RowGroup, columns: list[str]) -> Any:
    """Return columns of a row group as a table, checked; `image.bytes` names a field of a struct."""
    return read_group(group.part, group.index, columns, footer=group.footer)


@dataclass(frozen=True, slots=True)
class StoredLine:
    """The columns of a line that training uses, the image still encoded."""

    line_id: str
    image_bytes: bytes
    text: str
    """The value of the label column."""
    source: str
    width_px: int
    """Before the line was resized, like `height_px`."""
    height_px: int


def read_lines(group: RowGroup, label_column: LabelColumn) -> list[StoredLine | None]:
    """Return the lines of a row group."""
    names = ["line_id", label_column, "source", "width_px", "height_px"]
    table = read_columns(group, ["image.bytes", *names])
    images = table["image"].combine_chunks().field("bytes").to_pylist()
    line_ids, *others = (table[name].to_pylist() for name in names)
    return [
        StoredLine(line_ids[row], image, *(values[row] for values in others))
        for row, image in enumerate(images)
    ]


class PendingLine:
    """A line of a row group that is being read.

    It can be taken once, unless its row group is kept: a line that was taken holds no memory.
    """

    __slots__ = ("is_kept", "lines", "row")

    def __init__(self, lines: Future[list[StoredLine | None]], row: int, *, is_kept: bool) -> None:
        self.lines = lines
        self.row = row
        self.is_kept = is_kept

    def take(self) -> StoredLine:
        """Wait for the row group and return the line; raises the errors of the read."""
        lines = self.lines.result()
        line = lines[self.row]
        assert line is not None
        if not self.is_kept:
            lines[self.row] = None
        return line


class _HeldRowGroup:
    """A row group in memory or being read, and which of its lines were requested."""

    __slots__ = ("is_requested", "lines", "num_left")

    def __init__(self, lines: Future[list[StoredLine | None]], num_lines: int) -> None:
        self.lines = lines
        self.is_requested = np.zeros(num_lines, dtype=np.bool_)
        self.num_left = num_lines


class RowGroupReader:
    """Reads a row group in the threads of a pool when one of its lines is first requested.

    A row group is read again when one of its lines is requested again. At most `max_row_groups` are held; the
    least recently requested one is dropped. The row groups of the splits in `kept` are read once and all
    held.
    """

    def __init__(
        self,
        splits: Sequence[Split],
        pool: Executor,
        *,
        label_column: LabelColumn,
        max_row_groups: int,
        kept: frozenset[str] = frozenset(),
    ) -> None:
        self.groups = [split.row_groups for split in splits]
        self.is_kept = [split.name in kept for split in splits]
        self.pool = pool
        self.label_column: LabelColumn = label_column
        self.max_row_groups = max_row_groups
        self.held: OrderedDict[tuple[int, int], _HeldRowGroup] = OrderedDict()
        self.kept: dict[tuple[int, int], Future[list[StoredLine | None]]] = {}
        self.num_reads = 0

    def request(self, split: int, group: int, row: int) -> PendingLine:
        """Return a line to be taken later; its row group is read in the background."""
        key = split, group
        if self.is_kept[split]:
            if key not in self.kept:
                self.kept[key] = self._read(key)
            return PendingLine(self.kept[key], row, is_kept=True)
        held = self.held.get(key)
        if held is None or held.is_requested[row]:
            held = _HeldRowGroup(self._read(key), self.groups[split][group].num_lines)
            self.held[key] = held
            if len(self.held) > self.max_row_groups:
                self.held.popitem(last=False)
        self.held.move_to_end(key)
        held.is_requested[row] = True
        held.num_left -= 1
        if not held.num_left:
            del self.held[key]
        return PendingLine(held.lines, row, is_kept=False)

    def _read(self, key: tuple[int, int]) -> Future[list[StoredLine | None]]:
        self.num_reads += 1
        return self.pool.submit(read_lines, self.groups[key[0]][key[1]], self.label_column)

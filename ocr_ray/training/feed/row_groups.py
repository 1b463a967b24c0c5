"""Where the lines of a split lie, and reading them row group by row group, ahead of their use."""

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.storage.location import Location, list_files, open_file

FOOTER_THREADS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LineDataset:
    """A dataset of lines with its splits."""

    name: str
    """What metrics and messages call it."""
    place: Location


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
    with open_file(part) as file:
        return pq.read_metadata(file)


def read_columns(group: RowGroup, columns: list[str]) -> Any:
    """Return some columns of a row group as a table; `image.bytes` names a field of a struct."""
    with open_file(group.part) as file:
        part = pq.ParquetFile(file, metadata=group.footer, pre_buffer=True)
        return part.read_row_group(group.index, columns=columns, use_threads=False)


@dataclass(frozen=True, slots=True)
class StoredLine:
    """What training needs of a line, its image still encoded."""

    line_id: str
    image_bytes: bytes
    text: str
    """Of the label column."""
    source: str
    width_px: int
    """Before the line was resized."""
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


class StoredLineRef:
    """A line that is being read; taken out once, so that its image is held no longer."""

    __slots__ = ("is_kept", "lines", "row")

    def __init__(self, lines: Future[list[StoredLine | None]], row: int, *, is_kept: bool) -> None:
        self.lines = lines
        self.row = row
        self.is_kept = is_kept

    def take(self) -> StoredLine:
        """Return the line, waiting until its row group is read; raises what reading raised."""
        lines = self.lines.result()
        line = lines[self.row]
        assert line is not None
        if not self.is_kept:
            lines[self.row] = None
        return line


class _Reading:
    """A row group that is read or being read, and which of its lines are asked for already."""

    __slots__ = ("is_asked", "lines", "num_left")

    def __init__(self, lines: Future[list[StoredLine | None]], num_lines: int) -> None:
        self.lines = lines
        self.is_asked = np.zeros(num_lines, dtype=np.bool_)
        self.num_left = num_lines


class Reader:
    """Reads row groups in the threads of a pool when a line of them is first asked for.

    A line that is asked for again is read again. At most `max_row_groups` are held, the one that was asked
    longest ago is dropped; those of the splits in `kept` are all held, and read once.
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
        self.held: OrderedDict[tuple[int, int], _Reading] = OrderedDict()
        self.kept: dict[tuple[int, int], Future[list[StoredLine | None]]] = {}
        self.num_reads = 0

    def ask(self, split: int, group: int, row: int) -> StoredLineRef:
        """Return a line that will be there."""
        key = split, group
        if self.is_kept[split]:
            if key not in self.kept:
                self.kept[key] = self._read(key)
            return StoredLineRef(self.kept[key], row, is_kept=True)
        reading = self.held.get(key)
        if reading is None or reading.is_asked[row]:
            reading = _Reading(self._read(key), self.groups[split][group].num_lines)
            self.held[key] = reading
            if len(self.held) > self.max_row_groups:
                self.held.popitem(last=False)
        self.held.move_to_end(key)
        reading.is_asked[row] = True
        reading.num_left -= 1
        if not reading.num_left:
            del self.held[key]
        return StoredLineRef(reading.lines, row, is_kept=False)

    def _read(self, key: tuple[int, int]) -> Future[list[StoredLine | None]]:
        self.num_reads += 1
        return self.pool.submit(read_lines, self.groups[key[0]][key[1]], self.label_column)

"""The files of a dataset: its plan, and its parts.

plan.json is written first and owns the names it lists; a part's existence is the commit of its rows and
rejects.
"""

import io
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import accumulate, groupby

import pyarrow as pa
import pyarrow.parquet as pq

from ocr_ray.dataset.lines import (
    SCHEMA,
    PartSpec,
    PartStats,
    Reject,
    Row,
    RowSummary,
    TextLine,
    lines_to_table,
    rejects_to_table,
    table_to_lines,
)
from ocr_ray.dataset.plan import Plan
from ocr_ray.dataset.text_statistics import TextStatistics
from ocr_ray.randomness import keyed_generator
from ocr_ray.storage.location import (
    Location,
    list_files,
    open_file,
    read_bytes,
    write_bytes,
)

ROWS_PER_GROUP = 256
DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException)
"""What reading a damaged Parquet file or its footer raises."""
FOOTERS_AT_ONCE = 16


def find_done(out: Location, plan: Plan) -> Iterator[tuple[PartStats, TextStatistics]]:
    """Yield what the footers say of each part of a plan that is there and whole, few at a time."""
    present, sha256 = list_files(out), plan.config_sha256
    candidates = [part for part in plan.parts if part.path in present and part.rejects_path in present]
    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
        for start in range(0, len(candidates), FOOTERS_AT_ONCE):
            some = candidates[start : start + FOOTERS_AT_ONCE]
            yield from filter(None, pool.map(lambda part: read_part_footer(out, part, sha256), some))


def read_part_footer(
    out: Location, spec: PartSpec, config_sha256: str
) -> tuple[PartStats, TextStatistics] | None:
    """Return what a part's footer says, or None if it is missing, broken, or of another plan or schema."""
    try:
        with open_file(out / spec.path) as file:
            size_bytes, footer = file.size(), pq.read_metadata(file)
        values = footer.metadata or {}
        if values.get(b"config_sha256") != config_sha256.encode():
            return None
        if not footer.schema.to_arrow_schema().equals(SCHEMA):
            return None  # of an earlier version; all parts of a dataset must have the same columns
        stats = PartStats.from_json(values[b"part_stats"].decode())
        balance = TextStatistics.from_json(values[b"balance"].decode())
    except DAMAGE:
        return None
    if stats.spec != spec or not stats.rows == footer.num_rows == balance.lengths.total():
        return None
    return replace(stats, size_bytes=size_bytes), balance


def write_part(
    out: Location, spec: PartSpec, config_sha256: str, rows: Iterable[Row]
) -> tuple[PartStats, TextStatistics]:
    """Write a part's rejects, then the part, whose existence commits both; return what its footer says.

    `rows` are taken one by one and encoded 256 at a time: what is held is the encoded part and one group.
    """
    summary, balance, rejects = RowSummary(), TextStatistics(), []
    group: list[TextLine] = []
    sink = io.BytesIO()  # grows in place; Arrow's own buffer doubles and is copied as it grows
    with _open_writer(sink) as writer:
        for row in rows:
            summary.add(row)
            if isinstance(row, Reject):
                rejects.append(row)
            if not isinstance(row, TextLine):
                continue
            balance.add(row)
            group.append(row)
            if len(group) == ROWS_PER_GROUP:
                writer.write_table(lines_to_table(group))
                group.clear()
        stats = summary.to_stats(spec)
        if group:
            writer.write_table(lines_to_table(group))
        writer.add_key_value_metadata(
            {
                **SCHEMA.metadata,
                "config_sha256": config_sha256,
                "rows_sha256": stats.rows_sha256,
                "num_rejects": str(stats.num_rejects),
                "part_stats": stats.to_json(),
                "balance": balance.to_json(),
            }
        )
    content = sink.getbuffer()
    _write_rejects(out / spec.rejects_path, rejects)
    write_bytes(out / spec.path, content)
    return replace(stats, size_bytes=content.nbytes), balance


def _open_writer(sink: io.BytesIO) -> pq.ParquetWriter:
    """Return a writer of rows. Images are compressed already.

    With an Arrow schema stored in the file, readers would take its metadata for that of the footer, and not
    show what is known only once all rows are written.
    """
    return pq.ParquetWriter(
        sink,
        SCHEMA,
        compression={path: "none" if path == "image.bytes" else "zstd" for path in _leaf_paths(SCHEMA)},
        use_dictionary=["source", "font", "page_id"],
        store_schema=False,
    )


def _leaf_paths(fields: Iterable[pa.Field], prefix: str = "") -> Iterator[str]:
    """Yield the names that Parquet gives to the columns of a schema."""
    for field in fields:
        path = f"{prefix}{field.name}"
        kind = field.type
        if pa.types.is_list(kind):
            path, kind = f"{path}.list.element", kind.value_type
        if pa.types.is_struct(kind):
            yield from _leaf_paths(kind, f"{path}.")
        else:
            yield path


def _write_rejects(location: Location, rejects: Sequence[Reject]) -> None:
    sink = io.BytesIO()
    pq.write_table(rejects_to_table(rejects), sink)
    write_bytes(location, sink.getbuffer())


def rows_verify(out: Location, stats: PartStats, balance: TextStatistics) -> bool:
    """Return whether rows and rejects of a part are still what its footer says."""
    summary, counted = RowSummary(), TextStatistics(grades=balance.grades)
    try:
        rejects = pq.read_table(pa.BufferReader(read_bytes(out / stats.spec.rejects_path)))
        for reason in rejects["reason"].to_pylist():
            summary.add(Reject(reason=reason))
        part = pq.ParquetFile(pa.BufferReader(read_bytes(out / stats.spec.path)))
        for group in range(part.num_row_groups):
            for line in table_to_lines(part.read_row_group(group)):
                summary.add(line)
                counted.add(line)
    except DAMAGE:
        return False
    found = replace(summary.to_stats(stats.spec), size_bytes=stats.size_bytes, counted=stats.counted)
    return (found, counted) == (stats, balance)


def read_random_lines(out: Location, parts: Sequence[PartStats], *, key: str, number: int) -> list[TextLine]:
    """Return up to `number` different lines of a dataset in their order, chosen by `key`, a hex digest."""
    starts = [0, *accumulate(part.rows for part in parts)]
    random = keyed_generator(int(key[:15], 16), "random lines", 0)
    chosen = random.choice(starts[-1], min(number, starts[-1]), replace=False)
    rows: defaultdict[int, list[int]] = defaultdict(list)
    for line in sorted(chosen.tolist()):
        index = bisect_right(starts, line) - 1
        rows[index].append(line - starts[index])
    return [line for index, some in rows.items() for line in read_rows(out / parts[index].spec.path, some)]


def read_rows(location: Location, rows: Sequence[int]) -> list[TextLine]:
    """Return the lines in some rows, ascending, of a part; one row group is held at a time."""
    lines = []
    with open_file(location) as file:
        part = pq.ParquetFile(file, pre_buffer=True)
        sizes = [part.metadata.row_group(group).num_rows for group in range(part.num_row_groups)]
        starts = [0, *accumulate(sizes)]
        for group, some in groupby(rows, key=lambda row: bisect_right(starts, row) - 1):
            table = part.read_row_group(group, columns=SCHEMA.names)
            lines += table_to_lines(table.take([row - starts[group] for row in some]))
    return lines

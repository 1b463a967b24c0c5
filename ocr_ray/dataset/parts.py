"""The parts of a dataset: Parquet files of rows, with their statistics in the footer.

A part is written atomically after its rejects, so its existence commits both.
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
    PartRow,
    PartSpec,
    PartStats,
    Reject,
    RowSummary,
    TextLine,
    lines_to_table,
    rejects_to_table,
    table_to_lines,
)
from ocr_ray.dataset.plan import Plan
from ocr_ray.dataset.stored_rows import DAMAGE, NUM_FOOTER_THREADS, read_footer, read_group
from ocr_ray.dataset.text_statistics import TextStatistics
from ocr_ray.randomness import keyed_generator
from ocr_ray.storage.location import Location, list_files, open_file, read_bytes, write_bytes

ROWS_PER_GROUP = 256


def find_done(out: Location, plan: Plan) -> Iterator[tuple[PartStats, TextStatistics]]:
    """Yield the statistics of each finished part of a plan, from its footer."""
    present, sha256 = list_files(out), plan.config_sha256
    candidates = [part for part in plan.parts if part.path in present and part.rejects_path in present]
    with ThreadPoolExecutor(NUM_FOOTER_THREADS) as pool:
        for start in range(0, len(candidates), NUM_FOOTER_THREADS):
            batch = candidates[start : start + NUM_FOOTER_THREADS]
            yield from filter(None, pool.map(lambda part: read_part_footer(out, part, sha256), batch))


def read_part_footer(
    out: Location, spec: PartSpec, config_sha256: str
) -> tuple[PartStats, TextStatistics] | None:
    """Return the statistics in a part's footer; None if missing, damaged, or of another plan or schema."""
    try:
        with open_file(out / spec.path) as file:
            size_bytes, footer = file.size(), pq.read_metadata(file)
        values = footer.metadata or {}
        if values.get(b"config_sha256") != config_sha256.encode():
            return None
        if not footer.schema.to_arrow_schema().equals(SCHEMA):
            return None  # of an earlier version; all parts of a dataset must have the same columns
        stats = PartStats.from_json(values[b"part_stats"].decode())
        texts = TextStatistics.from_json(values[b"balance"].decode())
    except DAMAGE:
        return None
    if stats.spec != spec or not stats.rows == footer.num_rows == texts.lengths.total():
        return None
    return replace(stats, size_bytes=size_bytes), texts


def write_part(
    out: Location, spec: PartSpec, config_sha256: str, rows: Iterable[PartRow]
) -> tuple[PartStats, TextStatistics]:
    """Write the rejects of a part, then the part, and return the statistics in its footer.

    `rows` are encoded in groups of 256, so that memory holds the encoded part and one group.
    """
    summary, texts, rejects = RowSummary(), TextStatistics(), []
    group: list[TextLine] = []
    sink = io.BytesIO()  # grows in place, while a buffer of Arrow doubles and is copied
    with _open_writer(sink) as writer:
        for row in rows:
            summary.add(row)
            if isinstance(row, Reject):
                rejects.append(row)
            if not isinstance(row, TextLine):
                continue
            texts.add(row)
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
                "balance": texts.to_json(),
            }
        )
    content = sink.getbuffer()
    _write_rejects(out / spec.rejects_path, rejects)
    write_bytes(out / spec.path, content)
    return replace(stats, size_bytes=content.nbytes), texts


def _open_writer(sink: io.BytesIO) -> pq.ParquetWriter:
    """Return a writer of rows that does not compress images again.

    The file stores no Arrow schema: readers would show the metadata of that schema instead of the footer's,
    which is complete only after all rows are written.
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


def verify_rows(out: Location, stats: PartStats, texts: TextStatistics) -> bool:
    """Return whether rows and rejects of a part agree with the statistics in its footer."""
    summary, row_texts = RowSummary(), TextStatistics(grades=texts.grades)
    try:
        rejects = pq.read_table(pa.BufferReader(read_bytes(out / stats.spec.rejects_path)))
        for reason in rejects["reason"].to_pylist():
            summary.add(Reject(reason=reason))
        part = pq.ParquetFile(pa.BufferReader(read_bytes(out / stats.spec.path)))
        for group in range(part.num_row_groups):
            for line in table_to_lines(part.read_row_group(group)):
                summary.add(line)
                row_texts.add(line)
    except DAMAGE:
        return False
    row_stats = replace(summary.to_stats(stats.spec), size_bytes=stats.size_bytes, counted=stats.counted)
    return (row_stats, row_texts) == (stats, texts)


def read_random_lines(out: Location, parts: Sequence[PartStats], *, key: str, number: int) -> list[TextLine]:
    """Return up to `number` different random lines of a dataset, in order, seeded by `key`, a hex digest."""
    starts = [0, *accumulate(part.rows for part in parts)]
    random = keyed_generator(int(key[:15], 16), "random lines", 0)
    chosen = random.choice(starts[-1], min(number, starts[-1]), replace=False)
    rows: defaultdict[int, list[int]] = defaultdict(list)
    for position in sorted(chosen.tolist()):
        index = bisect_right(starts, position) - 1
        rows[index].append(position - starts[index])
    return [
        line for index, indices in rows.items() for line in read_rows(out / parts[index].spec.path, indices)
    ]


def read_rows(location: Location, rows: Sequence[int]) -> list[TextLine]:
    """Return the lines of a part at ascending row indices; one row group is held at a time."""
    lines = []
    footer = read_footer(location)
    starts = [0, *accumulate(footer.row_group(group).num_rows for group in range(footer.num_row_groups))]
    for group, indices in groupby(rows, key=lambda row: bisect_right(starts, row) - 1):
        table = read_group(location, group, footer=footer)
        lines += table_to_lines(table.take([row - starts[group] for row in indices]))
    return lines

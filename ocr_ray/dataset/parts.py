"""The files of a dataset: its plan, and its parts.

plan.json is written first and owns the names it lists; a part's existence is the commit of its rows and
rejects.
"""

import hashlib
import io
import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby
from typing import Any

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
from ocr_ray.dataset.text_statistics import Balance
from ocr_ray.errors import InputError
from ocr_ray.randomness import keyed_generator
from ocr_ray.storage.location import (
    PROBE,
    Location,
    check_writable,
    checked,
    delete_file,
    exists,
    list_files,
    open_file,
    read_bytes,
    read_json,
    write_bytes,
    write_json,
)

ROWS_PER_GROUP = 256
PLAN, MANIFEST, CARD, PICTURE = "plan.json", "manifest.json", "README.md", "lines.png"
DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException)
"""What reading a damaged Parquet file or its footer raises."""
GROWING_FIELD = "num_lines"
"""The one field of a plan that may change, upwards: more lines leave the earlier ones as they are."""
FOOTERS_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a dataset is to hold: the configuration that decides its rows, and its parts."""

    config: dict[str, Any]
    parts: tuple[PartSpec, ...]
    flags: dict[str, Any] = field(default_factory=dict)
    """How the job was called, by flag; recorded, decides nothing."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What is worth recording and decides no row."""
    extras: tuple[str, ...] = ()
    """Files that the job may write beside those of every dataset."""

    @property
    def config_sha256(self) -> str:
        fixed = {name: value for name, value in self.config.items() if name != GROWING_FIELD}
        canonical = json.dumps(fixed, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def names(self) -> list[str]:
        """The files that the dataset owns, relative to it."""
        paths = [path for part in self.parts for path in (part.path, part.rejects_path)]
        return [PLAN, *paths, *self.extras, PICTURE, CARD, MANIFEST]


def cut_parts(
    split: str, first: int, num_items: int, items_per_part: int, *, first_index: int = 0
) -> list[PartSpec]:
    """Return the parts that cover items [first, first + num_items) of a split; one, empty, for none."""
    starts = range(first, first + num_items, items_per_part) or [first]
    end = first + num_items
    return [
        PartSpec(split=split, index=index, start=start, stop=min(start + items_per_part, end))
        for index, start in enumerate(starts, start=first_index)
    ]


def check_claim(
    out: Location, config: Mapping[str, Any], *, growing: str = GROWING_FIELD, flag: str = "--out-uri"
) -> None:
    """Check that a configuration may be made at `out`: nothing is there, or an earlier run of the same.

    Raises:
        InputError: the place cannot be written, there are files but no plan, or the plan differs; the message
            names the fields.
    """
    check_writable(out, flag)
    with checked(out, flag) as place:
        plan = read_json(place / PLAN) if exists(place / PLAN) else None
        files = list_files(place) if plan is None else ()
        found = [name for name in files if not name.startswith(PROBE)][:3]
    if plan is None and found:
        raise InputError(
            f"{flag} must be empty or hold an earlier run of this job, {out} holds "
            f"{', '.join(found)} and no {PLAN}; choose another"
        )
    if plan is None:
        return
    if not isinstance(plan, dict) or "config" not in plan:
        raise InputError(f"{flag} must hold an earlier run of this job, {out / PLAN} is no plan of one")
    old, new = flatten(plan["config"]), flatten(json.loads(json.dumps(config)))
    if (shrunk := old.get(growing)) is not None and growing in new and new[growing] < shrunk:
        raise InputError(f"{growing} of {out} may only grow: it is {shrunk}, got {new[growing]}")
    differing = [
        f"{name}: {_shorten(old.get(name))} there, {_shorten(new.get(name))} now"
        for name in sorted(old.keys() | new.keys())
        if name != growing and old.get(name) != new.get(name)
    ]
    if differing:
        raise InputError(
            f"{out} was made with another configuration ({'; '.join(differing)}); choose another {flag}"
        )


def _shorten(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) < 64 else f"{text[:12]}…"


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return a nested configuration as one level of dotted names."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        k: v for name, item in value.items() for k, v in flatten(item, f"{prefix}.{name}".lstrip(".")).items()
    }


def write_plan(out: Location, plan: Plan) -> None:
    """Write the plan; a manifest of before is taken away first, since its existence means complete."""
    delete_file(out / MANIFEST)
    write_json(
        out / PLAN,
        {
            "config": plan.config,
            "config_sha256": plan.config_sha256,
            "flags": plan.flags,
            "names": plan.names,
        },
    )


def holds_plan(out: Location, plan: Plan) -> bool:
    """Return whether the plan that stands at `out` is this one, its number of lines included."""
    config = json.loads(json.dumps(plan.config))
    return exists(out / PLAN) and bool(read_json(out / PLAN)["config"] == config)


def find_done(out: Location, plan: Plan) -> Iterator[tuple[PartStats, Balance]]:
    """Yield what the footers say of each part of a plan that is there and whole, few at a time."""
    present, sha256 = list_files(out), plan.config_sha256
    candidates = [part for part in plan.parts if part.path in present and part.rejects_path in present]
    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
        for start in range(0, len(candidates), FOOTERS_AT_ONCE):
            some = candidates[start : start + FOOTERS_AT_ONCE]
            yield from filter(None, pool.map(lambda part: read_part_footer(out, part, sha256), some))


def read_part_footer(out: Location, spec: PartSpec, config_sha256: str) -> tuple[PartStats, Balance] | None:
    """Return what a part's footer says, or None if it is missing, broken, or of another plan or part."""
    try:
        with open_file(out / spec.path) as file:
            size_bytes, footer = file.size(), pq.read_metadata(file)
        values = footer.metadata or {}
        if values.get(b"config_sha256") != config_sha256.encode():
            return None
        stats = PartStats.from_json(values[b"part_stats"].decode())
        balance = Balance.from_json(values[b"balance"].decode())
    except DAMAGE:
        return None
    if stats.spec != spec or not stats.rows == footer.num_rows == balance.lengths.total():
        return None
    return replace(stats, size_bytes=size_bytes), balance


def write_part(
    out: Location, spec: PartSpec, config_sha256: str, rows: Iterable[Row]
) -> tuple[PartStats, Balance]:
    """Write a part's rejects, then the part, whose existence commits both; return what its footer says.

    `rows` are taken one by one and encoded 256 at a time: what is held is the encoded part and one group.
    """
    summary, balance, rejects = RowSummary(), Balance(), []
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
        compression={name: "zstd" for name in SCHEMA.names if name != "image"} | {"image.bytes": "none"},
        use_dictionary=["source", "font", "page_id"],
        store_schema=False,
    )


def _write_rejects(location: Location, rejects: Sequence[Reject]) -> None:
    sink = io.BytesIO()
    pq.write_table(rejects_to_table(rejects), sink)
    write_bytes(location, sink.getbuffer())


def rows_verify(out: Location, stats: PartStats, balance: Balance) -> bool:
    """Return whether rows and rejects of a part are still what its footer says."""
    summary, counted = RowSummary(), Balance(grades=balance.grades)
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

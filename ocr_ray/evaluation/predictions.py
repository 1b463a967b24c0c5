"""Predictions on disk: one Parquet part per part of the lines.

A part is written whole or not at all, and its footer holds the `config_sha256` of its evaluation: if both are
right, its lines need not be read again.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq

from ocr_ray.dataset.stored_rows import NUM_FOOTER_THREADS, TableRules, iter_groups, read_footer
from ocr_ray.errors import InputError
from ocr_ray.storage.location import Location, list_files, write_bytes

PREDICTIONS = "predictions"
LINE_COLUMNS = ("line_id", "source", "font", "page_id", "page_order", "width_px", "height_px", "markup")
"""Copied from the lines."""
PREDICTIONS_SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),
        ("line_id", pa.string()),
        ("text", pa.string()),  # the reference, from the column that the model was trained on
        ("prediction", pa.string()),
        ("confidence", pa.float32()),  # mean probability of the predicted tokens
        ("source", pa.string()),
        ("font", pa.string()),
        ("page_id", pa.string()),
        ("page_order", pa.int32()),
        ("width_px", pa.int32()),
        ("height_px", pa.int32()),
        ("markup", pa.string()),
        ("whole_prediction", pa.string()),  # of a line read in pieces: its prediction as a whole; else null
        ("flags", pa.list_(pa.string())),  # `reached_limit`, `replacement_character`
    ]
)

_RULES = TableRules(
    schema=PREDICTIONS_SCHEMA,
    required=("dataset", "line_id", "text", "prediction", "confidence", "source"),
    never_null=("dataset", "line_id", "text", "prediction", "source"),
)


def part_path(index: int) -> str:
    """Return the name of a part of the predictions, relative to the evaluation."""
    return f"{PREDICTIONS}/part-{index:05d}.parquet"


def write_predictions(location: Location, table: pa.Table, config_sha256: str) -> None:
    """Write a part of the predictions; its footer holds the hash of the evaluation's configuration."""
    sink = pa.BufferOutputStream()
    metadata = {**(table.schema.metadata or {}), "config_sha256": config_sha256}
    pq.write_table(table.replace_schema_metadata(metadata), sink, compression="zstd")
    write_bytes(location, sink.getvalue().to_pybytes())


def find_finished(out: Location, num_parts: int, config_sha256: str) -> list[int]:
    """Return the indices of the parts that an earlier run of this evaluation has finished, in order.

    A part without a column of `PREDICTIONS_SCHEMA` is of an earlier version and is not finished.
    """
    names = list_files(out)
    candidates = [index for index in range(num_parts) if part_path(index) in names]
    with ThreadPoolExecutor(NUM_FOOTER_THREADS) as pool:
        finished = pool.map(lambda index: _is_finished(out / part_path(index), config_sha256), candidates)
        return [index for index, is_finished in zip(candidates, finished, strict=True) if is_finished]


def read_predictions(out: Location, paths: Iterable[str]) -> Iterator[pa.Table]:
    """Yield tables of `PREDICTIONS_SCHEMA`, checked; `paths` are relative to `out`.

    Columns of later versions can be missing; they are null.

    Raises:
        InputError: a file is no intact part of predictions; the message names it.
    """
    for path in paths:
        yield _read_part(out / path)


def _read_part(location: Location) -> pa.Table:
    groups = list(iter_groups(location, rules=_RULES))
    table = pa.concat_tables(groups) if groups else PREDICTIONS_SCHEMA.empty_table()
    columns = [
        table[field.name] if field.name in table.column_names else pa.nulls(table.num_rows, field.type)
        for field in PREDICTIONS_SCHEMA
    ]
    return pa.table(columns, schema=PREDICTIONS_SCHEMA)


def _is_finished(location: Location, config_sha256: str) -> bool:
    try:
        footer = read_footer(location, _RULES)
        _read_part(location)
    except InputError:
        return False
    is_same = (footer.metadata or {}).get(b"config_sha256") == config_sha256.encode()
    return bool(is_same and footer.schema.to_arrow_schema().names == PREDICTIONS_SCHEMA.names)

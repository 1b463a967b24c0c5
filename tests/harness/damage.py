"""Damage to the files of a dataset, for the tests of audits."""

import pyarrow as pa
import pyarrow.parquet as pq

from ocr_ray.storage.location import Location


def rewrite_rows(part: Location, rows: pa.Table) -> None:
    """Replace the rows of a part, but keep its footer."""
    footer = pq.read_metadata(part.path).metadata
    with pq.ParquetWriter(part.path, rows.schema, store_schema=False) as writer:
        writer.write_table(rows)
        writer.add_key_value_metadata(footer)

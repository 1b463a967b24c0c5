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


def drop_new_columns(part: Location) -> None:
    """Rewrite a part as versions before the columns after `style` would have written it."""
    table = pq.read_table(part.path)
    rewrite_rows(part, table.select(table.schema.names[: table.schema.get_field_index("style") + 1]))

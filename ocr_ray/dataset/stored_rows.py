"""Rows read back from Parquet files, whoever wrote them, and checked before anyone uses them.

pyarrow checks neither the bytes of strings nor what a column means, so a stranger's file fails later, far
from its cause. Footers are checked when a dataset is opened (`read_footers`), rows when their row group is
read (`read_group`).
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ocr_ray.dataset.images import MAX_LINE_SIDE_PX
from ocr_ray.dataset.lines import REJECT_SCHEMA, SCHEMA
from ocr_ray.errors import InputError
from ocr_ray.storage.error_messages import raise_if_refused
from ocr_ray.storage.location import Location, open_file
from ocr_ray.storage.strict_json import parse_json

DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException)
"""Exceptions raised by reading a damaged Parquet file or footer."""
NUM_FOOTER_THREADS = 16
MAX_TEXT_LENGTH = 2_000
"""Characters of a line's text or markup, ten times those of the longest line of print; aligning a prediction
with a text takes quadratic time."""
MAX_NAME_LENGTH = 300
"""Characters of a line's id in a message."""
MAX_GROUP_BYTES = 2**30
"""Of a row group, uncompressed: several are held at a time. A group of 256 lines has 6 MB."""
BATCH_ROWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRules:
    """What a kind of Parquet file must hold."""

    schema: pa.Schema
    """The types of its columns, which are cast from wider ones; other columns are not read."""
    required: tuple[str, ...]
    """The columns that it must have."""
    never_null: tuple[str, ...]
    max_length: int = MAX_TEXT_LENGTH
    """Of its texts, in characters."""


LINES = TableRules(
    schema=SCHEMA,
    required=tuple(SCHEMA.names[: 1 + SCHEMA.get_field_index("style")]),  # the columns of every version
    never_null=("line_id", "image", "text", "markup", "source", "width_px", "height_px"),
)
REJECTS = TableRules(
    schema=REJECT_SCHEMA, required=tuple(REJECT_SCHEMA.names), never_null=("reason",), max_length=2**31
)


@contextmanager
def _refuse_damage(location: Location) -> Iterator[None]:
    """Raise InputError for what reading a damaged file raises."""
    try:
        yield
    except InputError:
        raise
    except DAMAGE as error:
        raise_if_refused(error)
        raise InputError(f"{location} must be an intact Parquet file: {error}; make it again") from error


def read_footer(part: Location, rules: TableRules = LINES) -> Any:
    """Return the footer of a file (`pyarrow.parquet.FileMetaData`), its columns checked.

    Raises:
        InputError: it is no Parquet file, a column is missing or has another type, or a row group is too
            large.
    """
    with _refuse_damage(part), open_file(part) as file:
        opened = pq.ParquetFile(file)
        footer = opened.metadata
        check_columns(opened.schema_arrow, str(part), rules)
        sizes = [footer.row_group(group).total_byte_size for group in range(footer.num_row_groups)]
    if max(sizes, default=0) > MAX_GROUP_BYTES:
        _refuse_size(str(part), max(sizes))
    return footer


def read_footers(parts: Sequence[Location]) -> list[Any]:
    """Return the checked footers of the parts of a dataset, several read at a time."""
    with ThreadPoolExecutor(NUM_FOOTER_THREADS) as pool:
        return list(pool.map(read_footer, parts))


def check_columns(columns: pa.Schema, where: str, rules: TableRules) -> None:
    """Check the names and types of a file's columns; raises InputError."""
    if missing := [name for name in rules.required if name not in columns.names]:
        raise InputError(f"{where} must have the column {missing[0]}, it has {', '.join(columns.names)}")
    for field in rules.schema:
        indices = columns.get_all_field_indices(field.name)
        if len(indices) > 1:
            raise InputError(f"{where} must have the column {field.name} once, it has {len(indices)}")
        if indices and not _is_like(got := columns.field(indices[0]).type, field.type):
            raise InputError(
                f"the column {field.name} of {where} must be {field.type}, it is {got}; write it again with "
                "that type"
            )


def _is_like(got: pa.DataType, wanted: pa.DataType) -> bool:
    """Return whether a type has the values of another in a wider or encoded form, as other programs write."""
    if pa.types.is_null(got):  # pandas, for a column of nulls
        return True
    if pa.types.is_dictionary(got):
        return _is_like(got.value_type, wanted)
    if pa.types.is_list(wanted):
        return any(is_kind(got) for is_kind in _LISTS) and _is_like(got.value_type, wanted.value_type)
    if pa.types.is_struct(wanted):
        return pa.types.is_struct(got) and all(
            got.get_field_index(field.name) >= 0 and _is_like(got.field(field.name).type, field.type)
            for field in wanted
        )
    return any(
        any(is_kind(got) for is_kind in kind) for kind in _KINDS if any(is_kind(wanted) for is_kind in kind)
    )


_LISTS = (pa.types.is_list, pa.types.is_large_list)
_KINDS = (
    (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view),
    (pa.types.is_integer, pa.types.is_floating),  # pandas turns integers with nulls into floats
)


def read_group(
    part: Location,
    group: int,
    columns: Sequence[str] | None = None,
    *,
    footer: Any = None,
    rules: TableRules = LINES,
) -> pa.Table:
    """Return a row group as a table, checked; `image.bytes` names a field of a struct.

    `columns` None: those of the rules that the file has. `footer` saves reading it again.

    Raises:
        InputError: the file or a row is not as it must be; the message names both.
    """
    with _refuse_damage(part), open_file(part) as file:
        opened = pq.ParquetFile(file, metadata=footer, pre_buffer=True)
        names = columns or [name for name in rules.schema.names if name in opened.schema_arrow.names]
        table = _read_bounded(opened, group, list(names), str(part))
    where = f"row group {group} of {part}"
    table = _cast(table, where, rules.schema)
    check_rows(table, where, rules)
    return table


def _read_bounded(opened: Any, group: int, names: list[str], where: str) -> pa.Table:
    """Return a row group; its size in the footer is encoded, where a repeated image takes a byte."""
    batches: list[pa.RecordBatch] = []
    size_bytes = 0
    for batch in opened.iter_batches(BATCH_ROWS, row_groups=[group], columns=names, use_threads=False):
        size_bytes += batch.nbytes
        if size_bytes > MAX_GROUP_BYTES:
            _refuse_size(where, size_bytes)
        batches.append(batch)
    if not batches:
        return opened.read_row_group(group, columns=names)
    return pa.Table.from_batches(batches)


def _refuse_size(where: str, size_bytes: int) -> NoReturn:
    raise InputError(
        f"{where} must have row groups of at most {MAX_GROUP_BYTES:,} bytes, one has {size_bytes:,} or more; "
        "write it again with fewer rows in a group, such as 256"
    )


def _cast(table: pa.Table, where: str, schema: pa.Schema) -> pa.Table:
    """Return a table whose columns have the types of `schema`, or those of its fields that were read."""
    for index, name in enumerate(table.column_names):
        got, wanted = table.field(index).type, schema.field(name).type
        if pa.types.is_struct(got):
            wanted = pa.struct([field for field in wanted if got.get_field_index(field.name) >= 0])
        if got != wanted:
            try:
                table = table.set_column(index, name, table[name].cast(wanted))
            except pa.ArrowException as error:
                raise InputError(f"{name} must be {wanted}: {error}; wrong in {where}") from error
    return table


def iter_groups(
    part: Location, columns: Sequence[str] | None = None, rules: TableRules = LINES
) -> Iterator[pa.Table]:
    """Yield the row groups of a file, checked; raises as `read_group` does."""
    footer = read_footer(part, rules)
    for group in range(footer.num_row_groups):
        yield read_group(part, group, columns, footer=footer, rules=rules)


def iter_tables(part: Location, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield a part in tables of row groups, checked, as large as `MAX_GROUP_BYTES` allows; mostly one."""
    groups: list[pa.Table] = []
    for table in iter_groups(part, columns):
        if groups and sum(each.nbytes for each in (*groups, table)) > MAX_GROUP_BYTES:
            yield pa.concat_tables(groups)
            groups = []
        groups.append(table)
    if groups:
        yield pa.concat_tables(groups)


def check_rows(table: pa.Table, where: str, rules: TableRules) -> None:
    """Check the rows of a table that was read from a file; `where` names it in messages.

    Raises:
        InputError: a value is null that must not be, a string is no UTF-8, a text is too long, a number is
            not finite or out of range.
    """
    for name in table.column_names:
        column = table[name]
        is_image = pa.types.is_struct(column.type) and name == "image"
        values = pc.struct_field(column, "bytes") if is_image else column
        if name in rules.never_null and values.null_count:
            _refuse(table, where, pc.is_null(values), f"{name} must not be null")
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            _refuse_invalid(table, where, name, error)
        for is_wrong, must in _CHECKS.get(name, ()):
            wrong = pc.fill_null(is_wrong(values, rules.max_length), False)
            if pc.any(wrong).as_py():
                _refuse(table, where, wrong, f"{name} must {must.format(max_length=rules.max_length)}")


def name_rows(table: pa.Table, where: str) -> list[str]:
    """Return the name of each row for messages: its `line_id`, or its number where there are no ids."""
    if "line_id" not in table.column_names:
        return [f"row {row} of {where}" for row in range(table.num_rows)]
    return [f"line {line_id} in {where}" for line_id in table["line_id"].to_pylist()]


def _refuse(table: pa.Table, where: str, is_wrong: Any, must: str) -> NoReturn:
    """Raise InputError for the first wrong row; its id may be what is wrong."""
    row = pc.index(is_wrong, True).as_py()
    try:
        line_id = table["line_id"][row].as_py()
    except (KeyError, UnicodeDecodeError):
        line_id = None
    named = "" if line_id is None else f" (line {line_id[:MAX_NAME_LENGTH]})"
    raise InputError(f"{must}; wrong in row {row}{named}, {where}")


def _refuse_invalid(table: pa.Table, where: str, name: str, error: pa.ArrowInvalid) -> NoReturn:
    for row, value in enumerate(table[name]):
        try:
            value.as_py()
        except UnicodeDecodeError:
            is_wrong = pa.array([False] * row + [True])
            _refuse(table, where, is_wrong, f"{name} must be UTF-8")
    raise InputError(f"{where} must be intact, {name} is not: {error}")


_Check = tuple[Callable[[Any, int], Any], str]


def _is_too_long(texts: Any, max_length: int) -> Any:
    return pc.greater(pc.utf8_length(texts), max_length)


def _is_no_side(sides_px: Any, _: int) -> Any:
    return pc.or_(pc.less(sides_px, 1), pc.greater(sides_px, MAX_LINE_SIDE_PX))


def _is_no_share(numbers: Any, _: int) -> Any:
    return pc.invert(pc.and_(pc.greater_equal(numbers, -1e-6), pc.less_equal(numbers, 1 + 1e-6)))


def _is_no_object(texts: Any, _: int) -> Any:
    return pa.array([text is not None and not _is_object(text) for text in texts.to_pylist()], pa.bool_())


def _is_object(text: str) -> bool:
    try:
        return isinstance(parse_json(text), dict)
    except ValueError:
        return False


def _has_no_origin(origins: Any, _: int) -> Any:
    words = ([*map(dict.values, row or ()), ()] for row in origins.to_pylist())
    return pa.array([any(None in word for word in row) for row in words], pa.bool_())


_TEXT: tuple[_Check, ...] = ((_is_too_long, "have at most {max_length} characters"),)
_SIDE: tuple[_Check, ...] = ((_is_no_side, f"be from 1 to {MAX_LINE_SIDE_PX}"),)
_CHECKS: dict[str, tuple[_Check, ...]] = {
    **dict.fromkeys(("line_id", "text", "markup", "prediction", "whole_prediction"), _TEXT),
    **dict.fromkeys(("source", "font", "page_id", "dataset"), _TEXT),
    **dict.fromkeys(("width_px", "height_px"), _SIDE),
    "confidence": ((_is_no_share, "be from 0 to 1"),),
    "style": ((_is_no_object, "be null or a JSON object"),),
    "spliced_from": ((_has_no_origin, "name a line and a word for each word"),),
}

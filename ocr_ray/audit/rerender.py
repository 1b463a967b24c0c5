"""Lines of a dataset rendered again and compared byte for byte."""

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import fields, replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ocr_ray.audit.findings import FileFindings, Finding
from ocr_ray.dataset.lines import PartSpec, Reject, TextLine, table_to_lines
from ocr_ray.dataset.stored_rows import DAMAGE
from ocr_ray.errors import RenderError
from ocr_ray.storage.error_messages import raise_if_refused
from ocr_ray.storage.location import Location, open_file, read_bytes


def compare_rendered(
    location: Location, spec: PartSpec, numbers: Collection[int], make: Callable[[int], TextLine]
) -> tuple[tuple[Finding, ...], int]:
    """Return the lines of a part that differ from what `make` returns, and how many were compared.

    Rejects are compared with the RenderError that `make` raises. Numbers that are neither line nor reject,
    and rows that cannot be read, are skipped.
    """
    findings, num_compared = FileFindings(spec.path), 0
    for number, stored in _iter_stored(location, spec, numbers):
        made: TextLine | Reject
        try:
            made = replace(make(number), grades=())  # grades are not stored
        except RenderError as error:
            made = Reject(reason=error.reason, detail=error.detail, number=number)
        num_compared += 1
        if detail := _describe_difference(stored, made):
            findings.add("not_rerendered", [number], detail=detail)
    return findings.to_tuple(), num_compared


def _iter_stored(
    location: Location, spec: PartSpec, numbers: Collection[int]
) -> Iterator[tuple[int, TextLine | Reject]]:
    with suppress(*DAMAGE):  # inspect_part reports it
        table = pq.read_table(pa.BufferReader(read_bytes(location / spec.rejects_path)))
        rejects = [Reject(**values) for values in table.to_pylist()]
        for reject in rejects:
            if reject.number is not None and reject.number in numbers:
                yield reject.number, reject
    line_ids = pa.array([f"{number:09d}" for number in numbers], pa.string())
    with suppress(*DAMAGE), open_file(location / spec.path) as file:
        part = pq.ParquetFile(file)
        for group in range(part.num_row_groups):
            for line in _read_lines(part, group, line_ids):
                yield int(line.line_id), line


def _read_lines(part: pq.ParquetFile, group: int, line_ids: pa.Array) -> list[TextLine]:
    """Return the lines of a row group that have one of the ids; the images are read only if there are any."""
    try:
        wanted = pc.is_in(part.read_row_group(group, columns=["line_id"])["line_id"], line_ids)
        return table_to_lines(part.read_row_group(group).filter(wanted)) if pc.any(wanted).as_py() else []
    except DAMAGE as error:
        raise_if_refused(error)
        return []


def _describe_difference(stored: TextLine | Reject, made: TextLine | Reject) -> str:
    if isinstance(stored, TextLine) and isinstance(made, TextLine):
        names = (field.name for field in fields(TextLine))
        differing = [name for name in names if getattr(stored, name) != getattr(made, name)]
        return f"different {', '.join(differing)}" if differing else ""
    if stored == made:
        return ""
    before, now = (row.reason if isinstance(row, Reject) else "a line" for row in (stored, made))
    return f"stored as {before}, rendered again as {now}"

"""Which pages a person should look at first, and what became of them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ocr_ray.dataset.lines import PartSpec, Reject, TextLine, table_to_lines
from ocr_ray.pages.files.store import PageFile
from ocr_ray.pages.html.review import ReadPage
from ocr_ray.pages.label_part import ReadingInputs
from ocr_ray.storage.location import Location, open_file


@dataclass(frozen=True, slots=True, order=True)
class Doubt:
    """How sure the reader was of a page."""

    lowest: float
    """The least confidence in a line of it; below 0 if a box gave no line."""
    page_id: str
    index: int
    """Its place among the pages."""


def find_doubtful(out: Location, specs: Sequence[PartSpec], pages: pa.Table, number: int) -> list[Doubt]:
    """Return up to `number` pages of a finished dataset, the most doubtful first.

    `pages` are those of the `ReadingInputs`. Pages that could not be opened are none of them; all parts are
    read, but no pictures.
    """
    found: list[Doubt] = []
    for spec in specs:
        lowest: dict[str, float] = {}
        for page_id, confidence in _read_columns(out, spec.path, ["page_id", "confidence"]):
            lowest[page_id] = min(lowest.get(page_id, 1.0), confidence)
        for page_id, box in _read_columns(out, spec.rejects_path, ["page_id", "box"]):
            if box is not None:
                lowest[page_id] = -1.0
        ids = pages["page_id"].slice(spec.start, spec.stop - spec.start).to_pylist()
        its = (
            Doubt(lowest[page_id], page_id, index)
            for index, page_id in enumerate(ids, start=spec.start)
            if page_id in lowest
        )
        found = nsmallest(number, [*found, *its])
    return found


def read_doubtful(
    out: Location, specs: Sequence[PartSpec], inputs: ReadingInputs, doubts: Sequence[Doubt]
) -> Iterator[ReadPage]:
    """Yield the pages in the order given, with image, label, lines and rejects."""
    by_part: dict[PartSpec, list[str]] = defaultdict(list)
    for doubt in doubts:
        spec = next(spec for spec in specs if spec.start <= doubt.index < spec.stop)
        by_part[spec].append(doubt.page_id)
    lines: dict[str, list[TextLine]] = defaultdict(list)
    rejects: dict[str, list[Reject]] = defaultdict(list)
    for spec, page_ids in by_part.items():
        for line in table_to_lines(_read_rows(out, spec.path, page_ids)):
            lines[line.page_id or ""].append(line)
        for row in _read_rows(out, spec.rejects_path, page_ids).to_pylist():
            rejects[row["page_id"]].append(Reject(**row))
    for doubt in doubts:
        (row,) = inputs.pages.slice(doubt.index, 1).to_pylist()
        page = inputs.loader.load(PageFile(**row))
        yield ReadPage(
            page_id=doubt.page_id,
            image_bytes=page.image_bytes,
            label=page.label,
            lines=lines[doubt.page_id],
            rejects=rejects[doubt.page_id],
        )


def _read_columns(out: Location, path: str, names: list[str]) -> Iterator[tuple[str, Any]]:
    place = out / path
    with open_file(place) as file:
        table = pq.read_table(file, columns=names)
    yield from zip(*(table[name].to_pylist() for name in names), strict=True)


def _read_rows(out: Location, path: str, page_ids: Sequence[str]) -> pa.Table:
    """Return the rows of some pages; a row group is held at a time."""
    place, wanted = out / path, pa.array(page_ids, pa.string())
    with open_file(place) as file:
        part = pq.ParquetFile(file)
        tables = [part.schema_arrow.empty_table()]
        for group in range(part.num_row_groups):
            table = part.read_row_group(group)
            tables.append(table.filter(pc.is_in(table["page_id"], value_set=wanted)))
    return pa.concat_tables(tables)

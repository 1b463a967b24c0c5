"""The pages that a model is least confident about, read back from a labelled dataset for review."""

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
from ocr_ray.pages.html.review import LabelledPage
from ocr_ray.pages.label_part import ReadingInputs, label_name
from ocr_ray.storage.location import Location, open_file, read_bytes


@dataclass(frozen=True, slots=True, order=True)
class PageConfidence:
    """How confident the model is about a page; the least confident sorts first."""

    lowest: float
    """Lowest confidence of its lines; -1 if a box was rejected."""
    page_id: str
    index: int
    """Row in the table of all pages."""


def find_least_confident(
    out: Location, specs: Sequence[PartSpec], pages: pa.Table, number: int
) -> list[PageConfidence]:
    """Return up to `number` pages of a finished dataset, the least confident first.

    `pages` is the table of `ReadingInputs`. Pages whose image could not be opened are left out. Reads all
    parts, but not their images.
    """
    least: list[PageConfidence] = []
    for spec in specs:
        lowest: dict[str, float] = {}
        for page_id, confidence in _read_columns(out, spec.path, ["page_id", "confidence"]):
            lowest[page_id] = min(lowest.get(page_id, 1.0), confidence)
        for page_id, box in _read_columns(out, spec.rejects_path, ["page_id", "box"]):
            if box is not None:
                lowest[page_id] = -1.0
        page_ids = pages["page_id"].slice(spec.start, spec.stop - spec.start).to_pylist()
        of_part = (
            PageConfidence(lowest[page_id], page_id, index)
            for index, page_id in enumerate(page_ids, start=spec.start)
            if page_id in lowest
        )
        least = nsmallest(number, [*least, *of_part])
    return least


def read_labelled_pages(
    out: Location, specs: Sequence[PartSpec], inputs: ReadingInputs, chosen: Sequence[PageConfidence]
) -> Iterator[LabelledPage]:
    """Yield the chosen pages in the order given, with image, label, lines and rejects."""
    by_part: dict[PartSpec, list[str]] = defaultdict(list)
    for page in chosen:
        spec = next(spec for spec in specs if spec.start <= page.index < spec.stop)
        by_part[spec].append(page.page_id)
    lines: dict[str, list[TextLine]] = defaultdict(list)
    rejects: dict[str, list[Reject]] = defaultdict(list)
    for spec, page_ids in by_part.items():
        for line in table_to_lines(_read_rows(out, spec.path, page_ids)):
            lines[line.page_id or ""].append(line)
        for row in _read_rows(out, spec.rejects_path, page_ids).to_pylist():
            rejects[row["page_id"]].append(Reject(**row))
    for page in chosen:
        (row,) = inputs.pages.slice(page.index, 1).to_pylist()
        loaded = inputs.loader.load(PageFile(**row))
        yield LabelledPage(
            page_id=page.page_id,
            image_path=row["image_path"],
            image_bytes=loaded.image_bytes,
            label_file=read_bytes(inputs.labels / label_name(page.page_id)),
            label=loaded.label,
            lines=lines[page.page_id],
            rejects=rejects[page.page_id],
        )


def _read_columns(out: Location, path: str, names: list[str]) -> Iterator[tuple[str, Any]]:
    with open_file(out / path) as file:
        table = pq.read_table(file, columns=names)
    yield from zip(*(table[name].to_pylist() for name in names), strict=True)


def _read_rows(out: Location, path: str, page_ids: Sequence[str]) -> pa.Table:
    """Return the rows of these pages; holds one row group at a time."""
    wanted = pa.array(page_ids, pa.string())
    with open_file(out / path) as file:
        part = pq.ParquetFile(file)
        tables = [part.schema_arrow.empty_table()]
        for group in range(part.num_row_groups):
            table = part.read_row_group(group)
            tables.append(table.filter(pc.is_in(table["page_id"], value_set=wanted)))
    return pa.concat_tables(tables)

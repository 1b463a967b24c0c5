"""`Reading`: a line with its reference text, its prediction and their alignment."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import pyarrow as pa

from ocr_ray.errors import LabelError
from ocr_ray.evaluation.alignment import Alignment, align_all
from ocr_ray.metrics import normalise
from ocr_ray.text.markup import to_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A line that a model has read."""

    alignment: Alignment
    dataset: str
    line_id: str
    source: str
    font: str | None = None
    page_id: str | None = None
    page_order: int | None = None
    width_px: int | None = None
    height_px: int | None = None
    markup: str | None = None
    """As labelled, also if the model was trained on `text`."""
    confidence: float | None = None
    flags: Sequence[str] | None = None
    """Of `READING_FLAGS`; None for predictions of earlier versions."""

    @property
    def reference(self) -> str:
        """In canonical form."""
        return self.alignment.reference

    @property
    def prediction(self) -> str:
        """In canonical form."""
        return self.alignment.prediction


_COLUMNS = tuple(field.name for field in fields(Reading) if field.name != "alignment")


def read_table(table: pa.Table) -> list[Reading]:
    """Return the lines of a table of predictions; the values of a missing column are None."""
    alignments = align_all(table["text"].to_pylist(), table["prediction"].to_pylist())
    return _make_readings(table, alignments)


def read_references(table: pa.Table) -> list[Reading]:
    """Return the lines of a table of predictions without their predictions, which need no alignment."""
    references = map(normalise, table["text"].to_pylist())
    return _make_readings(table, (Alignment(reference, "", ()) for reference in references))


def _make_readings(table: pa.Table, alignments: Iterable[Alignment]) -> list[Reading]:
    columns = [
        table[name].to_pylist() if name in table.column_names else [None] * table.num_rows
        for name in _COLUMNS
    ]
    return [
        Reading(alignment=alignment, **dict(zip(_COLUMNS, values, strict=True)))
        for alignment, *values in zip(alignments, *columns, strict=True)
    ]


def print_table(table: pa.Table) -> tuple[pa.Table, int]:
    """Return a table of markup as printed text, and how many predictions could not be converted.

    Reference and prediction go through `text.markup.to_text`, so that a model of markup is scored on print as
    well. A prediction that is not valid markup (an unpaired `$`) stays as it is; its dollars and commands
    count as errors.
    """
    references = [_print_or_keep(markup)[0] for markup in table["text"].to_pylist()]
    printed = [_print_or_keep(markup) for markup in table["prediction"].to_pylist()]
    for name, values in (("text", references), ("prediction", [text for text, _ in printed])):
        table = table.set_column(table.column_names.index(name), name, pa.array(values, pa.string()))
    return table, sum(not is_printed for _, is_printed in printed)


def _print_or_keep(markup: str) -> tuple[str, bool]:
    try:
        return to_text(markup), True
    except LabelError:
        return markup, False

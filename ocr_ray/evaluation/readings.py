"""The rows that an evaluation counts: what a line says, what was read, and how the two lie side by side."""

from dataclasses import dataclass

import pyarrow as pa

from ocr_ray.errors import LabelError
from ocr_ray.evaluation.alignment import Alignment, align_all
from ocr_ray.text.markup import to_text

_FACTS = (
    "dataset",
    "line_id",
    "source",
    "font",
    "page_id",
    "page_order",
    "width_px",
    "height_px",
    "markup",
)


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
    """The label's own, whatever column the model learnt."""

    @property
    def truth(self) -> str:
        """In canonical form."""
        return self.alignment.truth

    @property
    def prediction(self) -> str:
        """In canonical form."""
        return self.alignment.prediction


def read_table(table: pa.Table) -> list[Reading]:
    """Return the lines of a table of predictions; of a column that it lacks every value is None."""
    columns = [
        table[name].to_pylist() if name in table.column_names else [None] * table.num_rows for name in _FACTS
    ]
    alignments = align_all(table["text"].to_pylist(), table["prediction"].to_pylist())
    return [
        Reading(alignment=alignment, **dict(zip(_FACTS, values, strict=True)))
        for alignment, *values in zip(alignments, *columns, strict=True)
    ]


def print_table(table: pa.Table) -> tuple[pa.Table, int]:
    """Return predictions of markup as what they print, and how many print nothing.

    By rule, so that a model that learnt markup is judged by the print as well: truth and prediction go
    through `text.markup.to_text`; a prediction that is no markup (a `$` without its partner) stays as it was
    read, and what it has of dollars and commands is an error.
    """
    truths = [_print_or_keep(markup)[0] for markup in table["text"].to_pylist()]
    printed = [_print_or_keep(markup) for markup in table["prediction"].to_pylist()]
    for name, values in (("text", truths), ("prediction", [text for text, _ in printed])):
        table = table.set_column(table.column_names.index(name), name, pa.array(values, pa.string()))
    return table, sum(not is_printed for _, is_printed in printed)


def _print_or_keep(markup: str) -> tuple[str, bool]:
    try:
        return to_text(markup), True
    except LabelError:
        return markup, False

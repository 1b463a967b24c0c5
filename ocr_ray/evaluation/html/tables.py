"""Values of the report as text, and in tables."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ocr_ray.evaluation.html.charts import Bar
from ocr_ray.evaluation.html.examples import Picture
from ocr_ray.html_page import shorten

SHARES = ("cer", "wer", "rate", "share", "recall", "accuracy", "exact", "match", "error", "confidence")
"""A number with one of these words in its name is shown in percent; a ratio of rates is not."""
WORDS = {"cer": "CER", "wer": "WER", "truth": "reference", "truths": "references", "bare": "non-space"}
NAMES = {
    "by_aspect": "by aspect ratio",
    "by_starts_mid_word": "line starts mid-word",
    "by_ends_mid_word": "line ends mid-word",
    "by_box": "by position on the page",
    "by_has_fraction": "line contains a fraction",
    "by_font_seen": "font seen in training",
    "by_third": "by third of the line",
    "by_word_seen": "word seen in training",
    "overread": "trailing hallucination",
    "overread_rate": "rate of lines with trailing hallucination",
    "overread_per_character": "hallucinated characters per reference character",
    "overread_lines": "lines with trailing hallucination",
    "overread_characters": "hallucinated characters",
    "spill_rate": "spill rate, of those followed by a box",
    "followed_lines": "of those, followed by a box",
    "last_over_first": "CER of last third / first third",
    "spliced_over_own": "CER of shuffled words / same words in order",
    "first_errors": "errors, first third",
    "first_characters": "characters, first third",
    "last_errors": "errors, last third",
    "last_characters": "characters, last third",
    "spliced_errors": "errors, shuffled words",
    "spliced_characters": "characters, shuffled words",
    "own_errors": "errors, same words in order",
    "own_characters": "characters, same words in order",
    "words_unmatched": "shuffled words without their own line",
    "repeated_run_recall": "repeated-digit recall",
    "repeated_runs": "runs of a repeated digit",
    "repeated_runs_read": "runs of a repeated digit read",
    "opening_share": "share of the most common opening",
    "truth_opening_share": "the same among the references",
    "distinct_ratio": "distinct predictions / references",
    "repeats": "wrong lines that repeat another line",
    "repeat_rate": "rate of wrong lines that repeat another line",
    "truth_lines": "reference lines",
    "flagged": "incomplete predictions",
    "reached_limit": "predictions that ended at the length limit",
    "replacement_character": "predictions with the replacement character",
    "printed": "markup as printed",
    "unprintable": "predictions that are not valid markup",
    "max_aspect": "aspect ratio limit",
    "whole": "read whole",
    "in_pieces": "read in pieces",
    "low": "confidence from",
    "high": "to",
    "exact_share": "exact match",
    "without_confidence": "lines without confidence",
    "problems_unread": "problems without predictions",
    "problems_unprintable": "problems that are not one line of text",
    "boxes_missing": "boxes without predictions",
}
"""Keys of the report under another name than their own words."""


EMPTY = {
    "context_dependence": "needs errors in thirds and in shuffled words",
    "last_over_first": "no errors in first and last thirds",
    "spliced_over_own": "no shuffled words whose own line was read, or no errors in them",
    "spill_rate": "no such line is followed by a box",
    "digit_accuracy": "no digits in the references",
    "operator_accuracy": "no operators in the references",
    "equation_exact_match": "no equations in the references",
    "repeated_run_recall": "no repeated digits in the references",
    "true_equation_exact_match": "no true equations in the references",
    "false_equation_exact_match": "no false equations in the references",
    "solving_rate": "no false equations in the references",
    "wer": "no words are counted here",
    "cer": "no characters in the references",
    "mean_confidence": "no confidences stored",
}
"""Why a rate has no value, by its key."""


class Cell(NamedTuple):
    """A cell of a table, and what its column is sorted by."""

    text: str
    sort_key: float | str | None
    """None: sorted last."""
    note: str = ""
    """Small, after the text or below it."""
    style: str = ""
    """CSS classes of the text."""
    tooltip: str = ""
    bar: Bar | None = None
    pictures: Sequence[Picture | None] = ()


class Column(NamedTuple):
    """The head of a column."""

    title: str
    is_number: bool = True


class Table(NamedTuple):
    """A table that sorts by a click on a head."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A piece of a section; a page shows whatever it has, in the order of the fields."""

    title: str = ""
    text: str = ""
    values: Sequence[tuple[str, Sequence[str]]] = ()
    """A name, and its value for this model and, if the row has two, for the baseline."""
    table: Table | None = None
    baseline: Table | None = None
    """The same table of the baseline."""
    folded: Sequence["Block"] = ()
    """Counts, hidden until they are opened."""


def show_name(name: str) -> str:
    """Return a key of the report as words: `by_font` is `by font`, `cer` is `CER`."""
    return NAMES.get(name) or shorten(" ".join(WORDS.get(word, word) for word in name.split("_")))


def show_title(name: str) -> str:
    """Return a key of the report as a heading."""
    words = show_name(name)
    return words[:1].upper() + words[1:]


def show_percent(value: float | None) -> str:
    """Return a share in percent with at least three digits; `–` for None."""
    if value is None:
        return "–"
    return f"{100 * value:.2f} %" if abs(value) < 0.1 else f"{100 * value:.1f} %"


def explain_empty(name: str, value: Any, entry: Mapping[str, Any]) -> str:
    """Return why a rate of an entry has no value or no interval; empty if it has both."""
    if value is None:
        return EMPTY.get(name, "nothing to count")
    intervals = entry.get("intervals") or {}
    return "one page: no interval" if name in intervals and intervals[name] is None else ""


def show_points(value: float) -> str:
    """Return a difference of shares in percentage points, with its sign and without a unit."""
    return f"{100 * value:+.2f}".replace("-", "−")


def show_interval(interval: Sequence[float] | None) -> str:
    """Return both ends in percent; empty if there is no interval."""
    return f"{100 * interval[0]:.2f}–{100 * interval[1]:.2f} %" if interval else ""


def show_value(name: str, value: Any) -> str:
    """Return a value as text, by its type and the name of its key."""
    if value is None:
        return f"– ({EMPTY[name]})" if name in EMPTY else "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        is_share = any(word in SHARES for word in name.split("_"))
        return show_percent(value) if is_share else f"{value:,.4g}"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return shorten(text) or "(empty)"


def make_table(rows: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> Table:
    """Return mappings as the rows of a table, each with its name if there are names; without `counts`."""
    keys = list(dict.fromkeys(key for row in rows for key in row if key != "counts"))
    columns = [Column(show_name(key), all(_is_number(row.get(key)) for row in rows)) for key in keys]
    cells = [[_make_cell(key, row.get(key)) for key in keys] for row in rows]
    if names:
        columns.insert(0, Column("", is_number=False))
        cells = [[Cell(name, name), *row] for name, row in zip(names, cells, strict=True)]
    return Table(columns, cells)


def make_blocks(data: Any, name: str = "", baseline: Any = None) -> list[Block]:
    """Return any plain data as blocks, so that a new key of the report is shown too.

    Values are listed, a list of mappings is a table, a nested mapping has a title; `counts` are folded.
    `baseline` is the same data of the baseline.
    """
    if isinstance(data, Mapping):
        return list(_list_blocks(data, baseline if isinstance(baseline, Mapping) else {}))
    if isinstance(data, list | tuple) and data and all(map(_is_row, data)):
        return [Block(table=make_table(data), baseline=make_table(baseline) if baseline else None)]
    return [Block(text=show_value(name, data))]


def _list_blocks(data: Mapping[str, Any], baseline: Mapping[str, Any]) -> Iterator[Block]:
    nested = {key: value for key, value in data.items() if _is_nested(value)}
    keys = [key for key in data if key not in nested and not key.endswith("_at_least")]
    if keys:
        sides = [data, baseline] if any(key in baseline for key in keys) else [data]
        yield Block(values=[(show_name(key), [_show_fact(side, key) for side in sides]) for key in keys])
    if counts := nested.pop("counts", None):
        yield Block(folded=make_blocks(counts, baseline=baseline.get("counts")))
    if _are_alike(nested.values()):
        rows = {show_name(name): row for name, row in nested.items()}
        rows |= {f"{show_name(name)}, baseline": baseline[name] for name in nested if name in baseline}
        yield Block(table=make_table(list(rows.values()), list(rows)))
        return
    for name, value in nested.items():
        yield Block(title=show_title(name))
        yield from make_blocks(value, name, baseline.get(name))


def _show_fact(data: Mapping[str, Any], key: str) -> str:
    shown = show_value(key, data.get(key))
    return f"at least {shown}" if data.get(f"{key}_at_least") else shown


def _make_cell(key: str, value: Any) -> Cell:
    return Cell(show_value(key, value), value if _is_number(value) else str(value))


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float)


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value)
    )


def _is_row(value: Any) -> bool:
    """Return whether all values of a mapping fit into cells."""
    return isinstance(value, Mapping) and not any(
        _is_nested(item) for key, item in value.items() if key != "counts"
    )


def _are_alike(values: Iterable[Any]) -> bool:
    """Return whether these are two or more rows with the same keys."""
    keys = [tuple(value) if _is_row(value) else () for value in values]
    return len(keys) > 1 and len(set(keys)) == 1 and keys[0] != ()

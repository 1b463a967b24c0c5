"""Figures of the report as text, and as tables that sort by a click."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

MAX_TEXT_LENGTH = 500
MAX_DEPTH = 4
"""Of mappings within mappings; what lies deeper is shown as it would be printed."""
SHARES = ("cer", "wer", "rate", "share", "recall", "accuracy", "exact", "match", "error", "confidence")
"""A figure with one of these words in its name is shown in percent; a ratio of rates is not."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table: what is shown, and what its column is sorted by."""

    html: str
    value: float | str | None = None
    """None: this cell is sorted last."""
    is_number: bool = True


def shorten(text: str) -> str:
    """Return the text, its end cut off beyond 500 characters."""
    return text if len(text) <= MAX_TEXT_LENGTH else f"{text[:MAX_TEXT_LENGTH]}…"


def show_text(text: str) -> str:
    """Return a text that came from outside, as HTML."""
    return escape(shorten(text))


def show_name(name: str) -> str:
    """Return a key of the report as words: `by_font` is `by font`, `cer` is `CER`."""
    words = [word.upper() if word in ("cer", "wer") else word for word in name.split("_")]
    return show_text(" ".join(words))


def show_percent(value: float | None) -> str:
    """Return a share in percent with three figures at least; `–` for none."""
    if value is None:
        return "–"
    return f"{100 * value:.2f} %" if abs(value) < 0.1 else f"{100 * value:.1f} %"


def show_points(value: float) -> str:
    """Return a difference of shares in percentage points, with its sign and without the word."""
    return f"{100 * value:+.2f}".replace("-", "−")


def show_interval(interval: Sequence[float] | None) -> str:
    """Return both ends in percent; nothing where there is no interval."""
    if not interval or None in interval:
        return ""
    low, high = interval
    return f"{100 * low:.2f}–{100 * high:.2f} %"


def show_value(name: str, value: Any) -> str:
    """Return a figure of that name as HTML."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        is_share = any(word in SHARES for word in name.split("_"))
        return show_percent(value) if is_share else f"{value:,.4g}"
    if isinstance(value, str):
        return show_text(value)
    if isinstance(value, list | tuple):
        return show_text(", ".join(map(str, value)))
    return show_text(str(value))


def draw_table(heads: Sequence[tuple[str, bool]], rows: Iterable[Sequence[Cell]]) -> str:
    """Return a sortable table; heads are HTML, each with whether its column holds numbers."""
    head = "".join(
        f'<th{" class=number" if is_number else ""} scope="col"><button type="button">{name}</button></th>'
        for name, is_number in heads
    )
    body = "".join(f"<tr>{''.join(map(_draw_cell, row))}</tr>\n" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>\n'


def draw_facts(facts: Any, name: str = "", depth: int = 0) -> str:
    """Return any plain data: figures as a list, rows with the same keys as a table, the rest under its name.

    Nothing of the report goes unseen because its key is new. `counts` are folded away, in tables left out.
    """
    if isinstance(facts, list | tuple) and facts and all(_is_row(fact) for fact in facts):
        return _draw_rows(dict(enumerate(facts)), with_names=False)
    if not isinstance(facts, Mapping) or depth >= MAX_DEPTH:
        return f"<p>{show_value(name, facts)}</p>"
    if len(facts) > 1 and all(_is_row(fact) for fact in facts.values()) and _have_same_keys(facts):
        return _draw_rows(facts, with_names=True)
    single = {key: value for key, value in facts.items() if not _is_nested(value)}
    nested = {key: value for key, value in facts.items() if _is_nested(value) and key != "counts"}
    rows = "".join(
        f'<tr><th scope="row">{show_name(str(key))}</th>'
        f'<td class="text">{show_value(str(key), value)}</td></tr>\n'
        for key, value in single.items()
    )
    table = f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>\n' if rows else ""
    counts = facts.get("counts")
    folded = f"<details><summary>counts</summary>{draw_facts(counts)}</details>" if counts else ""
    return f"{table}{folded}" + "".join(
        f"<h3>{show_name(str(key))}</h3>{draw_facts(value, str(key), depth + 1)}"
        for key, value in nested.items()
    )


def _draw_cell(cell: Cell) -> str:
    key = "" if cell.value is None else escape(str(cell.value))
    return f'<td class="{"number" if cell.is_number else "text"}" data-sort="{key}">{cell.html}</td>'


def _draw_rows(rows: Mapping[Any, Mapping[str, Any]], *, with_names: bool) -> str:
    keys = list(dict.fromkeys(key for row in rows.values() for key in row if key != "counts"))
    are_numbers = {key: all(_is_figure(row.get(key)) for row in rows.values()) for key in keys}
    heads = [(show_name(str(key)), are_numbers[key]) for key in keys]
    cells = [
        [
            *([Cell(show_name(str(name)), str(name), is_number=False)] if with_names else []),
            *(_make_cell(str(key), row.get(key), is_number=are_numbers[key]) for key in keys),
        ]
        for name, row in rows.items()
    ]
    return draw_table([("", False), *heads] if with_names else heads, cells)


def _make_cell(name: str, value: Any, *, is_number: bool) -> Cell:
    key = value if value is None or _is_figure(value) else str(value)
    return Cell(show_value(name, value), key, is_number=is_number)


def _is_figure(value: Any) -> bool:
    return value is None or isinstance(value, int | float)


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value)
    )


def _is_row(value: Any) -> bool:
    """Return whether all of a mapping's values fit into a cell."""
    return isinstance(value, Mapping) and not any(
        _is_nested(item) for key, item in value.items() if key != "counts"
    )


def _have_same_keys(facts: Mapping[str, Mapping[str, Any]]) -> bool:
    return len({frozenset(map(str, row)) for row in facts.values()}) == 1

"""Figures of the report as text, and as tables that sort by a click."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

MAX_TEXT_LENGTH = 500
SHARES = ("cer", "wer", "rate", "share", "recall", "accuracy", "exact", "match", "error", "confidence")
"""A figure with one of these words in its name is shown in percent; a ratio of rates is not."""


class Cell(NamedTuple):
    """A cell of a table: what is shown, and what its column is sorted by."""

    html: str
    value: float | str | None
    """None: this cell is sorted last."""


class Head(NamedTuple):
    """The head of a column."""

    html: str
    is_number: bool = True


def show_text(text: str) -> str:
    """Return a text that came from outside as HTML, its end cut off beyond 500 characters."""
    return escape(text if len(text) <= MAX_TEXT_LENGTH else f"{text[:MAX_TEXT_LENGTH]}…")


def show_name(name: str) -> str:
    """Return a key of the report as words: `by_font` is `by font`, `cer` is `CER`."""
    words = [word.upper() if word in ("cer", "wer") else word for word in name.split("_")]
    return show_text(" ".join(words))


def show_title(name: str) -> str:
    """Return a key of the report as a heading."""
    words = show_name(name)
    return words[:1].upper() + words[1:]


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
    return f"{100 * interval[0]:.2f}–{100 * interval[1]:.2f} %" if interval else ""


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
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return show_text(text) or "(empty)"


def draw_table(heads: Sequence[Head], rows: Iterable[Sequence[Cell]]) -> str:
    """Return a table whose rows a click on a head sorts."""
    classes = ["number" if head.is_number else "text" for head in heads]
    head = "".join(
        f'<th class="{kind}" scope="col"><button type="button">{name}</button></th>'
        for kind, (name, _) in zip(classes, heads, strict=True)
    )
    body = "".join(f"<tr>{_draw_cells(row, classes)}</tr>\n" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>\n'


def draw_rows(rows: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> str:
    """Return rows of figures as a table, each with its name where there are names; `counts` are left out."""
    keys = list(dict.fromkeys(key for row in rows for key in row if key != "counts"))
    heads = [Head(show_name(key), all(_is_number(row.get(key)) for row in rows)) for key in keys]
    cells = [[_make_cell(key, row.get(key)) for key in keys] for row in rows]
    if names:
        heads.insert(0, Head("", is_number=False))
        cells = [[Cell(show_name(name), name), *row] for name, row in zip(names, cells, strict=True)]
    return draw_table(heads, cells)


def draw_facts(facts: Any, name: str = "", beside: Any = None) -> str:
    """Return any plain data, so that nothing of a report goes unseen because its key is new.

    Figures are a list, rows of figures a table, the rest stands under its name; `counts` are folded away.
    `beside` is the same of a baseline.
    """
    if isinstance(facts, Mapping):
        return _draw_mapping(facts, beside if isinstance(beside, Mapping) else {})
    if isinstance(facts, list | tuple) and facts and all(map(_is_row, facts)):
        return draw_beside(draw_rows(facts), draw_rows(beside) if beside else "")
    return f"<p>{show_value(name, facts)}</p>"


def draw_beside(here: str, baseline: str) -> str:
    """Return both side by side, one above the other where there is no room; one alone as it is."""
    if not (here and baseline):
        return here
    return f'<div class="beside"><div><h4>here</h4>{here}</div><div><h4>baseline</h4>{baseline}</div></div>'


def _draw_mapping(facts: Mapping[str, Any], beside: Mapping[str, Any]) -> str:
    nested = {key: value for key, value in facts.items() if _is_nested(value)}
    drawn = _draw_figures({key: value for key, value in facts.items() if key not in nested}, beside)
    if counts := nested.pop("counts", None):
        folded = draw_facts(counts, beside=beside.get("counts"))
        drawn += f"<details><summary>counts</summary>{folded}</details>"
    if _are_alike(nested.values()):
        theirs = {f"{name}, baseline": beside[name] for name in nested if name in beside}
        return drawn + draw_rows([*nested.values(), *theirs.values()], [*nested, *theirs])
    return drawn + "".join(
        f"<h3>{show_title(name)}</h3>{draw_facts(value, name, beside.get(name))}"
        for name, value in nested.items()
    )


def _draw_figures(figures: Mapping[str, Any], beside: Mapping[str, Any]) -> str:
    """Return a row for each figure, with that of the baseline if it has any of them."""
    keys = [key for key in figures if not key.endswith("_at_least")]
    if not keys:
        return ""
    has_baseline = any(key in beside for key in keys)
    sides = (figures, beside) if has_baseline else (figures,)
    head = "<thead><tr><td></td><th>here</th><th>baseline</th></tr></thead>" if has_baseline else ""
    rows = "".join(
        f'<tr><th scope="row">{show_name(key)}</th>'
        + "".join(f'<td class="text">{_show_fact(side, key)}</td>' for side in sides)
        + "</tr>\n"
        for key in keys
    )
    return f'<div class="scroll"><table>{head}<tbody>{rows}</tbody></table></div>\n'


def _show_fact(facts: Mapping[str, Any], key: str) -> str:
    shown = show_value(key, facts.get(key))
    return f"at least {shown}" if facts.get(f"{key}_at_least") else shown


def _draw_cells(cells: Iterable[Cell], classes: Iterable[str]) -> str:
    return "".join(
        f'<td class="{kind}" data-sort="{"" if cell.value is None else escape(str(cell.value))}">'
        f"{cell.html}</td>"
        for cell, kind in zip(cells, classes, strict=True)
    )


def _make_cell(key: str, value: Any) -> Cell:
    return Cell(show_value(key, value), value if _is_number(value) else str(value))


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float)


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value)
    )


def _is_row(value: Any) -> bool:
    """Return whether all of a mapping's values fit into cells."""
    return isinstance(value, Mapping) and not any(
        _is_nested(item) for key, item in value.items() if key != "counts"
    )


def _are_alike(values: Iterable[Any]) -> bool:
    """Return whether there are two rows or more, all with the same figures."""
    keys = [tuple(value) if _is_row(value) else () for value in values]
    return len(keys) > 1 and len(set(keys)) == 1 and keys[0] != ()

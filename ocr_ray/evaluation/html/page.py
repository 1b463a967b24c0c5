"""The report of an evaluation as one page to look at: nothing is fetched, nothing outside of it is needed.

A section appears where the report holds its data; a key without a section of its own is shown as it is, so
that no figure of report.json goes unseen.

`overall`            entry: lines, rates, counts, `intervals` {rate: [low, high]}
`by_…`               {slice: entry}; `unknown_lines` {family: lines that are in no slice of it}
`baseline`           what `compare_reports` returns
`joined_problems`    entry, with that of the labels joined alike as `of_truths`, and what was `found`
`calibration`        what `Calibration.to_report` returns
`confusions`         [{truth, read, count}], the commonest first
`config` `hashes`    what was evaluated
the keys of `NOTES`  plain figures
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ocr_ray.evaluation.html.charts import draw_bar, draw_calibration, find_scale
from ocr_ray.evaluation.html.comparison import draw_compared_family, draw_compared_headline
from ocr_ray.evaluation.html.examples import Example, Examples, draw_example, draw_image, show_piece
from ocr_ray.evaluation.html.style import SCRIPT, STYLE, security_policy
from ocr_ray.evaluation.html.tables import (
    Cell,
    Head,
    draw_beside,
    draw_facts,
    draw_rows,
    draw_table,
    show_interval,
    show_name,
    show_percent,
    show_text,
    show_title,
    show_value,
)

HEADLINE = {
    "cer": "character error rate",
    "wer": "word error rate",
    "exact_match": "lines without any error",
    "character_accuracy": "characters that were read",
}
MAX_CONFUSIONS = 30
MAX_CONFUSION_IMAGES = 3
MAX_EXAMPLES = 30
NOTES = {
    "context_dependence": "Whether the model reads or guesses: errors in the last third of a line over "
    "errors in its first, and on words out of order over the same words in their own order. A model that "
    "only reads has quotients near 1; “at least” means that the better side has no error at all.",
    "overread": "What was read beyond the end of the line, and how often it is the beginning of the next "
    "box of the same problem (spill).",
    "arithmetic": "Digits, signs and whole equations; repeated digits that were kept; and solving: a true "
    "equation read where a false one is printed.",
    "collapse": "Whether the model says the same whatever it sees: the commonest opening, and how many "
    "different readings there are, against the truth.",
    "printed": "Of a model that learnt markup: truths and readings as they print.",
    "long_lines": "Lines wider than so many of their heights, read whole and read in pieces.",
}
"""The sections of plain figures, in their order, with what they tell."""
_OWN_KEYS = {
    *("overall", "baseline", "calibration", "confusions", "config", "hashes", "unknown_lines"),
    *("joined_problems", *NOTES),
}

Section = tuple[str, str]
"""A title and its content, both HTML."""


def report_html(report: Mapping[str, Any], examples: Examples | None = None) -> str:
    """Return the page: HTML with its style, script and pictures inside, for a browser, a phone or a printer.

    Takes what json.loads gives from report.json; any key may be missing.
    """
    sections = [section for section in _draw_sections(report, examples or Examples()) if section[1]]
    links = "".join(f'<a href="#s{place}">{title}</a>' for place, (title, _) in enumerate(sections))
    body = "".join(
        f'<section id="s{place}"><h2>{title}</h2>\n{content}</section>\n'
        for place, (title, content) in enumerate(sections)
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{security_policy()}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{_title(report)}</title><style>{STYLE}</style></head>\n'
        f"<body><h1>{_title(report)}</h1>\n<nav>{links}</nav>\n{body}<script>{SCRIPT}</script></body></html>\n"
    )


def _draw_sections(report: Mapping[str, Any], examples: Examples) -> Iterator[Section]:
    theirs = (report.get("baseline") or {}).get("figures") or {}
    yield "Headline", _draw_headline(report)
    for name in report:
        if name.startswith("by_") and report[name]:
            yield show_title(name), _draw_family(report, name)
    for name, note in NOTES.items():
        if report.get(name):
            yield show_title(name), f"<p>{note}</p>{draw_facts(report[name], name, theirs.get(name))}"
    yield "Joined problems", _draw_problems(report.get("joined_problems"), theirs.get("joined_problems"))
    there = _draw_calibration(theirs.get("calibration") or {})
    yield "Calibration of confidence", draw_beside(_draw_calibration(report.get("calibration") or {}), there)
    yield "Commonest confusions", _draw_confusions(report.get("confusions") or (), examples)
    yield "Worst lines", _draw_examples(examples.worst)
    yield "Lines drawn at random", _draw_examples(examples.random)
    for name in report:
        if name not in _OWN_KEYS and not name.startswith("by_"):
            yield show_title(name), draw_facts(report[name], name, theirs.get(name))
    yield "What was evaluated", _draw_origin(report)


def _title(report: Mapping[str, Any]) -> str:
    model = (report.get("config") or {}).get("model_uri")
    return f"What {show_text(str(model))} reads" if model else "What the model reads"


def _draw_headline(report: Mapping[str, Any]) -> str:
    entry = report.get("overall")
    if not entry:
        return ""
    intervals = entry.get("intervals") or {}
    cards = [
        _draw_card(title, show_percent(entry[rate]), show_interval(intervals.get(rate)))
        for rate, title in HEADLINE.items()
        if rate in entry
    ]
    dependence = (report.get("context_dependence") or {}).get("context_dependence")
    if dependence is not None:
        cards.append(_draw_card("context dependence", f"{dependence:.3g}", "1: reads, more: guesses"))
    rest = {name: value for name, value in entry.items() if name not in (*HEADLINE, "intervals")}
    note = (
        '<p class="faint">Below a rate: its 95 % interval, by bootstrap over pages.</p>' if intervals else ""
    )
    compared = draw_compared_headline(report["baseline"], HEADLINE) if report.get("baseline") else ""
    return f'<div class="cards">{"".join(cards)}</div>{note}{draw_facts(rest)}{compared}'


def _draw_card(title: str, figure: str, note: str) -> str:
    return f'<div class="card"><small>{title}</small><b>{figure}</b><small>{note}</small></div>'


def _draw_family(report: Mapping[str, Any], family: str) -> str:
    """Return the slices of a family: each with a bar of its CER, and with the baseline where there is one."""
    entries: Mapping[str, Mapping[str, Any]] = report[family]
    rates = [rate for rate in HEADLINE if any(entry.get(rate) is not None for entry in entries.values())]
    ends = [end for entry in entries.values() for end in (entry.get("intervals") or {}).get("cer") or ()]
    scale = find_scale([*(entry.get("cer") for entry in entries.values()), *ends])
    heads = [Head("slice", is_number=False), Head("", is_number=False)]
    heads += [*(Head(show_name(rate)) for rate in rates), Head("lines")]
    table = draw_table(
        heads, [_make_slice(name, entry, rates, scale=scale) for name, entry in entries.items()]
    )
    whiskers = ", with its 95 % interval" if ends else ""
    note = f'<p class="faint">Bars: CER from 0 to {show_percent(scale)}{whiskers}.</p>'
    unknown = (report.get("unknown_lines") or {}).get(family)
    left_out = f'<p class="faint">{unknown:,} lines are in none of these.</p>' if unknown else ""
    compared = (report.get("baseline") or {}).get(family)
    return f"{table}{note}{left_out}{draw_compared_family(compared) if compared else ''}"


def _make_slice(name: str, entry: Mapping[str, Any], rates: Sequence[str], *, scale: float) -> list[Cell]:
    intervals = entry.get("intervals") or {}
    cer = entry.get("cer")
    figures = [
        (rate, f"{show_percent(entry.get(rate))}<br><small>{show_interval(intervals.get(rate))}</small>")
        for rate in rates
    ]
    return [
        Cell(show_text(name), name),
        Cell(draw_bar(cer, intervals.get("cer"), scale=scale), cer),
        *(Cell(shown, entry.get(rate)) for rate, shown in figures),
        Cell(show_value("lines", entry.get("lines")), entry.get("lines")),
    ]


def _draw_problems(found: Mapping[str, Any] | None, theirs: Mapping[str, Any] | None) -> str:
    """Return the rates over whole problems, of both models and of a perfect reader."""
    if not found:
        return ""
    readings = {"read": found, "read by the baseline": theirs, "labels joined alike": found.get("of_truths")}
    rows = {
        name: {rate: value for rate, value in entry.items() if not isinstance(value, Mapping)}
        for name, entry in readings.items()
        if entry
    }
    return (
        "<p>The readings of a problem's boxes in their order, against the whole problem; its labels joined "
        "alike are what a perfect reader gets.</p>"
        f"{draw_rows(list(rows.values()), list(rows))}{draw_facts(found.get('found') or {})}"
    )


def _draw_calibration(calibration: Mapping[str, Any]) -> str:
    bins = [found for found in calibration.get("bins") or () if found.get("lines")]
    drawn = draw_facts({name: value for name, value in calibration.items() if name != "bins"})
    if not bins:
        return drawn
    return (
        f'{drawn}<p class="faint">Each dot is a tenth of the confidences; below the dashed line the model is '
        f"surer than it is right.</p>{draw_calibration(bins)}{draw_rows(bins)}"
    )


def _draw_confusions(confusions: Sequence[Mapping[str, Any]], examples: Examples) -> str:
    if not confusions:
        return ""
    rows = []
    for confusion in confusions[:MAX_CONFUSIONS]:
        truth, read = confusion["truth"], confusion["read"]
        lines = examples.confusions.get((truth, read), ())[:MAX_CONFUSION_IMAGES]
        rows.append(
            [
                *(
                    Cell(f'<span class="piece">{show_piece(text)}</span>', text or None)
                    for text in (truth, read)
                ),
                Cell(show_value("count", confusion["count"]), confusion["count"]),
                Cell("".join(map(draw_image, lines)), len(lines)),
            ]
        )
    heads = [Head("printed", is_number=False), Head("read", is_number=False), Head("times")]
    return draw_table([*heads, Head("examples", is_number=False)], rows)


def _draw_examples(lines: Sequence[Example]) -> str:
    if not lines:
        return ""
    return f'<div class="examples">{"".join(map(draw_example, lines[:MAX_EXAMPLES]))}</div>'


def _draw_origin(report: Mapping[str, Any]) -> str:
    """Return the configuration and the hashes of both models, with their own names for everything."""
    baseline = report.get("baseline") or {}
    origin = {
        **{name: report.get(name) for name in ("config", "hashes")},
        **{f"baseline {name}": baseline.get(name) for name in ("config", "hashes")},
    }
    rows = "".join(
        f'<tr><th scope="row">{show_text(" / ".join(names))}</th>'
        f'<td class="text path">{show_value("", value)}</td></tr>\n'
        for names, value in _list_leaves(origin)
    )
    return f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>\n' if rows else ""


def _list_leaves(
    facts: Mapping[str, Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _list_leaves(value, (*above, name))
        elif value is not None:
            yield (*above, name), value

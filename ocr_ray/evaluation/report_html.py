"""The report of an evaluation as one page to look at: nothing is fetched, nothing outside of it is needed.

A section appears where the report holds its data; a key without a section of its own is shown as it is, so
that no figure of report.json goes unseen.

`overall`            entry: lines, rates, counts, `intervals` {rate: [low, high]}
`by_…`               {slice: entry}; `unknown_lines` {family: lines that are in no slice of it}
`baseline`           what `compare_reports` returns
`calibration`        what `Calibration.to_report` returns
`confusions`         [{truth, read, count}], the commonest first
`context_dependence` `overread` `arithmetic` `collapse` `joined_problems`    plain figures, named
`config` `hashes`    what was evaluated
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ocr_ray.evaluation.report_charts import draw_bar, draw_calibration
from ocr_ray.evaluation.report_comparison import draw_compared_family, draw_compared_headline
from ocr_ray.evaluation.report_examples import Example, Examples, draw_example, draw_image, show_piece
from ocr_ray.evaluation.report_style import SCRIPT, STYLE, security_policy
from ocr_ray.evaluation.report_tables import (
    Cell,
    draw_facts,
    draw_table,
    show_interval,
    show_name,
    show_percent,
    show_text,
    show_value,
)

HEADLINE = {
    "cer": "character error rate",
    "wer": "word error rate",
    "exact_match": "lines without any error",
    "character_accuracy": "characters of the truth that were read",
}
MAX_CONFUSIONS = 30
MAX_CONFUSION_IMAGES = 3
MAX_EXAMPLES = 30
NOTES = {
    "context_dependence": "Whether the model reads or guesses: errors in the last third of a line over "
    "errors in its first, and on words out of order over the same words in their own order. A model that "
    "only reads has quotients near 1; `at least` means that the better side has no error at all.",
    "overread": "What was read beyond the end of the line, and how often it is the beginning of the next "
    "box of the same problem.",
    "arithmetic": "Digits, signs and whole equations; repeated digits that were kept; and solving: a true "
    "equation read where a false one is printed.",
    "collapse": "Whether the model says the same whatever it sees: the commonest opening, and how many "
    "different readings there are, against the truth.",
    "joined_problems": "The readings of a problem's boxes in their order, against the whole problem.",
}
"""The sections of plain figures, in their order, with what they tell."""
_OWN_KEYS = {"overall", "baseline", "calibration", "confusions", "config", "hashes", "unknown_lines", *NOTES}

Section = tuple[str, str]
"""A title and its HTML."""


def report_html(report: Mapping[str, Any], examples: Examples | None = None) -> str:
    """Return the page: HTML with its style, script and pictures inside, for a browser, a phone or a printer.

    Takes what json.loads gives from report.json; any key may be missing.
    """
    shown = examples or Examples()
    sections = [section for section in _draw_sections(report, shown) if section[1]]
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


def _draw_sections(report: Mapping[str, Any], examples: Examples) -> list[Section]:
    families = [name for name, value in report.items() if name.startswith("by_") and value]
    others = [name for name in report if name not in _OWN_KEYS and not name.startswith("by_")]
    return [
        ("Headline", _draw_headline(report)),
        *[(show_name(name).capitalize(), _draw_family(report, name)) for name in families],
        *[(show_name(name).capitalize(), _draw_figures(report, name)) for name in NOTES],
        ("Calibration of confidence", _draw_calibration(report.get("calibration") or {})),
        ("Commonest confusions", _draw_confusions(report.get("confusions") or (), examples)),
        ("Worst lines", _draw_examples(examples.worst)),
        ("Lines drawn at random", _draw_examples(examples.random)),
        *[(show_name(name).capitalize(), draw_facts(report[name], name)) for name in others],
        ("What was evaluated", _draw_origin(report)),
    ]


def _title(report: Mapping[str, Any]) -> str:
    model = (report.get("config") or {}).get("model_uri")
    return f"What {show_text(str(model))} reads" if model else "What the model reads"


def _draw_headline(report: Mapping[str, Any]) -> str:
    entry = report.get("overall")
    if not entry:
        return ""
    intervals = entry.get("intervals") or {}
    cards = "".join(
        f'<div class="card"><small>{title}</small><b>{show_percent(entry[rate])}</b>'
        f'<span class="faint">{show_interval(intervals.get(rate))}</span></div>'
        for rate, title in HEADLINE.items()
        if rate in entry
    )
    rest = {name: value for name, value in entry.items() if name not in (*HEADLINE, "intervals", "counts")}
    note = (
        '<p class="faint">Below a rate: its 95 % interval, by bootstrap over pages.</p>' if intervals else ""
    )
    compared = draw_compared_headline(report["baseline"], HEADLINE) if report.get("baseline") else ""
    return f'<div class="cards">{cards}</div>{note}{draw_facts(rest)}{compared}'


def _draw_family(report: Mapping[str, Any], family: str) -> str:
    """Return the slices of a family: each with a bar of its CER, and with the baseline where there is one."""
    entries = {name: entry for name, entry in report[family].items() if isinstance(entry, Mapping)}
    if len(entries) < len(report[family]):
        return draw_facts(report[family], family)
    rates = [rate for rate in HEADLINE if any(rate in entry for entry in entries.values())]
    ends = [(entry.get("intervals") or {}).get("cer") or [0.0] for entry in entries.values()]
    scale = max(
        0.0, *(max(entry.get("cer") or 0.0, *end) for entry, end in zip(entries.values(), ends, strict=True))
    )
    heads = [("slice", False), ("", False), *((show_name(rate), True) for rate in rates), ("lines", True)]
    rows = [_make_slice(name, entry, rates, scale=scale) for name, entry in entries.items()]
    unknown = (report.get("unknown_lines") or {}).get(family)
    left_out = f'<p class="faint">{unknown:,} lines are in none of these.</p>' if unknown else ""
    compared = (report.get("baseline") or {}).get(family)
    beside = draw_compared_family(compared) if compared else ""
    whiskers = ", with its 95 % interval" if any(len(pair) > 1 for pair in ends) else ""
    note = f'<p class="faint">Bars: CER from 0 to {show_percent(scale)}{whiskers}.</p>'
    return f"{draw_table(heads, rows)}{note}{left_out}{beside}"


def _make_slice(name: str, entry: Mapping[str, Any], rates: Sequence[str], *, scale: float) -> list[Cell]:
    intervals = entry.get("intervals") or {}
    cer = entry.get("cer")
    return [
        Cell(show_text(name), name, is_number=False),
        Cell(draw_bar(cer, intervals.get("cer"), scale=scale), cer, is_number=False),
        *(
            Cell(
                f"{show_percent(entry.get(rate))}<br><small>{show_interval(intervals.get(rate))}</small>",
                entry.get(rate),
            )
            for rate in rates
        ),
        Cell(show_value("lines", entry.get("lines")), entry.get("lines")),
    ]


def _draw_figures(report: Mapping[str, Any], name: str) -> str:
    figures = report.get(name)
    if not figures:
        return ""
    theirs = ((report.get("baseline") or {}).get("figures") or {}).get(name)
    drawn = draw_facts(figures, name)
    if theirs:
        drawn = (
            f'<div class="beside"><div><h3>here</h3>{drawn}</div>'
            f"<div><h3>baseline</h3>{draw_facts(theirs, name)}</div></div>"
        )
    return f"<p>{NOTES[name]}</p>{drawn}"


def _draw_calibration(calibration: Mapping[str, Any]) -> str:
    bins = [found for found in calibration.get("bins") or () if found.get("lines")]
    rest = {name: value for name, value in calibration.items() if name != "bins"}
    if not rest and not bins:
        return ""
    diagram = (
        '<p class="faint">Each dot is a tenth of the confidences; below the dashed line the model is surer '
        f"than it is right.</p>{draw_calibration(bins)}{draw_facts(bins)}"
    )
    return f"{draw_facts(rest)}{diagram if bins else ''}"


def _draw_confusions(confusions: Sequence[Mapping[str, Any]], examples: Examples) -> str:
    if not confusions:
        return ""
    rows = []
    for confusion in confusions[:MAX_CONFUSIONS]:
        truth, read = confusion["truth"], confusion["read"]
        lines = examples.confusions.get((truth, read), ())[:MAX_CONFUSION_IMAGES]
        rows.append(
            [
                Cell(show_piece(truth), truth or None, is_number=False),
                Cell(show_piece(read), read or None, is_number=False),
                Cell(show_value("count", confusion["count"]), confusion["count"]),
                Cell("".join(map(draw_image, lines)), len(lines), is_number=False),
            ]
        )
    return draw_table([("printed", False), ("read", False), ("times", True), ("examples", False)], rows)


def _draw_examples(lines: Sequence[Example]) -> str:
    if not lines:
        return ""
    return f'<div class="examples">{"".join(map(draw_example, lines[:MAX_EXAMPLES]))}</div>'


def _draw_origin(report: Mapping[str, Any]) -> str:
    found = {name: report[name] for name in ("config", "hashes") if report.get(name)}
    baseline = report.get("baseline") or {}
    theirs = {f"baseline_{name}": baseline[name] for name in ("config", "hashes") if baseline.get(name)}
    return draw_facts({**found, **theirs}) if found or theirs else ""

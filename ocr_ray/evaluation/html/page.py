"""The report of an evaluation as a self-contained HTML page.

A section appears where the report has its data. A key without a section of its own is shown as it is, so that
every value of report.json can be seen.

`holdout`            what `Holdout.describe` returns, after the summary
`overall`            entry: lines, rates, counts, `intervals` {rate: [low, high]}
`by_…`               {slice: entry}; `unknown_lines` {family: lines that are in no slice of it}
`baseline`           what `compare_reports` returns
`joined_problems`    entry, with that of the joined references as `of_truths`, and counts as `found`
`calibration`        what `Calibration.describe` returns
`confusions`         [{truth, read, count}], the most common first
`error_kinds`        counts of wrong lines by kind
`config` `hashes` `created_at`   what was evaluated
the keys of `NOTES`  plain values
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from ocr_ray.evaluation.html.charts import BAR_SIZE_PX, find_scale, make_bar, make_dots
from ocr_ray.evaluation.html.examples import Example, Examples, make_picture, mark_errors, show_characters
from ocr_ray.evaluation.html.summary import KIND_TITLES, RATES, describe_summary
from ocr_ray.evaluation.html.tables import (
    Block,
    Cell,
    Column,
    Table,
    explain_empty,
    make_blocks,
    make_table,
    show_interval,
    show_name,
    show_percent,
    show_points,
    show_title,
    show_value,
)
from ocr_ray.html_page import render_page, shorten

MAX_CONFUSIONS = 30
MAX_CONFUSION_IMAGES = 3
MAX_EXAMPLES = 30
NO_IMAGES = "no line kept"
MAX_P_VALUE = 0.05
"""A difference is marked as significant below this p-value, in slices below this q-value."""
SUMMARY, SLICES, GUESSING, MEASURES, LINES, ORIGIN = (
    *("Findings", "Error rates by group", "Reading or guessing", "Other measures", "Lines", "Origin"),
)
"""The groups of sections, in the table of contents."""
HOLDOUT_NOTE = (
    "Lines with a font, a word, a number of three or more digits, a problem (whatever its numbers) or a "
    "topic of the page ids that the training data does not have. What the base model was trained "
    "on before is not known. “–”: not known."
)
NOTES = {
    "context_dependence": "Does the model read, or guess from context? Errors in the last third of a line "
    "against the first, and on shuffled words against the same words in order. Both ratios are near 1 for a "
    "model that only reads. “At least”: the better side has no errors.",
    "overread": "Text predicted after the end of the line, and how often it is the start of the next box of "
    "the same problem (spill).",
    "arithmetic": "Digits, operators and whole equations; repeated digits; and solving: a true equation is "
    "predicted where the image shows a false one.",
    "collapse": "Does the model give the same output whatever it sees? The most common opening, and the "
    "number of different predictions, compared with the references.",
    "error_kinds": "Wrong lines, each counted once, by the first of these that holds: only spaces are wrong; "
    "two or more characters follow after the end of the line; its last two characters or more are missing; a "
    "character is read as another; characters are inserted or left out inside the line.",
    "flagged": "Predictions that ended at the model's length limit, so that the rest of the line may be "
    "missing; and those with the replacement character U+FFFD, where tokens were no whole character.",
    "printed": "For a model trained on markup: references and predictions compared as they print.",
    "long_lines": "Lines above the aspect ratio limit, read whole and read in pieces.",
}
"""The sections of plain values in their order, each with its explanation."""
_GUESSING = ("context_dependence", "overread", "arithmetic", "collapse", "error_kinds")
_OWN_KEYS = {
    "created_at",
    *("overall", "baseline", "calibration", "confusions", "config", "hashes", "unknown_lines"),
    *("holdout", "joined_problems", *NOTES),
}
_HIGHER_IS_BETTER = ("exact_match", "character_accuracy")
_LINES = {
    "both": "in both evaluations",
    "only_here": "only in this one",
    "only_baseline": "only in the baseline",
    "other_truth": "with another reference",
}


class Section(NamedTuple):
    """A section of the page."""

    group: str
    title: str
    macro: str
    """The macro in `report.html` that shows the content."""
    content: Any
    """Plain values; the section is left out if it is empty."""


def report_html(report: Mapping[str, Any], examples: Examples | None = None) -> str:
    """Return the page of what json.loads gives for report.json; any key may be missing."""
    model = (report.get("config") or {}).get("model_uri")
    sections = [section for section in _list_sections(report, examples or Examples()) if section.content]
    return render_page(
        "evaluation/html/report.html",
        title=f"OCR evaluation of {shorten(str(model))}" if model else "OCR evaluation",
        groups=[
            (name, list(of_group))
            for name, of_group in groupby(enumerate(sections), lambda item: item[1].group)
        ],
        bar_size=BAR_SIZE_PX,
        max_p_value=MAX_P_VALUE,
    )


def _list_sections(report: Mapping[str, Any], examples: Examples) -> Iterator[Section]:
    baseline = (report.get("baseline") or {}).get("figures") or {}
    yield Section(SUMMARY, "Summary", "summary", describe_summary(report))
    if holdout := report.get("holdout"):
        content = {"note": HOLDOUT_NOTE, "blocks": make_blocks(holdout, "", baseline.get("holdout"))}
        yield Section(SUMMARY, "Never seen in training", "values", content)
    kinds = [
        {"title": KIND_TITLES[kind], "lines": [_describe_example(line) for line in lines]}
        for kind, lines in examples.kinds.items()
    ]
    yield Section(SUMMARY, "Typical errors", "kinds", kinds)
    yield Section(SUMMARY, "Overview", "overview", _describe_overview(report))
    for name in report:
        if name.startswith("by_"):
            yield Section(SLICES, show_title(name), "family", _describe_family(report, name))
    for group in (GUESSING, MEASURES):
        for name in NOTES:
            if report.get(name) and (name in _GUESSING) == (group == GUESSING):
                yield _make_section(report, name, group)
    problems = _describe_problems(report.get("joined_problems"), baseline.get("joined_problems"))
    yield Section(MEASURES, "Whole problems", "values", problems)
    sides = [_describe_calibration(side.get("calibration") or {}) for side in (report, baseline)]
    calibration = [side for side in sides if side] if sides[0] else ()
    yield Section(MEASURES, "Confidence calibration", "calibration", calibration)
    for name in report:
        if name not in _OWN_KEYS and not name.startswith("by_"):
            yield _make_section(report, name, MEASURES)
    yield Section(LINES, "Most common confusions", "confusions", _tabulate_confusions(report, examples))
    for title, lines in (("Worst lines", examples.worst), ("Random lines", examples.random)):
        yield Section(LINES, title, "examples", [_describe_example(line) for line in lines[:MAX_EXAMPLES]])
    yield Section(ORIGIN, "Configuration and hashes", "origin", _list_origin(report))


def _make_section(report: Mapping[str, Any], name: str, group: str) -> Section:
    """Return a section of plain values, of the baseline too."""
    baseline = ((report.get("baseline") or {}).get("figures") or {}).get(name)
    blocks = make_blocks(report[name], name, baseline)
    return Section(group, show_title(name), "values", {"note": NOTES.get(name, ""), "blocks": blocks})


def _describe_overview(report: Mapping[str, Any]) -> dict[str, Any]:
    entry = report.get("overall")
    if not entry:
        return {}
    return {
        "blocks": make_blocks(
            {key: value for key, value in entry.items() if key not in (*RATES, "intervals")}
        ),
        "comparison": _compare_overall(report["baseline"]) if report.get("baseline") else None,
    }


def _compare_overall(baseline: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rates of both models over the lines that both have read."""
    titles = ("", "this model", "baseline", "difference", "95 % interval")
    rows = []
    for rate, title in RATES.items():
        if pair := (baseline.get("overall") or {}).get(rate):
            low, high = pair.get("low"), pair.get("high")
            interval = "" if low is None or high is None else f"{show_points(low)} to {show_points(high)}"
            rows.append([Cell(title, title), *_compare(rate, pair), Cell(interval, low)])
    lines = (baseline.get("lines") or {}).items()
    return {
        "model": shorten(str((baseline.get("config") or {}).get("model_uri") or "")),
        "table": Table([Column(title, is_number=bool(title)) for title in titles], rows),
        "lines": ", ".join(f"{show_value('', number)} {_LINES.get(name, name)}" for name, number in lines),
    }


def _describe_family(report: Mapping[str, Any], family: str) -> dict[str, Any]:
    """Return the slices of a family, each with a bar of its CER, and their comparison with the baseline."""
    entries: Mapping[str, Mapping[str, Any]] = report[family]
    unknown = (report.get("unknown_lines") or {}).get(family)
    if not entries:
        return {"unknown": show_value("lines", unknown), "table": None} if unknown else {}
    rates = [
        rate
        for rate in RATES
        if rate == "cer" or any(entry.get(rate) is not None for entry in entries.values())
    ]
    ends = [end for entry in entries.values() for end in (entry.get("intervals") or {}).get("cer") or ()]
    compared = (report.get("baseline") or {}).get(family) or {}
    pairs = [entry.get("cer") or {} for entry in compared.values()]
    both = [pair.get(side) for pair in pairs for side in ("here", "baseline")]
    scale = find_scale([*(entry.get("cer") for entry in entries.values()), *ends, *both])
    columns = [Column("slice", is_number=False), Column("", is_number=False)]
    columns += [Column(show_name(name)) for name in (*rates, "lines")]
    table = Table(columns, [_make_slice(name, entry, rates, scale=scale) for name, entry in entries.items()])
    comparison = _compare_family(compared, scale)
    bars = [cell.bar for side in (table, comparison) if side for row in side.rows for cell in row if cell.bar]
    return {
        "table": table,
        "scale": show_percent(scale),
        "is_cut": any(bar.is_cut for bar in bars),
        "has_intervals": bool(ends),
        "unknown": show_value("lines", unknown) if unknown else "",
        "comparison": comparison,
    }


def _make_slice(name: str, entry: Mapping[str, Any], rates: Sequence[str], *, scale: float) -> list[Cell]:
    intervals = entry.get("intervals") or {}
    cer, lines = entry.get("cer"), entry.get("lines")
    return [
        Cell(shorten(name), name),
        Cell("", cer, bar=make_bar(cer, intervals.get("cer"), scale=scale)),
        *(
            Cell(
                show_percent(entry.get(rate)),
                entry.get(rate),
                note=show_interval(intervals.get(rate)) or explain_empty(rate, entry.get(rate), entry),
            )
            for rate in rates
        ),
        Cell(show_value("lines", lines), lines),
    ]


def _compare_family(entries: Mapping[str, Mapping[str, Any]], scale: float) -> Table | None:
    """Return CER and exact match of both models by slice; None if the baseline has no slices."""
    pairs = [entry.get("cer") or {} for entry in entries.values()]
    if all(pair.get("baseline") is None for pair in pairs):
        return None
    names = ("CER", "baseline", "difference", "exact match", "baseline", "difference", "lines")
    columns = [Column("slice", is_number=False), Column("", is_number=False), *map(Column, names)]
    rows = [
        [
            Cell(shorten(name), name),
            Cell(
                "",
                pair.get("here"),
                bar=make_bar(pair.get("here"), scale=scale, baseline=pair.get("baseline")),
            ),
            *_compare("cer", pair),
            *_compare("exact_match", entry.get("exact_match") or {}),
            Cell(show_value("lines", entry.get("lines")), entry.get("lines")),
        ]
        for (name, entry), pair in zip(entries.items(), pairs, strict=True)
    ]
    return Table(columns, rows)


def _compare(rate: str, pair: Mapping[str, Any]) -> list[Cell]:
    """Return the rate of both models and their difference."""
    sides = [Cell(show_percent(pair.get(side)), pair.get(side)) for side in ("here", "baseline")]
    return [*sides, make_difference(rate, pair)]


def make_difference(rate: str, pair: Mapping[str, Any]) -> Cell:
    """Return a difference in percentage points, better or worse, with a star where it is significant."""
    difference = pair.get("difference")
    if difference is None:
        return Cell("–", None)
    values = {name: pair[f"{name}_value"] for name in "pq" if pair.get(f"{name}_value") is not None}
    is_significant = values.get("q", values.get("p", 1.0)) < MAX_P_VALUE
    is_better = (difference > 0) == (rate in _HIGHER_IS_BETTER)
    word = "same" if not difference else "better" if is_better else "worse"
    return Cell(
        show_points(difference),
        difference,
        note=f"{word} ★" if is_significant else word,
        style=f"{word} significant" if is_significant else "",
        tooltip=", ".join(f"{name} = {value:.3g}" for name, value in values.items()),
    )


def _describe_problems(entry: Mapping[str, Any] | None, baseline: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the rates over whole problems, of both models and of a perfect reader."""
    if not entry:
        return {}
    sides = {"this model": entry, "baseline": baseline, "references joined": entry.get("of_truths")}
    rows = {
        name: {key: value for key, value in side.items() if not isinstance(value, Mapping)}
        for name, side in sides.items()
        if side
    }
    return {
        "note": "The predictions of a problem's boxes, joined in reading order, against the text of the "
        "whole problem. “References joined” is what a perfect reader would get.",
        "blocks": [
            Block(table=make_table(list(rows.values()), list(rows))),
            *(make_blocks(entry["found"]) if entry.get("found") else ()),
        ],
    }


def _describe_calibration(calibration: Mapping[str, Any]) -> dict[str, Any]:
    if not calibration:
        return {}
    bins = [entry for entry in calibration.get("bins") or () if entry.get("lines")]
    return {
        "blocks": make_blocks({key: value for key, value in calibration.items() if key != "bins"}),
        "dots": make_dots(bins),
        "table": make_table(bins),
    }


def _tabulate_confusions(report: Mapping[str, Any], examples: Examples) -> Table | None:
    confusions = (report.get("confusions") or ())[:MAX_CONFUSIONS]
    if not confusions:
        return None
    names = {"reference": False, "prediction": False, "count": True, "examples": False}
    rows = []
    for confusion in confusions:
        pair = (confusion["truth"], confusion["read"])
        lines = examples.confusions.get(pair, ())[:MAX_CONFUSION_IMAGES]
        rows.append(
            [
                *map(_make_piece, pair),
                Cell(show_value("count", confusion["count"]), confusion["count"]),
                Cell("" if lines else NO_IMAGES, len(lines), pictures=list(map(make_picture, lines))),
            ]
        )
    return Table([Column(name, is_number) for name, is_number in names.items()], rows)


def _make_piece(text: str) -> Cell:
    shown = shorten(show_characters(text))
    return Cell(shown, text or None, note="" if text else "nothing", style="piece")


def _describe_example(example: Example) -> dict[str, Any]:
    reference, prediction = mark_errors(example)
    baseline = example.baseline_prediction
    confidence = example.confidence
    return {
        "picture": make_picture(example),
        "reference": reference,
        "prediction": prediction,
        "baseline": None if baseline is None else shorten(baseline),
        "line": f"{shorten(example.dataset)} {shorten(example.line_id)}",
        "confidence": "" if confidence is None else show_percent(confidence),
    }


def _list_origin(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the configuration and the hashes of both models, under their own names."""
    baseline = report.get("baseline") or {}
    origin = {
        **{name: report.get(name) for name in ("config", "hashes")},
        **{f"baseline {name}": baseline.get(name) for name in ("config", "hashes")},
    }
    return [(shorten(" / ".join(names)), show_value("", value)) for names, value in _list_leaves(origin)]


def _list_leaves(
    facts: Mapping[str, Any], above: tuple[str, ...] = ()
) -> Iterable[tuple[tuple[str, ...], Any]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _list_leaves(value, (*above, name))
        elif value is not None:
            yield (*above, name), value

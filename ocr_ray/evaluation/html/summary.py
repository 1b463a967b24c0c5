"""The summary that opens the report: what was evaluated, the findings, the headline figures."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ocr_ray.evaluation.html.findings import list_findings
from ocr_ray.evaluation.html.tables import explain_empty, show_interval, show_percent, show_value
from ocr_ray.html_page import shorten

RATES = {
    "cer": "character error rate (CER)",
    "wer": "word error rate (WER)",
    "exact_match": "exact match",
    "character_accuracy": "character accuracy",
}
KIND_TITLES = {
    "run_on": "Run-on: text after the end of the line",
    "missing_tail": "Missing tail: the end of the line is not read",
    "substitution": "Substitution: a character is read as another",
    "spacing": "Spacing: only spaces are wrong",
}


class Card(NamedTuple):
    """A headline figure."""

    title: str
    value: str
    note: str


def describe_summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts, findings and cards; empty without `overall`."""
    overall = report.get("overall")
    if not overall:
        return {}
    return {
        "facts": list(_list_facts(report, overall)),
        "findings": list_findings(report),
        "cards": list(_list_cards(report, overall)),
        "has_intervals": bool(overall.get("intervals")),
    }


def _list_facts(report: Mapping[str, Any], overall: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    config = report.get("config") or {}
    if config.get("model_uri"):
        yield "model", shorten(str(config["model_uri"]))
    uris = config.get("lines_uris") or {}
    data = ", ".join(shorten(str(uri)) for uri in uris.values())
    lines = f"{show_value('lines', overall.get('lines'))} lines"
    split = f" of split {config['split']}" if config.get("split") else ""
    yield "data", f"{lines}{split}{': ' if data else ''}{data}"
    if report.get("created_at"):
        yield "date", str(report["created_at"]).replace("T", " ").replace("+00:00", " UTC")


def _list_cards(report: Mapping[str, Any], overall: Mapping[str, Any]) -> Iterator[Card]:
    intervals = overall.get("intervals") or {}
    cards = [
        Card(
            title,
            show_percent(overall[rate]),
            show_interval(intervals.get(rate)) or explain_empty(rate, overall[rate], overall),
        )
        for rate, title in RATES.items()
        if rate in overall
    ]
    if dependence := report.get("context_dependence"):
        cards.insert(1, _describe_dependence(dependence))
    yield from cards


def _describe_dependence(figures: Mapping[str, Any]) -> Card:
    """Return context dependence, or without shuffled words the ratio of thirds."""
    note = "1: reads; higher: guesses from context"
    both, thirds = figures.get("context_dependence"), figures.get("last_over_first")
    if both is not None:
        at_least = figures.get("last_over_first_at_least") or figures.get("spliced_over_own_at_least")
        return Card("context dependence", f"{'≥ ' if at_least else ''}{both:.3g}", note)
    if thirds is not None:
        at_least = "≥ " if figures.get("last_over_first_at_least") else ""
        return Card("context dependence (thirds only)", f"{at_least}{thirds:.3g}", note)
    return Card("context dependence", "–", "no errors in the first or last third of a line")

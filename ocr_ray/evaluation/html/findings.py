"""What an evaluation has found, in a few plain sentences made from the figures of its report."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from ocr_ray.evaluation.analysis.bootstrap import find_wilson_interval
from ocr_ray.evaluation.analysis.error_kinds import MISSING_TAIL, RUN_ON
from ocr_ray.evaluation.html.examples import show_characters
from ocr_ray.evaluation.html.tables import show_name
from ocr_ray.html_page import shorten

MAX_FINDINGS = 5
COLLAPSED_SHARE = 0.2
"""A text, or an opening of three characters, in more of the predictions than this is suspicious."""
UNREADABLE_CER = 0.5
"""Above this rate, reading cannot be told from guessing."""
CLEAR_RATIO = 1.5
MIN_SHARE = 0.01
"""Rarer findings are left to the sections."""
MIN_SLICE_LINES = 20
_FAMILIES = ("by_source", "by_dataset", "by_font_seen", "by_font", "by_has_fraction", "by_length")

Report = Mapping[str, Any]


def list_findings(report: Report) -> list[str]:
    """Return up to five sentences, the most important first; none without lines."""
    overall = report.get("overall") or {}
    if overall.get("cer") is None:
        return []
    return list(islice(_write_findings(report, overall), MAX_FINDINGS))


def show_short(share: float) -> str:
    """Return a share in percent, with two digits below 10 % and one decimal close to 100 %."""
    percent = 100 * share
    digits = f"{percent:.2g}" if percent < 9.95 else f"{percent:.{int(99 <= percent < 100)}f}"
    return f"{digits} %"


def _write_findings(report: Report, overall: Report) -> Iterator[str]:
    is_unreadable = overall["cer"] >= UNREADABLE_CER
    yield _describe_rates(overall)
    yield from _describe_collapse(report.get("collapse") or {})
    counts = (report.get("context_dependence") or {}).get("counts") or {}
    if is_unreadable:
        yield "So many characters are wrong that reading cannot be told from guessing yet."
    else:
        yield from _compare_thirds(counts)
        yield from _compare_orders(counts)
        yield from _describe_solving(report.get("arithmetic") or {})
    yield from _describe_ends(report.get("error_kinds") or {}, overall.get("lines") or 0)
    yield from _find_weakest_slice(report, overall["cer"])
    yield from _describe_confusion(report.get("confusions") or ())
    yield from _describe_flags(report.get("flagged") or {})


def _describe_rates(overall: Report) -> str:
    low_high = (overall.get("intervals") or {}).get("cer")
    interval = f", 95 % interval {show_short(low_high[0])} to {show_short(low_high[1])}" if low_high else ""
    text = f"{show_short(overall['cer'])} of the characters are wrong (CER{interval})."
    if overall.get("exact_match") is None:
        return text
    exact, lines = show_short(overall["exact_match"]), overall.get("lines") or 0
    return f"{text} Without an error: {exact} of {lines:,} lines."


def _describe_collapse(collapse: Report) -> Iterator[str]:
    text, true_text = collapse.get("text_share"), collapse.get("truth_text_share")
    opening, true_opening = collapse.get("opening_share"), collapse.get("truth_opening_share")
    if _is_far_above(text, true_text):
        yield f"{show_short(text or 0)} of the lines are read as the same text: collapsed."
    elif _is_far_above(opening, true_opening):
        first = show_characters(shorten(str(collapse["openings"][0]["opening"])))
        yield (
            f"{show_short(opening or 0)} of the predictions begin with “{first}”, the most common opening of "
            f"the references is that of {show_short(true_opening or 0)}: partly collapsed."
        )


def _is_far_above(share: float | None, usual: float | None) -> bool:
    return share is not None and share >= COLLAPSED_SHARE and share > 3 * (usual or 0.0)


def _compare_thirds(counts: Report) -> Iterator[str]:
    first, last = _read_rate(counts, "first"), _read_rate(counts, "last")
    if not first or not last:
        return
    (first_rate, first_ends), (last_rate, last_ends) = first, last
    shown = (
        f"the first third of a line at {show_short(first_rate)} CER and the last at {show_short(last_rate)}"
    )
    if last_rate < CLEAR_RATIO * first_rate or not counts["last_errors"]:
        yield f"Reads {shown}: no sign that it depends on context."
    elif last_ends[0] > first_ends[1]:
        yield f"Reads {shown}: it depends on context."
    else:
        yield f"Reads {shown}: too few errors to tell whether it depends on context."


def _compare_orders(counts: Report) -> Iterator[str]:
    own, spliced = _read_rate(counts, "own"), _read_rate(counts, "spliced")
    if not own or not spliced or spliced[0] < CLEAR_RATIO * own[0] or spliced[1][0] <= own[1][1]:
        return
    yield (
        f"Reads words at {show_short(own[0])} CER in their own sentence and at {show_short(spliced[0])} in "
        "shuffled order: it completes sentences that it knows."
    )


def _read_rate(counts: Report, name: str) -> tuple[float, tuple[float, float]] | None:
    """Return a rate of the counts of context dependence with its interval; None without characters."""
    errors, characters = counts.get(f"{name}_errors"), counts.get(f"{name}_characters")
    if not characters or errors is None:
        return None
    return errors / characters, find_wilson_interval(min(errors, characters), characters)


def _describe_solving(arithmetic: Report) -> Iterator[str]:
    rate = arithmetic.get("solving_rate")
    if rate is not None and rate >= MIN_SHARE:
        yield (f"Writes a true equation for {show_short(rate)} of the false ones in print: it calculates.")


def _describe_ends(kinds: Report, lines: int) -> Iterator[str]:
    run_on, missing = (kinds.get(kind, 0) / max(1, lines) for kind in (RUN_ON, MISSING_TAIL))
    if max(run_on, missing) >= MIN_SHARE:
        on, early = show_short(run_on), show_short(missing)
        yield f"Writes on after the end of {on} of the lines, stops early in {early}."


def _find_weakest_slice(report: Report, cer: float) -> Iterator[str]:
    """Yield the slice with the highest CER, if its interval lies above the rate of all lines."""
    slices = [
        (entry["cer"], family, name, entry)
        for family in _FAMILIES
        for name, entry in (report.get(family) or {}).items()
        if entry.get("cer") is not None and entry["lines"] >= MIN_SLICE_LINES
    ]
    clear = [
        found
        for found in slices
        if found[0] >= CLEAR_RATIO * cer and ((found[3].get("intervals") or {}).get("cer") or [0.0])[0] > cer
    ]
    for rate, family, name, entry in sorted(clear, key=lambda found: found[0], reverse=True)[:1]:
        slice_name = f"{show_name(family)}: {shorten(name)}"
        yield f"Weakest {slice_name}, {show_short(rate)} CER on {entry['lines']:,} lines."


def _describe_confusion(confusions: Any) -> Iterator[str]:
    for confusion in confusions[:1]:
        reference, prediction = (
            f"“{show_characters(shorten(str(confusion[side])))}”" if confusion[side] else ""
            for side in ("truth", "read")
        )
        times = f"{confusion['count']:,} times"
        if not reference:
            yield f"Most common error: {prediction} inserted, {times}."
        else:
            result = f"read as {prediction}" if prediction else "left out"
            yield f"Most common error: {reference} {result}, {times}."


def _describe_flags(flagged: Report) -> Iterator[str]:
    rate = flagged.get("reached_limit_rate")
    if rate is not None and rate >= MIN_SHARE:
        yield f"{show_short(rate)} of the predictions ended at the length limit and may be incomplete."

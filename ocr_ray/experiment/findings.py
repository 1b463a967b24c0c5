"""What an experiment has found, in words, computed from its figures."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ocr_ray.experiment.measures import SETS

READS_BELOW = 0.5
"""A model with a higher CER hardly reads."""
_LABELS = {line_set.name: line_set.label for line_set in SETS}
_SHOWN = ("problems", "spliced", "boxes")
"""The sets on which an arm is judged; the arms with words have seen lines like those of the fourth."""


def find_in_words(report: Mapping[str, Any]) -> list[str]:
    """Return sentences that state what holds and what does not; `report` is report.json without them."""
    arms: Sequence[Mapping[str, Any]] = report["arms"]
    pages, *others = arms
    findings = [_describe_setting(report), *_warn(report), _describe_failure(pages)]
    best = _choose_best(others)
    findings += [_compare(arm, is_chosen=len(others) > len(best)) for arm in best]
    findings.append(_conclude(best))
    return findings


def _describe_setting(report: Mapping[str, Any]) -> str:
    seeds = report["num_seeds"]
    return (
        f"{len(report['arms'])} arms, each with {_count(seeds, 'seed')}: every model starts from "
        f"{report['model']} and is trained on {report['lines_per_run']:,} lines in "
        f"{report['steps_per_run']:,} steps."
    )


def _warn(report: Mapping[str, Any]) -> Iterable[str]:
    if report["num_seeds"] == 1:
        yield "With one seed the intervals cover the choice of pages, not the chance of training."
    rates = [arm["sets"]["problems"]["cer"]["value"] for arm in report["arms"]]
    if (lowest := min((rate for rate in rates if rate is not None), default=0.0)) > READS_BELOW:
        yield (
            f"The models hardly read: the lowest CER on held-out problems is {_rate(lowest)}. Differences "
            "between them say little."
        )


def _describe_failure(pages: Mapping[str, Any]) -> str:
    """Say whether the failure that context-free lines are meant to prevent occurs with pages alone."""
    measures = pages["sets"]["boxes"]
    first, last = (measures[name]["value"] for name in ("cer_first", "cer_last"))
    if first is None or last is None:
        return "There are no problems cut into three boxes to tell whether tails are invented."
    difference = measures["last_minus_first"]
    facts = (
        f"on problems cut into three boxes the CER of pages alone is {_rate(first)} in the first third of a "
        f"line and {_rate(last)} in the last ({_difference(difference)})"
    )
    if first > READS_BELOW:
        return f"The failure cannot be told from not reading at all: {facts}."
    verdict = _judge(difference)
    if verdict > 0:
        return f"The failure is there: {facts}. Heads are read and tails are invented."
    if verdict < 0:
        return f"The failure is not there: {facts}. The ends of lines are read better than their beginnings."
    return f"The failure is not there: {facts}. No difference between the thirds can be told."


def _choose_best(arms: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the best ratio of each kind of added lines, by the mean CER of the sets shown."""
    best: dict[str, Mapping[str, Any]] = {}
    for arm in arms:
        other = best.get(arm["added"])
        if other is None or _mean_cer(arm) < _mean_cer(other):
            best[arm["added"]] = arm
    return list(best.values())


def _mean_cer(arm: Mapping[str, Any]) -> float:
    rates = [arm["sets"][name]["cer"]["value"] for name in _SHOWN]
    known = [rate for rate in rates if rate is not None]
    return float(sum(known)) / max(1, len(known))


def _compare(arm: Mapping[str, Any], *, is_chosen: bool) -> str:
    parts = []
    for name in _SHOWN:
        cer = arm["sets"][name]["cer"]
        if cer["value"] is not None:
            verdict = ("better", "no difference can be told", "worse")[_judge(cer["difference"]) + 1]
            parts.append(
                f"{_LABELS[name]} {_rate(cer['value'])}, {verdict} ({_difference(cer['difference'])})"
            )
    note = " The ratio was chosen by these figures, which flatters them." if is_chosen else ""
    return f"{_capitalise(arm['label'])}, CER compared with pages alone: {'; '.join(parts)}.{note}"


def _conclude(arms: Sequence[Mapping[str, Any]]) -> str:
    """Say what context-free lines change, and whether running text changes it too."""
    if not arms:
        return "Only pages alone were trained: there is nothing to compare."
    verdicts = {
        arm["added"]: {name: _judge(arm["sets"][name]["cer"]["difference"]) for name in _SHOWN}
        for arm in arms
    }
    context_free = {added: by_set for added, by_set in verdicts.items() if added != "text"}
    helped = {name for by_set in context_free.values() for name, verdict in by_set.items() if verdict < 0}
    harmed = {name for by_set in context_free.values() for name, verdict in by_set.items() if verdict > 0}
    if not context_free:
        return "No arm has context-free lines."
    if not helped:
        sentence = "Context-free lines make the model no better on any of these sets"
        sentence += f", and worse on {_list(harmed)}." if harmed else "."
    else:
        sentence = f"Context-free lines make the model better on {_list(helped)}"
        rest = [name for name in _SHOWN if name not in helped | harmed]
        sentence += f", worse on {_list(harmed)}" if harmed else ""
        sentence += f"; on {_list(rest)} no difference can be told." if rest else "."
    by_text = {name for name, verdict in verdicts.get("text", {}).items() if verdict < 0}
    if helped and (same := helped & by_text):
        sentence += (
            f" Running text does so too on {_list(same)}: there, more lines help, with context or not."
        )
    elif helped and "text" in verdicts:
        sentence += " Running text does not: it is the lack of context that helps."
    return sentence


def _judge(difference: Mapping[str, Any] | None) -> int:
    """Return -1 or 1 if the interval of a difference lies below or above 0, else 0."""
    if not difference or not difference["interval"]:
        return 0
    low, high = difference["interval"]
    return int(low > 0) - int(high < 0)


def _difference(difference: Mapping[str, Any]) -> str:
    """Return a difference of rates in percentage points."""
    points = 100 * difference["value"]
    if not difference["interval"]:
        return f"{points:+.1f} points"
    low, high = (100 * end for end in difference["interval"])
    return f"{points:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}"


def _rate(value: float) -> str:
    return f"{100 * value:.1f} %"


def _list(names: Iterable[str]) -> str:
    labels = [_LABELS[name] for name in _SHOWN if name in set(names)]
    return " and ".join([", ".join(labels[:-1]), labels[-1]] if len(labels) > 1 else labels)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]

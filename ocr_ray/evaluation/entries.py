"""The entries of a report: rates over some lines, and the counts that they come from."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ocr_ray.metrics import NUM_ERROR_COLUMNS, Counts, ErrorCounts, LineCounts, divide


def describe_counts(counts: Sequence[int] | Counts) -> dict[str, Any]:
    """Return an entry of the report from a row of `COLUMNS`: rates, and the counts they come from.

    A rate over nothing is None, neither good nor bad.
    """
    errors = ErrorCounts.from_list(counts[:NUM_ERROR_COLUMNS])
    details = LineCounts.from_list(counts[NUM_ERROR_COLUMNS:])
    characters, words = errors.reference_characters, errors.reference_words
    return {
        "lines": errors.lines,
        "cer": errors.cer if characters else None,
        "wer": errors.wer if words else None,
        "character_accuracy": errors.character_accuracy if characters else None,
        "exact_match": divide(errors.exact, errors.lines),
        "positional_accuracy": details.positional_accuracy,
        "jamo_cer": details.jamo_cer,
        "cer_without_spaces": details.cer_without_spaces,
        "counts": {**asdict(errors), **asdict(details)},
    }

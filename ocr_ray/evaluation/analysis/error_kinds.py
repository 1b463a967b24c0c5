"""How lines are wrong: text after the end, a missing tail, spacing, substituted characters."""

from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from ocr_ray.evaluation.alignment import Alignment
from ocr_ray.evaluation.readings import Reading

ERROR_KINDS = ("run_on", "missing_tail", "substitution", "spacing", "other")
RUN_ON, MISSING_TAIL, SUBSTITUTION, SPACING, OTHER = ERROR_KINDS
MIN_TAIL = 2
"""Characters that are more than a slip at the end of a line."""


class ErrorKinds:
    """Counts the wrong lines of each kind."""

    def __init__(self) -> None:
        self._kinds: Counter[str] = Counter()

    def add(self, lines: Sequence[Reading]) -> None:
        """Count the lines of a part."""
        self._kinds.update(name_error_kind(line.alignment) for line in lines if not line.alignment.is_exact)

    def describe(self) -> dict[str, Any]:
        """Return the number of lines with an error, and of those of each kind."""
        return {"wrong_lines": self._kinds.total(), **{kind: self._kinds[kind] for kind in ERROR_KINDS}}


def name_error_kind(alignment: Alignment) -> str:
    """Return the kind of a wrong line, by the first of these that holds.

    `spacing`: only spaces are wrong. `run_on`: at least two characters after the end of the line.
    `missing_tail`: the last two characters or more are missing. `substitution`: a character is read as
    another. `other`: characters are inserted or left out inside the line.
    """
    wrong = [step for step in alignment.steps if step.kind != "equal"]
    if not any((step.reference + step.prediction).strip() for step in wrong):
        return SPACING
    if len(alignment.trailing_hallucination.strip()) >= MIN_TAIL:
        return RUN_ON
    tail = takewhile(lambda step: step.kind == "delete", reversed(alignment.steps))
    if len("".join(step.reference for step in tail).strip()) >= MIN_TAIL:
        return MISSING_TAIL
    return SUBSTITUTION if any(step.kind == "substitute" for step in wrong) else OTHER

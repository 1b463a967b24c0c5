"""The findings of an audit: the file, a fixed word for what is wrong, and the lines affected."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Reason = Literal[
    "missing_part",
    "missing_rejects",
    "wrong_bytes",
    "unreadable",
    "foreign_part",
    "wrong_rows",
    "wrong_digest",
    "wrong_rejects",
    "gap",
    "duplicate",
    "foreign_line",
    "wrong_line_id",
    "wrong_image",
    "wrong_text",
    "held_out_font",
    "misplaced_token",
    "not_rerendered",
    "wrong_counts",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something wrong with a file."""

    path: str
    """Relative to the dataset."""
    reason: Reason
    numbers: str = ""
    """The lines affected, `0-15,31`: their numbers, or for crops their rows in the part, from 0."""
    detail: str = ""
    """Details of the first of the lines."""


class FileFindings:
    """Collects the findings of one file, one for each reason."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._numbers: dict[Reason, list[int]] = {}
        self._details: dict[Reason, str] = {}

    def add(self, reason: Reason, numbers: Iterable[int] = (), *, detail: str = "") -> None:
        """Add a finding about these lines, or about the file as a whole."""
        self._numbers.setdefault(reason, []).extend(numbers)
        self._details.setdefault(reason, detail[:200])

    def to_tuple(self) -> tuple[Finding, ...]:
        return tuple(
            Finding(
                path=self._path, reason=reason, numbers=write_ranges(numbers), detail=self._details[reason]
            )
            for reason, numbers in self._numbers.items()
        )


def write_ranges(numbers: Iterable[int]) -> str:
    """Return numbers as sorted ranges that include both ends: `0-15,31`."""
    ranges: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(f"{first}-{last}" if first < last else str(first) for first, last in ranges)

"""Trailing hallucination: text that a model appends after the last character of the line.

If the appended text is how the next box of the same problem begins, the model completes the sentence from
memory; the report calls this spill.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ocr_ray.evaluation.readings import Reading
from ocr_ray.metrics import Sums, divide


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailingHallucinationCounts(Sums):
    """Sums over lines; the fields are keys of report.json."""

    lines: int
    characters: int
    """Of the references."""
    overread_lines: int
    """Lines with text after the last reference character."""
    overread_characters: int
    """Characters after the last reference character."""
    followed_lines: int
    """Overread lines whose problem has a next box among the lines."""
    spill_lines: int
    """Of those, lines whose trailing text starts the next box, or covers all of it; spaces are ignored."""
    spill_characters: int
    """Overread characters of the spill lines."""

    def describe(self) -> dict[str, Any]:
        """Return the rates and the counts they come from."""
        return {
            "overread_rate": divide(self.overread_lines, self.lines),
            "overread_per_character": divide(self.overread_characters, self.characters),
            "spill_rate": divide(self.spill_lines, self.followed_lines),
            "counts": asdict(self),
        }


class TrailingHallucination:
    """Counts lines with trailing text, and compares it with the next box of the page.

    The boxes of a page can come in any parts and order, so the references of page lines are kept.
    """

    def __init__(self) -> None:
        self._counts = TrailingHallucinationCounts.zero()
        self._boxes: dict[tuple[str, str, int], str] = {}
        self._tails: defaultdict[tuple[str, str, int], list[str]] = defaultdict(list)

    def add(self, lines: Sequence[Reading]) -> None:
        """Count the lines of a part."""
        num_lines = num_characters = 0
        for line in lines:
            tail = line.alignment.trailing_hallucination
            num_lines += bool(tail)
            num_characters += len(tail)
            if line.page_id is None or line.page_order is None:
                continue
            self._boxes[line.dataset, line.page_id, line.page_order] = line.reference
            if tail:
                self._tails[line.dataset, line.page_id, line.page_order + 1].append(tail)
        self._counts += TrailingHallucinationCounts(
            lines=len(lines),
            characters=sum(len(line.reference) for line in lines),
            overread_lines=num_lines,
            overread_characters=num_characters,
            followed_lines=0,
            spill_lines=0,
            spill_characters=0,
        )

    def counts(self) -> TrailingHallucinationCounts:
        """Return the sums over all lines added so far."""
        followed = [
            (tail, self._boxes[box])
            for box, tails in self._tails.items()
            if box in self._boxes
            for tail in tails
        ]
        spills = [tail for tail, box in followed if is_spill(tail, box)]
        return self._counts + TrailingHallucinationCounts.from_list(
            [0, 0, 0, 0, len(followed), len(spills), sum(map(len, spills))]
        )

    def describe(self) -> dict[str, Any]:
        """Return the value of `overread` in the report."""
        return self.counts().describe()


def is_spill(tail: str, next_box: str) -> bool:
    """Return whether trailing text starts the next box, or covers all of it; spaces are ignored."""
    read, expected = "".join(tail.split()), "".join(next_box.split())
    return bool(read and expected) and (expected.startswith(read) or read.startswith(expected))

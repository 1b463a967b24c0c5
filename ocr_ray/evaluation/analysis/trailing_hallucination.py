"""Reading on: what stands in predictions behind the last character of the line."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ocr_ray.evaluation.readings import Reading
from ocr_ray.metrics import Sums, divide


@dataclass(frozen=True, slots=True, kw_only=True)
class OverreadCounts(Sums):
    """How often and how far was read on, over some lines."""

    lines: int
    characters: int
    """Of the truths."""
    overread_lines: int
    overread_characters: int
    """Behind the last character of their truths."""
    followed_lines: int
    """Overread lines behind which the problem's next box is among the lines."""
    spill_lines: int
    """Of those, where what was read on is how the next box begins, or all of it and more; spaces aside."""
    spill_characters: int
    """Of their overread characters."""

    def describe(self) -> dict[str, Any]:
        """Return the rates and the counts they come from."""
        return {
            "overread_rate": divide(self.overread_lines, self.lines),
            "overread_per_character": divide(self.overread_characters, self.characters),
            "spill_rate": divide(self.spill_lines, self.followed_lines),
            "counts": asdict(self),
        }


class Overreads:
    """Counts lines that were read on, and remembers those of pages until the next box is there.

    The boxes of a page may come in any parts and any order; of page lines the truths are kept.
    """

    def __init__(self) -> None:
        self._counts = OverreadCounts.zero()
        self._boxes: dict[tuple[str, str, int], str] = {}
        self._overreads: defaultdict[tuple[str, str, int], list[str]] = defaultdict(list)

    def add(self, lines: Sequence[Reading]) -> None:
        """Count some lines."""
        num_overread = num_characters = 0
        for line in lines:
            overread = line.alignment.overread
            num_overread += bool(overread)
            num_characters += len(overread)
            if line.page_id is None or line.page_order is None:
                continue
            self._boxes[line.dataset, line.page_id, line.page_order] = line.truth
            if overread:
                self._overreads[line.dataset, line.page_id, line.page_order + 1].append(overread)
        self._counts += OverreadCounts(
            lines=len(lines),
            characters=sum(len(line.truth) for line in lines),
            overread_lines=num_overread,
            overread_characters=num_characters,
            followed_lines=0,
            spill_lines=0,
            spill_characters=0,
        )

    def counts(self) -> OverreadCounts:
        """Return the sums over all lines that were added; spill needs a page's boxes in the same sums."""
        followed = [
            (overread, self._boxes[place])
            for place, overreads in self._overreads.items()
            if place in self._boxes
            for overread in overreads
        ]
        spills = [overread for overread, box in followed if begins_box(overread, box)]
        return self._counts + OverreadCounts.from_list(
            [0, 0, 0, 0, len(followed), len(spills), sum(map(len, spills))]
        )


def begins_box(overread: str, box: str) -> bool:
    """Return whether what was read on is the beginning of a box, or the whole box with more behind it."""
    read, truth = "".join(overread.split()), "".join(box.split())
    return bool(read and truth) and (truth.startswith(read) or read.startswith(truth))

"""Whole problems: the predictions of a page's lines in reading order, against the problem's own text.

A page's label says the problem as a whole, which its boxes cut into lines. Joined again, the lines show what
is lost between them: boxes that were never cropped, and words that a box cuts in two, which nothing that is
read tells from two words. What joining alone costs shows when the truths are joined the same way.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.evaluation.readings import Reading
from ocr_ray.metrics import Sums, count_lines, describe_counts, normalise
from ocr_ray.storage.location import Location, exists, read_bytes

PROBLEMS = "pages.parquet"
_JOINED_SCHEMAS = frozenset({"71859"})
"""Labels without the problem's own text, for which its boxes stand with a space between any two."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem as a whole, in the column that holds the truth."""

    truth: str | None
    """In canonical form; None where its markup prints on no single line."""
    has_own_spaces: bool
    """Whether the text is the label's own, and not its boxes with spaces between them."""


def read_problems(place: Location, split: str, column: LabelColumn) -> dict[str, Problem]:
    """Return the problems of a split of a dataset by page id, none if it is not a dataset of pages."""
    if not exists(place / PROBLEMS):
        return {}
    table = pq.read_table(pa.BufferReader(read_bytes(place / PROBLEMS)))
    table = table.filter(pc.equal(table["split"], split))
    rows = zip(*(table[name].to_pylist() for name in ("page_id", "schema", column)), strict=True)
    return {
        page_id: Problem(None if truth is None else normalise(truth), schema not in _JOINED_SCHEMAS)
        for page_id, schema, truth in rows
    }


class _Box(NamedTuple):
    order: int
    truth: str
    prediction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedProblem:
    """A problem's own text beside what its lines say one after another."""

    dataset: str
    page_id: str
    truth: str
    prediction: str
    joined_truth: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemCounts(Sums):
    """What was found of some problems."""

    problems: int
    """With a text of their own and at least one line that was read; these are scored."""
    problems_unread: int
    """Of which no line was read."""
    problems_unprintable: int
    """Whose text prints on no single line."""
    boxes: int
    boxes_missing: int
    """Before the last line that was read; of those behind it nothing is known."""


class JoinedProblems:
    """Collects the lines of pages until they are joined; about 400 bytes a line are held.

    Lines of other sources, and of datasets whose problems are not known, are passed over.
    """

    def __init__(self, problems: Mapping[str, Mapping[str, Problem]]) -> None:
        """`problems` by dataset and page id, those of the split alone."""
        self._problems = problems
        self._boxes: defaultdict[tuple[str, str], list[_Box]] = defaultdict(list)

    def add(self, lines: Sequence[Reading]) -> None:
        """Take lines, in any order."""
        for line in lines:
            if line.page_id is None or line.page_order is None:
                continue
            if line.page_id in self._problems.get(line.dataset, {}):
                box = _Box(line.page_order, line.truth, line.prediction)
                self._boxes[line.dataset, line.page_id].append(box)

    def join(self) -> Iterator[JoinedProblem]:
        """Yield each problem that has a text and a line that was read."""
        for dataset, page_id, problem, boxes in self._list_problems():
            if problem.truth is not None and boxes:
                yield JoinedProblem(
                    dataset=dataset,
                    page_id=page_id,
                    truth=problem.truth,
                    prediction=join_boxes(box.prediction for box in boxes),
                    joined_truth=join_boxes(box.truth for box in boxes),
                )

    def describe(self) -> dict[str, Any]:
        """Return the entry of the joined problems, each as one line, and what was found of all.

        `of_truths` is the entry of their labels joined alike: what a perfect reader gets.
        """
        joined = list(self.join())
        truths = [problem.truth for problem in joined]
        found = [_count_problem(problem, boxes) for _, _, problem, boxes in self._list_problems()]
        return {
            **describe_counts(count_lines(truths, [problem.prediction for problem in joined]).sum(axis=0)),
            "of_truths": describe_counts(
                count_lines(truths, [problem.joined_truth for problem in joined]).sum(axis=0)
            ),
            "found": asdict(sum(found, ProblemCounts.zero())),
        }

    def _list_problems(self) -> Iterator[tuple[str, str, Problem, list[_Box]]]:
        for dataset, problems in self._problems.items():
            for page_id, problem in problems.items():
                yield dataset, page_id, problem, sorted(self._boxes.get((dataset, page_id), []))


def join_boxes(texts: Iterable[str]) -> str:
    """Return what boxes say one after another, with a space between any two that say something."""
    return " ".join(filter(None, (text.strip() for text in texts)))


def _count_problem(problem: Problem, boxes: Sequence[_Box]) -> ProblemCounts:
    is_printable = problem.truth is not None
    last = max((box.order for box in boxes), default=-1)
    return ProblemCounts(
        problems=int(is_printable and bool(boxes)),
        problems_unread=int(not boxes),
        problems_unprintable=int(not is_printable),
        boxes=len(boxes),
        boxes_missing=last + 1 - len({box.order for box in boxes}),
    )

"""Whole problems: the predictions of a page's lines joined in reading order, against the problem's own text.

The label of a page holds the problem as a whole, and its boxes cut it into lines. The joined lines show what
is lost between boxes: boxes that were not cropped, and words that are split across two boxes. Joining the
references the same way shows the cost of joining by itself.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.dataset.stored_rows import TableRules, iter_groups
from ocr_ray.evaluation.readings import Reading
from ocr_ray.metrics import MAX_LENGTH, Sums, count_lines, describe_counts, normalise
from ocr_ray.storage.location import Location, exists

PROBLEMS = "pages.parquet"
_JOINED_SCHEMAS = frozenset({"71859"})
"""Label schemas without a text of the whole problem; it is joined from the boxes with spaces."""
_COLUMNS = ("page_id", "split", "schema", "markup", "text")
_RULES = TableRules(
    schema=pa.schema([(name, pa.string()) for name in _COLUMNS]),
    required=_COLUMNS,
    never_null=("page_id", "split"),
    max_length=2**31,
)


@dataclass(frozen=True, slots=True)
class ProblemText:
    """The text of a whole problem, from the column that holds the reference."""

    reference: str | None
    """In canonical form; None if its markup cannot be printed on one line, or it is above MAX_LENGTH."""
    has_own_spaces: bool
    """Whether the label holds the text; otherwise it was joined from the boxes with spaces."""


def read_problems(dataset: Location, split: str, column: LabelColumn) -> dict[str, ProblemText]:
    """Return the problems of a split by page id; empty if the dataset was not cropped from pages."""
    if not exists(dataset / PROBLEMS):
        return {}
    problems = {}
    for table in iter_groups(dataset / PROBLEMS, ["page_id", "split", "schema", column], _RULES):
        for page_id, _, schema, text in zip(
            *table.filter(pc.equal(table["split"], split)).to_pydict().values(), strict=True
        ):
            is_scored = text is not None and len(text) <= MAX_LENGTH
            problems[page_id] = ProblemText(
                normalise(text) if is_scored else None, schema not in _JOINED_SCHEMAS
            )
    return problems


class _Box(NamedTuple):
    order: int
    reference: str
    prediction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedProblem:
    """The text of a problem, and its lines joined."""

    dataset: str
    page_id: str
    reference: str
    prediction: str
    joined_reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemCounts(Sums):
    """Sums over problems; the fields are keys of report.json."""

    problems: int
    """Scored problems: with a text, and at least one line among the predictions."""
    problems_unread: int
    """Without a line among the predictions."""
    problems_unprintable: int
    """Whose text cannot be printed on a single line, or is longer than MAX_LENGTH."""
    boxes: int
    boxes_missing: int
    """Gaps in the reading order; boxes missing after the last line cannot be counted."""


class JoinedProblems:
    """Collects the lines of pages and joins them; holds about 400 bytes a line.

    Lines of other sources, and of datasets without problem texts, are ignored.
    """

    def __init__(self, problems: Mapping[str, Mapping[str, ProblemText]]) -> None:
        """`problems`: those of the split, by dataset and page id."""
        self._problems = problems
        self._boxes: defaultdict[tuple[str, str], list[_Box]] = defaultdict(list)

    def add(self, lines: Sequence[Reading]) -> None:
        """Collect the lines of a part."""
        for line in lines:
            if line.page_id is None or line.page_order is None:
                continue
            if line.page_id in self._problems.get(line.dataset, {}):
                box = _Box(line.page_order, line.reference, line.prediction)
                self._boxes[line.dataset, line.page_id].append(box)

    def join(self) -> Iterator[JoinedProblem]:
        """Yield each problem that has a text and at least one line."""
        for dataset, page_id, problem, boxes in self._list_problems():
            if problem.reference is not None and boxes:
                yield JoinedProblem(
                    dataset=dataset,
                    page_id=page_id,
                    reference=problem.reference,
                    prediction=join_boxes(box.prediction for box in boxes),
                    joined_reference=join_boxes(box.reference for box in boxes),
                )

    def describe(self) -> dict[str, Any]:
        """Return the error rates of the joined problems, each as one line, and the counts of problems.

        `of_truths` holds the rates of the references joined the same way: those of a perfect reader.
        """
        joined = list(self.join())
        references = [problem.reference for problem in joined]
        predictions = [problem.prediction for problem in joined]
        joined_references = [problem.joined_reference for problem in joined]
        counts = [_count_problem(problem, boxes) for _, _, problem, boxes in self._list_problems()]
        return {
            **describe_counts(count_lines(references, predictions).sum(axis=0)),
            "of_truths": describe_counts(count_lines(references, joined_references).sum(axis=0)),
            "found": asdict(sum(counts, ProblemCounts.zero())),
        }

    def _list_problems(self) -> Iterator[tuple[str, str, ProblemText, list[_Box]]]:
        for dataset, problems in self._problems.items():
            for page_id, problem in problems.items():
                yield dataset, page_id, problem, sorted(self._boxes.get((dataset, page_id), []))


def join_boxes(texts: Iterable[str]) -> str:
    """Return the texts of boxes joined by spaces; empty ones are skipped."""
    return " ".join(filter(None, (text.strip() for text in texts)))


def _count_problem(problem: ProblemText, boxes: Sequence[_Box]) -> ProblemCounts:
    is_printable = problem.reference is not None
    last = max((box.order for box in boxes), default=-1)
    return ProblemCounts(
        problems=int(is_printable and bool(boxes)),
        problems_unread=int(not boxes),
        problems_unprintable=int(not is_printable),
        boxes=len(boxes),
        boxes_missing=last + 1 - len({box.order for box in boxes}),
    )

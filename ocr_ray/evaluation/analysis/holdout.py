"""What the model never saw in training, of the lines that it reads: fonts, words, numbers, problems, topics.

Known are the training datasets that the model's metrics.json or --trained-on names, as they are on disk. What
its base model was trained on before is not recorded.
"""

import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any

from ocr_ray.evaluation.analysis.seen_words import strip_word
from ocr_ray.evaluation.analysis.slices import SliceInputs
from ocr_ray.evaluation.readings import Reading
from ocr_ray.text.numbers import find_long_numbers, mask_numbers

UNKNOWN = "unknown"
_TOPIC = re.compile(r"(P\d_\d_\d\d_\d{5})_\d{5}")
"""A page id of 71716: grade, term, unit and topic, then the number of the page. On synthetic pages a topic is
a template."""


def find_topic(page_id: str) -> str | None:
    """Return the topic that a page id names, None if it names none."""
    match = _TOPIC.fullmatch(page_id)
    return match[1] if match else None


def _find_fonts(line: Reading, _: SliceInputs) -> Iterable[str]:
    return [line.font] if line.font else []


def _find_words(line: Reading, _: SliceInputs) -> Iterator[str]:
    """Yield the words without digits."""
    for word in map(strip_word, line.reference.split()):
        if any(map(str.isalpha, word)) and not any(map(str.isdigit, word)):
            yield word


def _find_numbers(line: Reading, _: SliceInputs) -> Iterable[str]:
    return find_long_numbers(line.reference)


def _find_problems(line: Reading, inputs: SliceInputs) -> Iterable[str]:
    problem = inputs.problems.get(line.dataset, {}).get(line.page_id or "")
    return [] if problem is None or problem.reference is None else [mask_numbers(problem.reference)]


def _find_topics(line: Reading, _: SliceInputs) -> Iterable[str]:
    topic = find_topic(line.page_id or "")
    return [topic] if topic else []


_KINDS: dict[str, tuple[Callable[[Reading, SliceInputs], Iterable[str]], str]] = {
    "fonts": (_find_fonts, "training_fonts"),
    "words": (_find_words, "training_words"),
    "numbers": (_find_numbers, "training_numbers"),
    "problems": (_find_problems, "training_problems"),
    "topics": (_find_topics, "training_topics"),
}
"""By key of the report: what a line has of a kind, and the field of `SliceInputs` with all of training."""


class Holdout:
    """Counts the lines with something that the model never saw in training."""

    def __init__(self, inputs: SliceInputs) -> None:
        self._inputs = inputs
        self._lines: Counter[str] = Counter()
        self._never_seen: Counter[str] = Counter()
        self._different: dict[str, set[int]] = {kind: set() for kind in _KINDS}

    def add(self, lines: Sequence[Reading]) -> None:
        for kind, (find, field) in _KINDS.items():
            seen: Container[str] | None = getattr(self._inputs, field)
            for line in lines:
                items = set(find(line, self._inputs))
                self._lines[kind] += bool(items)
                new = [item for item in items if seen is not None and item not in seen]
                self._never_seen[kind] += bool(new)
                self._different[kind].update(map(hash, new))

    def describe(self) -> dict[str, Any]:
        """Return what is known of the training, and by kind: the lines that have any, those with one that
        training never had, and the number of different ones; None where that is not known."""
        training = ", ".join(self._inputs.training_datasets) or UNKNOWN
        kinds = {kind: self._describe(kind, field) for kind, (_, field) in _KINDS.items()}
        return {"training_data": training, "base_model": self._inputs.base_model or UNKNOWN, **kinds}

    def _describe(self, kind: str, field: str) -> dict[str, Any]:
        lines, never_seen = self._lines[kind], self._never_seen[kind]
        is_known = getattr(self._inputs, field) is not None
        return {
            "lines": lines,
            "lines_with_unseen": never_seen if is_known else None,
            "unseen_share": never_seen / lines if is_known and lines else None,
            "different_unseen": len(self._different[kind]) if is_known else None,
        }

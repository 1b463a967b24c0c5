"""Output collapse: a model that writes much the same text for every image, such as `다음은` first."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from ocr_ray.evaluation.readings import Reading
from ocr_ray.metrics import divide

OPENING_LENGTH = 3
"""Characters at the start of a line."""
NUM_OPENINGS = 10
"""The report lists the most common ones."""


class Collapse:
    """Counts how similar predictions are to each other, in comparison with the references.

    Keeps 16 bytes for each distinct pair of reference and prediction, and the openings as text.
    """

    def __init__(self) -> None:
        self._openings: Counter[str] = Counter()
        self._reference_openings: Counter[str] = Counter()
        self._pairs: Counter[tuple[bytes, bytes]] = Counter()

    def add(self, lines: Sequence[Reading]) -> None:
        """Count the lines of a part."""
        self._openings.update(line.prediction[:OPENING_LENGTH] for line in lines)
        self._reference_openings.update(line.reference[:OPENING_LENGTH] for line in lines)
        self._pairs.update((_hash(line.reference), _hash(line.prediction)) for line in lines)

    def describe(self) -> dict[str, Any]:
        """Return the shares of the most common text and opening and the number of texts, of both sides.

        `repeats` are wrong lines whose prediction is exactly the reference or the prediction of a line with
        another reference.
        """
        lines = self._pairs.total()
        openings = _most_common(self._openings)
        references = _count_texts((reference, count) for (reference, _), count in self._pairs.items())
        predictions = _count_texts((prediction, count) for (_, prediction), count in self._pairs.items())
        repeats = self._count_repeats(references)
        reference_openings = _most_common(self._reference_openings)
        return {
            "lines": lines,
            "text_share": divide(max(predictions.values(), default=0), lines),
            "truth_text_share": divide(max(references.values(), default=0), lines),
            "opening_share": divide(openings[0][1], lines) if openings else None,
            "truth_opening_share": divide(reference_openings[0][1], lines) if reference_openings else None,
            "openings": [
                {"opening": opening, "lines": count, "truth_lines": self._reference_openings[opening]}
                for opening, count in openings
            ],
            "distinct_predictions": len(predictions),
            "distinct_truths": len(references),
            "distinct_ratio": divide(len(predictions), len(references)),
            "repeats": repeats,
            "repeat_rate": divide(repeats, lines),
        }

    def _count_repeats(self, references: Iterable[bytes]) -> int:
        references_by_text: defaultdict[bytes, set[bytes]] = defaultdict(set)
        for reference in references:
            references_by_text[reference].add(reference)
        for reference, prediction in self._pairs:
            references_by_text[prediction].add(reference)
        return sum(
            count
            for (reference, prediction), count in self._pairs.items()
            if reference != prediction and len(references_by_text[prediction]) > 1
        )


def _count_texts(texts: Iterable[tuple[bytes, int]]) -> Counter[bytes]:
    counts: Counter[bytes] = Counter()
    for text, count in texts:
        counts[text] += count
    return counts


def _most_common(openings: Counter[str]) -> list[tuple[str, int]]:
    """Return the most common openings with their numbers of lines; ties in alphabetical order."""
    return sorted(openings.items(), key=lambda item: (-item[1], item[0]))[:NUM_OPENINGS]


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()

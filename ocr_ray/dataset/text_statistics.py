"""Text statistics of a dataset: characters and their classes, lengths, school grades.

Counts are added, so they do not depend on how a dataset is divided into parts, on order or on resumption.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ocr_ray.dataset.lines import TextLine
from ocr_ray.storage.strict_json import parse_json, to_json
from ocr_ray.text.characters import CLASSES, classify
from ocr_ray.text.hangul import KS_X_1001

RARE_BELOW = 20
"""Characters that occur less often are listed as rare: a model hardly learns them."""


@dataclass(slots=True)
class TextStatistics:
    """Counters over the lines of a part or of a dataset."""

    characters: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    """Number of lines by their number of characters."""
    grades: Counter[int] = field(default_factory=Counter)
    """Number of arithmetic expressions by school grade; a line can contain several."""

    def add(self, line: TextLine) -> None:
        """Count a line's text."""
        self.characters.update(line.text)
        self.lengths[len(line.text)] += 1
        self.grades.update(line.grades)

    def merge(self, other: "TextStatistics") -> None:
        """Add the counts of other lines."""
        self.characters.update(other.characters)
        self.lengths.update(other.lengths)
        self.grades.update(other.grades)

    def to_json(self) -> str:
        """Return the counts as compact JSON, about 7 bytes per character, the same for equal counts."""
        characters = sorted(self.characters)
        values = {
            "characters": "".join(characters),
            "counts": [self.characters[char] for char in characters],
            "lengths": sorted(self.lengths.items()),
            "grades": sorted(self.grades.items()),
        }
        return to_json(values, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "TextStatistics":
        values = parse_json(text)
        return cls(
            characters=Counter(dict(zip(values["characters"], values["counts"], strict=True))),
            lengths=Counter(dict(values["lengths"])),
            grades=Counter(dict(values["grades"])),
        )

    def report(self) -> dict[str, Any]:
        """Return the counts for the manifest, the most frequent character first.

        `ks_x_1001` is the number of its 2,350 syllables that occur; `rare` lists the characters that occur
        fewer than `RARE_BELOW` times, the rarest first.
        """
        ranked = sorted(self.characters.items(), key=lambda item: (-item[1], item[0]))
        classes = Counter(dict.fromkeys(CLASSES, 0))
        for char, count in ranked:
            classes[classify(char)] += count
        return {
            "characters": dict(ranked),
            "classes": dict(classes),
            "ks_x_1001": len(self.characters.keys() & set(KS_X_1001)),
            "lengths": {str(length): count for length, count in sorted(self.lengths.items())},
            "grades": {str(grade): count for grade, count in sorted(self.grades.items())},
            "rare": [char for char, count in reversed(ranked) if count < RARE_BELOW],
        }

"""What the texts of a dataset are made of: characters and their classes, lengths, school grades.

Counts add up, so the balance of a dataset is the same for any cut into parts, any order, any resumption.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ocr_ray.dataset.lines import TextLine
from ocr_ray.text.characters import CLASSES, classify
from ocr_ray.text.hangul import KS_X_1001

RARE_BELOW = 20
"""A character seen less often than this is named: a model hardly learns it."""


@dataclass(slots=True)
class TextStatistics:
    """Counters over the lines of a part or of a dataset."""

    characters: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    """Lines by their number of characters."""
    grades: Counter[int] = field(default_factory=Counter)
    """Arithmetic by its school grade; a line may hold several."""

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
        """Return the counts in few bytes, about 7 a character, the same for the same counts."""
        characters = sorted(self.characters)
        values = {
            "characters": "".join(characters),
            "counts": [self.characters[char] for char in characters],
            "lengths": sorted(self.lengths.items()),
            "grades": sorted(self.grades.items()),
        }
        return json.dumps(values, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "TextStatistics":
        values = json.loads(text)
        return cls(
            characters=Counter(dict(zip(values["characters"], values["counts"], strict=True))),
            lengths=Counter(dict(values["lengths"])),
            grades=Counter(dict(values["grades"])),
        )

    def report(self) -> dict[str, Any]:
        """Return the counts for readers, the most frequent character first.

        `ks_x_1001` is how many of its 2,350 syllables were seen; `rare` names the characters seen fewer than
        `RARE_BELOW` times, the rarest first.
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

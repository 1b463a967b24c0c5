"""Characters that a model misreads, from the report of its evaluation: substituted, left out or made up."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any

from ocr_ray.errors import InputError
from ocr_ray.storage.location import read_json, require_file
from ocr_ray.storage.strict_json import to_json

_ERRORS = ("character_substitutions", "character_deletions", "character_insertions")


@dataclass(frozen=True, slots=True)
class Misreading:
    """A misread character and how often it was misread this way."""

    reference: str
    """Printed character; empty if the model read one that is not there."""
    prediction: str
    """Character read instead; empty if the model left it out."""
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MisreadingReport:
    """The misreadings of an evaluation."""

    misreadings: tuple[Misreading, ...]
    """Most frequent first."""
    num_errors: int
    """Number of all character errors; the report omits the rarest misreadings."""

    @property
    def sha256(self) -> str:
        """Hash of the misreadings, independent of their order in the report."""
        values = list(map(astuple, self.misreadings))
        return hashlib.sha256(to_json(values).encode()).hexdigest()


def read_misreadings(uri: str, flag: str) -> MisreadingReport:
    """Return the `confusions` of a `report.json` of evaluate_trocr, local or on S3.

    Raises:
        InputError: the file does not exist, is not such a report, or has no confusions.
    """
    location = require_file(uri, flag)
    report = read_json(location)
    expected = f"{flag} must be report.json of evaluate_trocr"
    try:
        counts, entries = report["overall"]["counts"], report.get("confusions")
        num_errors = sum(int(counts[name]) for name in _ERRORS)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{expected}, {location} is not one: {error!r}") from error
    if entries is None:
        raise InputError(f"{expected} with confusions, {location} has none: evaluate the model again")
    if not isinstance(entries, list) or not all(map(_is_confusion, entries)):
        raise InputError(
            f"confusions of {location} must be objects with truth, read and count: two different characters, "
            "one of which can be empty, and a number of at least 1"
        )
    if not entries:
        raise InputError(
            f"{expected} with at least one confusion, {location} has an empty list: leave {flag} out"
        )
    return MisreadingReport(misreadings=_merge(entries), num_errors=num_errors)


def _is_confusion(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    truth, read, count = (entry.get(name) for name in ("truth", "read", "count"))
    are_characters = all(isinstance(char, str) and len(char) <= 1 for char in (truth, read))
    return are_characters and truth != read and type(count) is int and count >= 1


def _merge(entries: Iterable[dict[str, Any]]) -> tuple[Misreading, ...]:
    counts: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        counts[entry["truth"], entry["read"]] += entry["count"]
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Misreading(*characters, count) for characters, count in ranked)

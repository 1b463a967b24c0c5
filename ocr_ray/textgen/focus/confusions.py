"""What a model misreads, as its evaluation counted it: characters read as others, left out or made up."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any

from ocr_ray.errors import InputError
from ocr_ray.storage.location import read_json, require_file

_ERRORS = ("character_substitutions", "character_deletions", "character_insertions")


@dataclass(frozen=True, slots=True)
class Confusion:
    """A way to misread one character, and how often that was done."""

    truth: str
    """The character in print; empty where something was read that is not there."""
    read: str
    """What was read instead; empty where the character was left out."""
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Misreadings:
    """The confusions of a report."""

    confusions: tuple[Confusion, ...]
    """The commonest first."""
    num_errors: int
    """All wrong characters that were counted; a report leaves the rarest confusions out."""

    @property
    def sha256(self) -> str:
        """The hash of the confusions, in whatever order the report has them."""
        values = list(map(astuple, self.confusions))
        return hashlib.sha256(json.dumps(values, ensure_ascii=False).encode()).hexdigest()


def read_misreadings(uri: str, flag: str) -> Misreadings:
    """Return the confusions of `report.json` of an evaluation, local or on S3.

    Raises:
        InputError: there is no such file, or it is no such report, or one without confusions.
    """
    place = require_file(uri, flag)
    report = read_json(place)
    wanted = f"{flag} must be report.json of evaluate_trocr"
    try:
        counts, entries = report["overall"]["counts"], report.get("confusions")
        num_errors = sum(int(counts[name]) for name in _ERRORS)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{wanted}, {place} is none: {error!r}") from error
    if entries is None:
        raise InputError(f"{wanted} with its confusions, {place} has none: evaluate the model again")
    if not isinstance(entries, list) or not all(map(_is_confusion, entries)):
        raise InputError(
            f"confusions of {place} must be objects of truth, read and count: two different characters, of "
            "which one may be empty, and a number from 1 on"
        )
    if not entries:
        raise InputError(f"{wanted} with at least one confusion, {place} has an empty list: leave {flag} out")
    return Misreadings(confusions=_merge(entries), num_errors=num_errors)


def _is_confusion(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    truth, read, count = (entry.get(name) for name in ("truth", "read", "count"))
    are_characters = all(isinstance(char, str) and len(char) <= 1 for char in (truth, read))
    return are_characters and truth != read and type(count) is int and count >= 1


def _merge(entries: Iterable[dict[str, Any]]) -> tuple[Confusion, ...]:
    counts: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        counts[entry["truth"], entry["read"]] += entry["count"]
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Confusion(truth, read, count) for (truth, read), count in ranked)

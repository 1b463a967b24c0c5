"""The fields of a JSON file, each checked; errors name the field, such as `parts.3.rows`, and its value."""

import re
from typing import Any, TypeVar

MAX_QUOTE_LENGTH = 60
_T = TypeVar("_T")
_KINDS: dict[type, str] = {dict: "an object", list: "a list", str: "a text"}


def expect(value: Any, kind: type[_T], name: str) -> _T:
    """Return a value that must be an object (`dict`), a list or a text; raises ValueError."""
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be {_KINDS[kind]}, got {_quote(value)}")
    return value


def expect_count(value: Any, name: str) -> int:
    """Return a value that must be a whole number of at least 0; raises ValueError."""
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{name} must be a whole number of at least 0, got {_quote(value)}")
    return value


def expect_counts(value: Any, name: str) -> dict[str, int]:
    """Return a value that must be an object of whole numbers of at least 0; raises ValueError."""
    counts = expect(value, dict, name)
    return {key: expect_count(count, f"{name}.{key}") for key, count in counts.items()}


def expect_hash(value: Any, name: str) -> str:
    """Return a value that must be a SHA-256 in hex; raises ValueError."""
    text = expect(value, str, name)
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError(f"{name} must be 64 hexadecimal digits, got {_quote(text)}")
    return text


def _quote(value: Any) -> str:
    return "nothing" if value is None else repr(value)[:MAX_QUOTE_LENGTH]

"""Strict JSON: what this package writes, every other program can read.

Python's `json` writes and reads NaN and Infinity, which are no JSON, takes the last of two equal keys, and
ends in a RecursionError at deep nesting. None of these is written or read here.
"""

import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn

MAX_DEPTH = 100
"""Levels of nesting; the files of this package have about ten."""


def parse_json(content: str | bytes) -> Any:
    """Return the value of a JSON text; bytes are UTF-8, with or without a byte order mark.

    Raises:
        ValueError: it is not JSON, holds a number beyond the range of floats, an object with two equal keys
            or half of a surrogate pair, or is nested too deep.
    """
    text = content if isinstance(content, str) else content.decode("utf-8-sig")
    too_deep = f"it must be nested at most {MAX_DEPTH} levels deep"
    try:
        value = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_parse_float,
            object_pairs_hook=_make_object,
        )
    except RecursionError as error:
        raise ValueError(too_deep) from error
    if sum(1 for _ in _iter_levels(value)) > MAX_DEPTH:
        raise ValueError(too_deep)
    if "\\u" in text:
        _dump(value).encode()  # half of a surrogate pair parses but cannot be encoded
    return value


def to_json(value: Any, **layout: Any) -> str:
    """Return a value as JSON, unescaped; `layout` are the arguments of `json.dumps` that place it.

    Raises:
        ValueError: it holds NaN or Infinity; the message says where.
    """
    try:
        return _dump(value, **layout)
    except ValueError as error:
        where, number = next(find_non_finite(value), ("", None))
        if number is None:
            raise
        raise ValueError(f"JSON must hold finite numbers, {where or 'it'} is {number}") from error


def _dump(value: Any, **layout: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, **layout)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _parse_float(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is beyond the range of floats")
    return number


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"a key must occur once, got {next(n for n in names if names.count(n) > 1)!r} twice")
    return values


def _iter_levels(value: Any) -> Iterator[list[Any]]:
    """Yield the values of each level of nesting, without recursion."""
    level = [value]
    while level:
        yield level
        level = [child for each in level if isinstance(each, dict | list) for child in _list_children(each)]


def _list_children(container: dict[str, Any] | list[Any]) -> list[Any]:
    return list(container.values()) if isinstance(container, dict) else container


def find_non_finite(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Yield each number that is not finite with its path, such as `overall.cer`."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path, value
    named = value.items() if isinstance(value, dict) else ()
    numbered = enumerate(value) if isinstance(value, list | tuple) else ()
    for name, child in (*named, *numbered):
        yield from find_non_finite(child, f"{path}.{name}".lstrip("."))

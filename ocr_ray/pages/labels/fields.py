"""The values of a label, none taken on trust: each is checked, and its place is named where it is wrong."""

import json
import math
import reprlib
import unicodedata
from typing import Any, NoReturn, TypeVar

from ocr_ray.errors import LabelError

MAX_LABEL_BYTES = 4_000_000
"""A thousand times a real label; what it becomes in memory stays near 100 MB, whatever it holds."""
MAX_BOXES = 1_000
"""Of a page, far above what can be printed on one: a box is a crop, and may be as large as the page."""
MAX_MARKS = 30
"""Combining marks in a row, as in Unicode's stream-safe text; normalisation takes their number squared."""
MAX_KIND_LENGTH = 40

Corners = tuple[float, float, float, float]
"""`x0, y0, x1, y1` in page pixels."""
_T = TypeVar("_T")
_KINDS: dict[type, str] = {dict: "an object", list: "a list", str: "a text"}
# What a message quotes: parts of any list or text, so that neither its length nor its depth matters.
_QUOTE = reprlib.Repr()
_QUOTE.maxlevel = 2
_QUOTE.maxlist = _QUOTE.maxdict = 6
_QUOTE.maxstring = _QUOTE.maxlong = _QUOTE.maxother = 40


def parse_json(content: bytes) -> object:
    """Return what the JSON of a label holds; UTF-8 with or without a byte order mark, as AI Hub writes it.

    Raises:
        LabelError: `bad_json`, also for more than `MAX_LABEL_BYTES`. Another encoding is refused too: UTF-16
            has never been seen, and what is cp949 cannot be told from damage.
    """
    if len(content) > MAX_LABEL_BYTES:
        raise LabelError("bad_json", f"over the limit of {MAX_LABEL_BYTES} bytes, got {len(content)}")
    try:
        return json.loads(content.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise LabelError("bad_json", f"must be UTF-8: {error}") from error
    except RecursionError as error:
        raise LabelError("bad_json", "nested hundreds of levels deep") from error
    except ValueError as error:
        raise LabelError("bad_json", str(error)[:200]) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def refuse(place: str, wanted: str, value: object) -> NoReturn:
    """Raise LabelError `unknown_schema`: the value at a place of the label is not what is wanted there."""
    found = "nothing" if value is None else _QUOTE.repr(value)
    raise LabelError("unknown_schema", f"{place} must be {wanted}, got {found}")


def expect(value: object, kind: type[_T], place: str) -> _T:
    """Return an object (`dict`) or a list of the label.

    Raises:
        LabelError: `unknown_schema`: it is another kind of value, or missing.
    """
    if not isinstance(value, kind):
        refuse(place, _KINDS[kind], value)
    return value


def expect_object(value: object, place: str) -> dict[str, Any]:
    """Return an object of the label; raises as `expect` does."""
    return expect(value, dict, place)


def expect_few_boxes(num_boxes: int) -> None:
    """Refuse more boxes than a page can have.

    Raises:
        LabelError: `unknown_schema`.
    """
    if num_boxes > MAX_BOXES:
        raise LabelError("unknown_schema", f"a page must have at most {MAX_BOXES} boxes, got {num_boxes}")


def expect_text(value: object, place: str) -> str:
    """Return a text of the label that can be written and normalised.

    Raises:
        LabelError: `unknown_schema`, or `bad_json` for half a surrogate pair: `"\\ud800"` parses, but can
            never be written.
    """
    text = expect(value, str, place)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise LabelError("bad_json", f"{place}: {error}") from error
    if not text.isascii():
        _expect_few_marks(text, place)
    return text


def expect_kind(value: object, place: str) -> str:
    """Return the kind of a box, NFC and short enough to be counted by it; raises as `expect_text` does."""
    return unicodedata.normalize("NFC", expect_text(value, place))[:MAX_KIND_LENGTH]


def _expect_few_marks(text: str, place: str) -> None:
    num_marks = 0
    for char in text:
        num_marks = num_marks + 1 if unicodedata.combining(char) else 0
        if num_marks > MAX_MARKS:
            refuse(place, f"text without {num_marks} combining marks in a row", text)


def read_numbers(value: object) -> list[float] | None:
    """Return a list of numbers, all finite; None if it is anything else."""
    if not isinstance(value, list) or not all(map(_is_finite, value)):
        return None
    return [float(number) for number in value]


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of more than 308 digits
        return False


def bound_points(value: object) -> Corners | None:
    """Return the bounds of a list of points, `[[x, y], …]`, two at least; None if it is anything else."""
    if not isinstance(value, list) or len(value) < 2:
        return None
    xs: list[float] = []
    ys: list[float] = []
    for point in map(read_numbers, value):
        if point is None or len(point) != 2:
            return None
        xs.append(point[0])
        ys.append(point[1])
    return min(xs), min(ys), max(xs), max(ys)

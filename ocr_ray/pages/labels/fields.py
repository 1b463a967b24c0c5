"""The fields of a label file, each checked; errors name the field and its value.

`field` is the path of a value in the file, such as `OCR_info[0].question_bbox[3].bbox`.
"""

import json
import math
import reprlib
import unicodedata
from typing import Any, NoReturn, TypeVar

from ocr_ray.errors import LabelError

MAX_LABEL_BYTES = 4_000_000
"""A thousand times the size of a real label; takes at most about 100 MB in memory, whatever it holds."""
MAX_BOXES = 1_000
"""On one page, far more than can be printed on one; each box can give a crop as large as the page."""
MAX_MARKS = 30
"""Consecutive combining marks, as in Unicode's stream-safe text format; normalising takes quadratic time."""
MAX_KIND_LENGTH = 40

Bounds = tuple[float, float, float, float]
"""`x0, y0, x1, y1` in page pixels."""
_T = TypeVar("_T")
_KINDS: dict[type, str] = {dict: "an object", list: "a list", str: "a text"}
# Shortens quoted values, however long or deep they are.
_QUOTE = reprlib.Repr()
_QUOTE.maxlevel = 2
_QUOTE.maxlist = _QUOTE.maxdict = 6
_QUOTE.maxstring = _QUOTE.maxlong = _QUOTE.maxother = 40


def parse_json(content: bytes) -> object:
    """Return the JSON value of a label file: UTF-8 with or without a byte order mark, as AI Hub writes it.

    Raises:
        LabelError: `bad_json`, also for more than `MAX_LABEL_BYTES` and for other encodings: UTF-16 does not
            occur, and cp949 cannot be distinguished from damage.
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


def encode_json(document: dict[str, Any]) -> bytes:
    """Return a label file as AI Hub writes it: indented UTF-8 with a byte order mark."""
    return json.dumps(document, ensure_ascii=False, indent=2).encode("utf-8-sig")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def refuse(field: str, wanted: str, value: object) -> NoReturn:
    """Raise LabelError `unknown_schema`: the value of a field is not what it must be."""
    got = "nothing" if value is None else _QUOTE.repr(value)
    raise LabelError("unknown_schema", f"{field} must be {wanted}, got {got}")


def expect(value: object, kind: type[_T], field: str) -> _T:
    """Return the value of a field that must be an object (`dict`), a list or a text.

    Raises:
        LabelError: `unknown_schema`: it has another type, or is missing.
    """
    if not isinstance(value, kind):
        refuse(field, _KINDS[kind], value)
    return value


def expect_object(value: object, field: str) -> dict[str, Any]:
    """Return the value of a field that must be an object; raises as `expect` does."""
    return expect(value, dict, field)


def expect_few_boxes(num_boxes: int) -> None:
    """Check that a page has no more than `MAX_BOXES` boxes.

    Raises:
        LabelError: `unknown_schema`.
    """
    if num_boxes > MAX_BOXES:
        raise LabelError("unknown_schema", f"a page must have at most {MAX_BOXES} boxes, got {num_boxes}")


def expect_text(value: object, field: str) -> str:
    """Return the value of a field that must be text, fit to be encoded and normalised.

    Raises:
        LabelError: `unknown_schema`, or `bad_json` for half a surrogate pair: `"\\ud800"` parses but cannot
            be encoded.
    """
    text = expect(value, str, field)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise LabelError("bad_json", f"{field}: {error}") from error
    if not text.isascii():
        _expect_few_marks(text, field)
    return text


def expect_kind(value: object, field: str) -> str:
    """Return the kind of a box, NFC and cut to `MAX_KIND_LENGTH`; raises as `expect_text` does."""
    return unicodedata.normalize("NFC", expect_text(value, field))[:MAX_KIND_LENGTH]


def _expect_few_marks(text: str, field: str) -> None:
    num_marks = 0
    for char in text:
        num_marks = num_marks + 1 if unicodedata.combining(char) else 0
        if num_marks > MAX_MARKS:
            refuse(field, f"text without {num_marks} combining marks in a row", text)


def read_numbers(value: object) -> list[float] | None:
    """Return a list of finite numbers, or None if the value is anything else."""
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


def bound_points(value: object) -> Bounds | None:
    """Return the bounds of two or more points, `[[x, y], …]`, or None if the value is anything else."""
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

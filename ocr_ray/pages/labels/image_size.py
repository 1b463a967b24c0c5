"""The size of the page image, where a label states it.

The labels of 71716 and 71859 are not known to; other exports of the same pages add it in one of these forms:

    {"images": [{"width": 765, "height": 120}]}, {"imageWidth": 765, "imageHeight": 120},
    {"image_size": [765, 120]}, {"resolution": "765x120"}
"""

import re
from collections.abc import Iterator
from typing import Any

_SIDES = (("imagewidth", "imageheight"), ("imgwidth", "imgheight"), ("width", "height"))
_SIZES = ("imagesize", "imgsize", "resolution", "imageresolution", "size")
_NOT_LETTERS = re.compile(r"[^a-z]")
_NUMBER = re.compile(r"[1-9]\d{0,5}(?:\.0+)?")
_BETWEEN = re.compile(r"\s*[xX×*,]\s*")


def find_image_size(document: dict[str, Any]) -> tuple[int, int] | None:
    """Return width and height of the image in pixels, or None if a label states none, or several.

    They are looked for in the label and in the objects at its first level, but not in those of boxes.
    """
    sizes = {size for values in _list_objects(document) for size in _read_sizes(values)}
    return sizes.pop() if len(sizes) == 1 else None


def _list_objects(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield document
    for value in document.values():
        entry = value[0] if isinstance(value, list) and len(value) == 1 else value
        if isinstance(entry, dict):
            yield entry


def _read_sizes(values: dict[str, Any]) -> Iterator[tuple[int, int]]:
    by_name = {_NOT_LETTERS.sub("", name.lower()): value for name, value in values.items()}
    for names in _SIDES:
        yield from _to_size([by_name.get(name) for name in names])
    for name in _SIZES:
        value = by_name.get(name)
        yield from _to_size(_BETWEEN.split(value.strip()) if isinstance(value, str) else value)


def _to_size(sides: object) -> Iterator[tuple[int, int]]:
    """Yield the size if the value is one, two positive numbers or texts of them; else nothing."""
    if isinstance(sides, list) and len(sides) == 2 and all(map(_is_side, sides)):
        width, height = (int(float(side)) for side in sides)
        yield width, height


def _is_side(value: object) -> bool:
    return isinstance(value, int | float | str) and bool(_NUMBER.fullmatch(str(value)))

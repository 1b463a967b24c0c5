"""Example lines of the report: image, reference, prediction, and where the two differ."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from PIL import Image

from ocr_ray.dataset.images import open_line_image
from ocr_ray.errors import InputError
from ocr_ray.evaluation.alignment import Alignment
from ocr_ray.html_page import data_uri, shorten

MAX_SIZE_PX = (720, 96)
"""An image in the page is no larger, so that a hundred of them stay below a megabyte."""
JPEG_QUALITY = 80
SPACE = "␣"
"""Shown for a space that is missing or inserted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A line with its prediction."""

    line_id: str
    dataset: str
    reference: str
    prediction: str
    image_bytes: bytes
    """The encoded image, as the dataset stores it."""
    confidence: float | None = None
    ops: tuple[tuple[str, str], ...] = ()
    """The alignment in order: pieces of the reference, each with what was predicted for it; `("", "x")` was
    inserted, `("x", "")` deleted. Empty: no errors are marked."""
    width_px: int = 0
    """Size of the line before it was resized, at which it is shown; 0: as the image is stored."""
    height_px: int = 0
    baseline_prediction: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """The lines that a report shows."""

    worst: Sequence[Example] = ()
    random: Sequence[Example] = ()
    kinds: Mapping[str, Sequence[Example]] = field(default_factory=dict)
    """A few wrong lines by the kind of their errors, see `analysis.error_kinds`."""
    confusions: Mapping[tuple[str, str], Sequence[Example]] = field(default_factory=dict)
    """By (reference, prediction) of the confused characters."""


class Picture(NamedTuple):
    """An image inside the page."""

    uri: str
    width_px: int
    height_px: int
    alt: str


class MarkedText(NamedTuple):
    """A piece of a reference or prediction."""

    text: str
    is_error: bool


def list_ops(alignment: Alignment) -> tuple[tuple[str, str], ...]:
    """Return an alignment as the `ops` of an example."""
    return tuple(
        (
            alignment.reference[op.reference_start : op.reference_stop],
            alignment.prediction[op.prediction_start : op.prediction_stop],
        )
        for op in alignment.operations
    )


def mark_errors(example: Example) -> tuple[list[MarkedText], list[MarkedText]]:
    """Return the reference and the prediction in pieces, errors marked.

    What is missing in the prediction is an empty piece.
    """
    if not example.ops:
        return _list_pieces([(example.reference, False)]), _list_pieces([(example.prediction, False)])
    return (
        _list_pieces(
            (reference, reference != prediction) for reference, prediction in example.ops if reference
        ),
        _list_pieces((prediction, reference != prediction) for reference, prediction in example.ops),
    )


def make_picture(example: Example) -> Picture | None:
    """Return the image at the line's own aspect ratio; None if it cannot be opened."""
    try:
        grey = open_line_image(example.image_bytes, example.line_id).convert("L")
    except InputError:
        return None
    width_px, height_px = example.width_px or grey.width, example.height_px or grey.height
    scale = min(1.0, MAX_SIZE_PX[0] / width_px, MAX_SIZE_PX[1] / height_px)
    size = (max(1, round(width_px * scale)), max(1, round(height_px * scale)))
    buffer = io.BytesIO()
    grey.resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return Picture(data_uri(buffer.getvalue()), *size, shorten(example.reference))


def show_characters(text: str) -> str:
    """Return a text in which every character can be seen: spaces as `␣`, unprintable ones by number."""
    return "".join(char if char.isprintable() else f"U+{ord(char):04X}" for char in text.replace(" ", SPACE))


def _list_pieces(pieces: Iterable[tuple[str, bool]]) -> list[MarkedText]:
    return [
        MarkedText(shorten(show_characters(text) if is_error else text), is_error)
        for text, is_error in pieces
    ]

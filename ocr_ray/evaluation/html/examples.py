"""Lines that the report shows: the picture, what is printed, what was read, and where they differ."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image

from ocr_ray.evaluation.alignment import Alignment
from ocr_ray.evaluation.html.tables import show_percent, show_text

MAX_SIZE_PX = (720, 96)
"""A line's picture in the page is no larger, so that a hundred of them stay below a megabyte."""
JPEG_QUALITY = 80
SPACE = "␣"
"""Shown for a space that is missing or invented."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One line that was read."""

    line_id: str
    dataset: str
    truth: str
    prediction: str
    image_bytes: bytes
    """The encoded image, as the dataset stores it."""
    confidence: float | None = None
    ops: tuple[tuple[str, str], ...] = ()
    """The alignment in order: pieces of the truth, each with what was read for it; `("", "x")` was invented,
    `("x", "")` was left out. Empty: no differences are coloured."""
    width_px: int = 0
    """Of the line before it was resized, which is how it is shown; 0: as the image is stored."""
    height_px: int = 0
    baseline_prediction: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """The lines that a report shows."""

    worst: Sequence[Example] = ()
    random: Sequence[Example] = ()
    confusions: Mapping[tuple[str, str], Sequence[Example]] = field(default_factory=dict)
    """By (truth, read)."""


def list_ops(alignment: Alignment) -> tuple[tuple[str, str], ...]:
    """Return an alignment as the `ops` of an example."""
    return tuple(
        (
            alignment.reference[op.reference_start : op.reference_stop],
            alignment.prediction[op.prediction_start : op.prediction_stop],
        )
        for op in alignment.operations
    )


def draw_example(example: Example) -> str:
    """Return a line's picture, truth and reading; red was not read as it is printed, green is not printed."""
    truth, reading = show_text(example.truth), show_text(example.prediction)
    if example.ops:
        truth, reading = draw_differences(example.ops)
    confidence = f", confidence {show_percent(example.confidence)}" if example.confidence is not None else ""
    other = ""
    if example.baseline_prediction is not None:
        other = f'<p class="line"><b>baseline</b>{show_text(example.baseline_prediction)}</p>'
    return (
        f'<figure class="example">{draw_image(example)}'
        f'<p class="line"><b>truth</b>{truth}</p><p class="line"><b>read</b>{reading}</p>{other}'
        f"<small>{show_text(example.dataset)} {show_text(example.line_id)}{confidence}</small></figure>\n"
    )


def draw_differences(ops: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Return the truth and the reading as HTML, each with what the other one lacks marked."""
    truth = "".join(_mark(piece, "del", is_same=piece == read) for piece, read in ops)
    reading = "".join(_mark(read, "ins", is_same=piece == read) for piece, read in ops)
    return truth, reading


def draw_image(example: Example) -> str:
    """Return the picture at the line's own aspect, inside the page; a word where it cannot be opened."""
    try:
        content, width_px, height_px = _shrink(example)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return '<p class="faint">image cannot be opened</p>'
    uri = f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
    return f'<img src="{uri}" width="{width_px}" height="{height_px}" alt="{show_text(example.truth)}">'


def show_piece(piece: str) -> str:
    """Return a piece of text of which every character is to be seen, by its number if it cannot be."""
    if not piece:
        return "<small>nothing</small>"
    seen = piece.replace(" ", SPACE)
    return show_text("".join(char if char.isprintable() else f"U+{ord(char):04X}" for char in seen))


def _mark(piece: str, tag: str, *, is_same: bool) -> str:
    if is_same or not piece:
        return show_text(piece)
    return f"<{tag}>{show_piece(piece)}</{tag}>"


def _shrink(example: Example) -> tuple[bytes, int, int]:
    with Image.open(io.BytesIO(example.image_bytes)) as image:
        grey = image.convert("L")
    width_px, height_px = example.width_px or grey.width, example.height_px or grey.height
    scale = min(1.0, MAX_SIZE_PX[0] / width_px, MAX_SIZE_PX[1] / height_px)
    size = (max(1, round(width_px * scale)), max(1, round(height_px * scale)))
    buffer = io.BytesIO()
    grey.resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue(), *size

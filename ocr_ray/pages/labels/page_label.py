"""The content of a label, whatever its schema: boxes with their texts, and the whole problem."""

from dataclasses import dataclass
from typing import Literal

EMPTY_TEXTS = frozenset({"", "None"})
"""What labels hold in place of a missing text."""

BoxFormat = Literal["xyxy", "xywh", "points"]
"""How a 71716 label gives a box."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One text box of a page as labelled; half-open, in page pixels, not yet checked against the page."""

    index: int
    """Position in the label; boxes out of scope count too."""
    x0: float
    y0: float
    x1: float
    y1: float
    markup: str
    """As in the label, with its line breaks; empty or `None` if the label has no text."""
    part: str = ""
    """The part of the problem that it shows, such as `보기(텍스트)`; only in 71859."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLabel:
    """The content of a page's label."""

    page_id: str
    """The image's file name without its extension, NFC."""
    schema: str
    """A name in `read.SCHEMAS`."""
    problem_markup: str
    """The whole problem; if the label does not give it, the texts of its boxes joined by spaces."""
    boxes: tuple[Box, ...]
    """Boxes of printed text in the label's order, which is taken as the reading order."""
    out_of_scope: dict[str, int]
    """Number of boxes of every other kind, such as `image` and `정답(텍스트)`."""
    image_size: tuple[int, int] | None = None
    """Width and height of the page's image in pixels, if the label states them."""


def is_empty(markup: str | None) -> bool:
    """Return whether the text of a label stands for no text."""
    return markup is None or markup.strip() in EMPTY_TEXTS


def join_markup(boxes: tuple[Box, ...]) -> str:
    """Return the texts of boxes joined by spaces; empty ones are left out."""
    return " ".join(box.markup.strip() for box in boxes if not is_empty(box.markup))

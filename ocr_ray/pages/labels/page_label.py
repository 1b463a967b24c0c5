"""The vocabulary of labels: what any of them says of its page, whatever its schema."""

from dataclasses import dataclass
from typing import Literal

EMPTY_TEXTS = frozenset({"", "None"})
"""What stands in the labels where there is no text."""

Schema = Literal["71716", "71859"]
"""The AI Hub dataset whose labels have the shape; that of 71718 is that of 71716."""
BoxFormat = Literal["xyxy", "xywh", "points"]
"""How a 71716 label gives a box; 71859 says it with each box."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One text box of a page as labelled; half-open, in page pixels, not yet checked against the page."""

    index: int
    """Its place in the label, boxes out of scope counted."""
    x0: float
    y0: float
    x1: float
    y1: float
    markup: str
    """As in the label: several lines keep their line breaks; may be empty or `None`."""
    part: str = ""
    """What of the problem it shows, such as `보기(텍스트)`; only 71859 says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLabel:
    """What a label says about its page."""

    page_id: str
    """The image's file name without its ending, NFC."""
    schema: Schema
    problem_markup: str
    """The whole problem; where the label leaves it out, its boxes joined by spaces."""
    boxes: tuple[Box, ...]
    """Boxes of printed lines in the label's order, which is taken as the reading order."""
    out_of_scope: dict[str, int]
    """Number of boxes of every other kind, such as `image` and `정답(텍스트)`."""


def is_empty(markup: str | None) -> bool:
    """Return whether a label says that there is no text."""
    return markup is None or markup.strip() in EMPTY_TEXTS


def join_markup(boxes: tuple[Box, ...]) -> str:
    """Return what the boxes say, one after another; those without text are left out."""
    return " ".join(box.markup.strip() for box in boxes if not is_empty(box.markup))

"""What a model reads in the image of one line."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ocr_ray.dataset.stored_rows import MAX_TEXT_LENGTH

REACHED_LIMIT, REPLACEMENT_CHARACTER = "reached_limit", "replacement_character"
"""Why a reading is flagged: it ends at the model's length limit, so it can be incomplete; or it holds U+FFFD,
where tokens were no whole character."""
READING_FLAGS = (REACHED_LIMIT, REPLACEMENT_CHARACTER)


class LineReading(NamedTuple):
    """The text of a line as a model reads it."""

    text: str
    """NFC."""
    confidence: float
    """Mean probability of the tokens, from 0 to 1."""
    reached_limit: bool = False
    """Whether reading stopped at the model's length limit, without an end token, or at MAX_TEXT_LENGTH."""

    @property
    def flags(self) -> tuple[str, ...]:
        """Why the reading needs a review, as words of `READING_FLAGS`."""
        flagged = (self.reached_limit, "\ufffd" in self.text)
        return tuple(name for name, is_flagged in zip(READING_FLAGS, flagged, strict=True) if is_flagged)


def make_reading(text: str, confidence: float, reached_limit: bool) -> LineReading:
    """Return a reading with at most MAX_TEXT_LENGTH characters.

    A model that repeats itself can write more: a token can have 64 characters.
    """
    is_too_long = len(text) > MAX_TEXT_LENGTH
    return LineReading(text[:MAX_TEXT_LENGTH], confidence, reached_limit or is_too_long)


ReadImages = Callable[[Sequence[bytes]], list[LineReading]]
"""A function that reads encoded images."""

"""Refuses a folder whatever reading it raises."""

from collections.abc import Iterator
from contextlib import contextmanager

from ocr_ray.errors import InputError

MAX_REASON = 400
"""Characters of a reason that are shown; the middle of a longer one is left out."""


@contextmanager
def refused(message: str) -> Iterator[None]:
    """Raise InputError with a message and the reason for whatever is raised; an InputError stays as it is.

    Only for reading a model: its files come from anywhere, and libraries raise any kind of exception for a
    damaged one, tokenizers even plain `Exception`.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        if len(reason) > MAX_REASON:
            reason = f"{reason[: MAX_REASON // 2]} … {reason[-MAX_REASON // 2 :]}"
        kind = "" if isinstance(error, OSError | ValueError) and reason else f"{type(error).__name__} "
        raise InputError(f"{message}: {kind}{reason}") from error

"""The errors of the package, drawn as a tree.

ValueError
  InputError          the caller's mistake, found before any work: exit code 2
RowError              this line or page only: a counted reject
  RenderError         a line that could not be drawn
  CropError           a box that could not be cut out
  LabelError          a label that could not be read or printed
  OutOfScopeError     a page that is whole, but no problem
CheckpointError       a checkpoint that is missing or half-written
ProductionError       the job ran, but what it made may not be used: exit code 1
  StorageError        S3 or a disk refuses, or is away for too long; what is done stays
"""

from collections.abc import Mapping
from typing import Any


class InputError(ValueError):
    """A flag, file or folder is wrong; the message says what must hold, what was got and what to do."""


def missing_extra(package: str, extra: str) -> InputError:
    """Return the error for a package that only an extra of this one installs."""
    return InputError(f"the package {package} must be installed: pip install 'ocr_ray[{extra}]'")


class RowError(Exception):
    """One line, box or page cannot be used.

    `reason` is a fixed snake_case word that can be counted, `detail` says what was found.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["RowError"], tuple[str, str]]:
        return type(self), (self.reason, self.detail)


class RenderError(RowError):
    """A line could not be drawn."""


class CropError(RowError):
    """A box could not be cut out of its page."""


class LabelError(RowError):
    """A label could not be read, or its text could not be turned into what is printed."""


class OutOfScopeError(RowError):
    """A page is whole, but shows no problem: `answer` or `handwriting`."""


class CheckpointError(Exception):
    """A checkpoint is missing or half-written."""


class ProductionError(Exception):
    """A dataset was made but breaks a promise, such as the largest share of rejects.

    `summary` is what the job prints all the same.
    """

    def __init__(self, message: str, summary: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.summary = summary

    def __str__(self) -> str:
        return self.message  # Ray Data adds advice of its own to `args`


class StorageError(ProductionError):
    """S3 or a disk refuses something; the message says what, where, and what to do."""

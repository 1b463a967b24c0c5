"""The exceptions of the package, as a tree.

ValueError
  InputError          a mistake of the caller, found before any work: exit code 2
RowError              one line or page cannot be used: a counted reject
  RenderError         a line cannot be rendered
  CropError           a box cannot be cropped
  LabelError          a label cannot be read, or its text cannot be printed
  OutOfScopeError     a page is intact but is not a problem page
CheckpointError       a checkpoint is missing or incomplete
ProductionError       the job failed or its output must not be used: exit code 1
  StorageError        S3 or a disk refused a request; finished work is kept
  StoppedError        the job was told to stop; finished work is kept
"""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any


class InputError(ValueError):
    """A flag, file or folder is wrong; the message says what must hold, what is there and what to do."""


def require_package(package: str, *, needed_by: str, install: str) -> None:
    """Check that an optional package is installed; `install` is the requirement that installs it.

    Raises:
        InputError: it is not.
    """
    if find_spec(package) is None:
        raise InputError(f'{needed_by} needs the package {package}: pip install "{install}"')


class RowError(Exception):
    """One line, box or page cannot be used.

    `reason` is a fixed snake_case word to count by, `detail` describes this case.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["RowError"], tuple[str, str]]:
        return type(self), (self.reason, self.detail)


class RenderError(RowError):
    """A line cannot be rendered."""


class CropError(RowError):
    """A box cannot be cropped from its page."""


class LabelError(RowError):
    """A label cannot be read, or its text cannot be converted to printed text."""


class OutOfScopeError(RowError):
    """A page is intact but is not a problem page: `answer` or `handwriting`."""


class CheckpointError(Exception):
    """A checkpoint is missing or incomplete."""


class ProductionError(Exception):
    """The job failed or its output must not be used, for example because of too many rejects.

    The job prints `summary`, unless it is None.
    """

    def __init__(self, message: str, summary: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.summary = summary

    def __str__(self) -> str:
        return self.message  # Ray Data appends advice to `args`


class StorageError(ProductionError):
    """S3 or a disk refused a request; the message says what, where, and what to do."""


class StoppedError(ProductionError):
    """The job was told to stop, and has saved its work; `exit_code` is 130 after Ctrl-C, else 1."""

    def __init__(self, message: str, summary: Mapping[str, Any] | None = None, *, exit_code: int = 1) -> None:
        super().__init__(message, summary)
        self.exit_code = exit_code

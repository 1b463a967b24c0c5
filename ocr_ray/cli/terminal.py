"""Logs of a job for a person at a terminal: short lines, and a bar for the progress of long work.

A record with the attribute `progress` moves a bar, `{"name", "done", "total", "numbers"}`. Records of level
DEBUG of the package are for the terminal only; those with the attribute `detail` are not for it.
"""

import logging
import os
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from ocr_ray.storage.uri import mask_secrets

PACKAGE = "ocr_ray"
STYLES = {logging.WARNING: "yellow", logging.ERROR: "bold red", logging.CRITICAL: "bold red"}
QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}
"""Environment variables that silence libraries, unless the user has set them."""
QUIET_LIBRARIES = ("ray", "transformers", "huggingface_hub", "py")
"""Only their errors are shown; `py.warnings` are the warnings of Python."""


class TerminalHandler(logging.Handler):
    """Writes records of the package, and warnings or errors of libraries, to standard error."""

    def __init__(self) -> None:
        super().__init__()
        self._console = Console(stderr=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[numbers]}"),
            console=self._console,
            transient=True,
        )
        self._bar_name = ""
        """Of the bar; empty: there is none."""
        self._task = TaskID(0)

    def emit(self, record: logging.LogRecord) -> None:
        progress = getattr(record, "progress", None)
        if progress is not None and progress["done"] < progress["total"]:
            self._move(progress)
            return
        if progress is not None:
            self._end()
        if is_shown(record):
            self._console.print(self._describe(record), soft_wrap=True)

    def close(self) -> None:
        self._end()
        super().close()

    def _describe(self, record: logging.LogRecord) -> Text:
        text = logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S").format(record)
        clock, _, message = mask_secrets(text).partition(" ")
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return Text.assemble((clock, "dim"), " ", (level, STYLES.get(record.levelno, "")), message)

    def _move(self, progress: Mapping[str, Any]) -> None:
        """Show progress in a bar, in place of an earlier one."""
        state = {"completed": progress["done"], "numbers": progress["numbers"]}
        if progress["name"] == self._bar_name:
            self._bars.update(self._task, **state)
            return
        self._end()
        self._bar_name = progress["name"]
        self._task = self._bars.add_task(self._bar_name, total=progress["total"], **state)
        self._bars.start()

    def _end(self) -> None:
        if self._bar_name:
            self._bars.remove_task(self._task)
            self._bars.stop()
            self._bar_name = ""


def is_shown(record: logging.LogRecord) -> bool:
    """Return whether a person reads the record: not the chatter of libraries, nor details."""
    if getattr(record, "detail", False):
        return False
    if record.name == PACKAGE or record.name.startswith(f"{PACKAGE}."):
        return True
    is_quiet = record.name.partition(".")[0] in QUIET_LIBRARIES
    return record.levelno >= (logging.ERROR if is_quiet else logging.WARNING)


def log_to_terminal() -> None:
    """Log this process to the terminal, and keep libraries quiet."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.addHandler(TerminalHandler())
    root.handlers[0].name = PACKAGE  # a session of Ray hands its records to handlers of this name
    logging.getLogger(PACKAGE).setLevel(logging.DEBUG)
    for library in ("ray", "transformers"):  # ray.init and transformers would add handlers of their own
        logger = logging.getLogger(library)
        logger.handlers.clear()
        logger.propagate = True
    logging.captureWarnings(True)

"""Logs of a job on standard error: plain lines or, with OCR_RAY_LOG=json, one JSON object per line.

On a terminal they are short, with a bar that shows progress; see `terminal`.

Keys and passwords in URIs are masked.
"""

import logging
import os
import re
import sys
from datetime import UTC, datetime
from types import TracebackType

from ocr_ray.errors import InputError
from ocr_ray.storage.strict_json import to_json
from ocr_ray.storage.uri import mask_secrets, mask_values

VARIABLE = "OCR_RAY_LOG"
TEXT, JSON = "text", "json"
COLOUR = re.compile(r"\x1b\[\d*m")
"""Terminal colours; Ray puts them around the address of its dashboard."""


class TextFormatter(logging.Formatter):
    """Formats a record as plain lines."""

    def format(self, record: logging.LogRecord) -> str:
        return mask_secrets(super().format(record))


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON with its time in UTC; `exc_text` is a traceback.

    The keys are those of Ray's own JSON logs, which its dashboard can show.
    """

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "asctime": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "levelname": record.levelname,
            "name": record.name,
            "message": COLOUR.sub("", record.getMessage()),
        }
        if record.exc_info:
            fields["exc_text"] = self.formatException(record.exc_info)
        return to_json(mask_values(fields))


def start_logs() -> None:
    """Log to standard error from level INFO, in the format that OCR_RAY_LOG names.

    Raises:
        InputError: there is no such format.
    """
    log_format = os.environ.get(VARIABLE, TEXT)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    sys.excepthook = _log_exception
    if log_format == JSON:
        _log_json()
    elif log_format == TEXT and sys.stderr.isatty():
        from ocr_ray.cli.terminal import log_to_terminal  # loads rich, which files and pipes do not need

        log_to_terminal()
    elif log_format != TEXT:
        raise InputError(f"{VARIABLE} must be {TEXT} or {JSON}, got {log_format!r}")


def end_progress() -> None:
    """Remove the progress bar of a terminal, so that the summary stands below the logs."""
    for handler in logging.getLogger().handlers:
        if not isinstance(handler, logging.StreamHandler):
            handler.close()


def _log_json() -> None:
    """Log everything in this process as JSON: Ray's records, warnings and an uncaught exception too."""
    os.environ.setdefault("RAY_BACKEND_LOG_JSON", "1")  # for the logs of Ray's C++ code
    formatter = JsonFormatter()
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)
        handler.name = "ocr_ray"  # a session of Ray hands its records to handlers of this name
    ray_logger = logging.getLogger("ray")  # ray.init would set the format of its handlers
    ray_logger.handlers.clear()
    ray_logger.propagate = True
    logging.captureWarnings(True)


def _log_exception(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    logging.getLogger(__name__).critical("%s", kind.__name__, exc_info=(kind, error, traceback))

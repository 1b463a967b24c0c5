"""What a job logs on standard error: lines to read, or with OCR_RAY_LOG=json one JSON object a line."""

import json
import logging
import os
import re
import sys
from datetime import UTC, datetime
from types import TracebackType

from ocr_ray.errors import InputError

VARIABLE = "OCR_RAY_LOG"
TEXT, JSON = "text", "json"
COLOUR = re.compile(r"\x1b\[\d*m")
"""What Ray puts around the address of its dashboard."""


class JsonFormatter(logging.Formatter):
    """A record as a JSON object in one line, its time in UTC; `exc_text` is a traceback.

    The keys are those of Ray's own JSON logs, which its dashboard knows how to show.
    """

    def format(self, record: logging.LogRecord) -> str:
        shown = {
            "asctime": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "levelname": record.levelname,
            "name": record.name,
            "message": COLOUR.sub("", record.getMessage()),
        }
        if record.exc_info:
            shown["exc_text"] = self.formatException(record.exc_info)
        return json.dumps(shown, ensure_ascii=False)


def start_logs() -> None:
    """Log from INFO on to standard error, in the form that OCR_RAY_LOG names.

    Raises:
        InputError: it names none.
    """
    form = os.environ.get(VARIABLE, TEXT)
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    if form == JSON:
        _log_json()
    elif form != TEXT:
        raise InputError(f"{VARIABLE} must be {TEXT} or {JSON}, got {form!r}")


def _log_json() -> None:
    """Give all records in this process, Ray's own, warnings and a last traceback too, the form of JSON."""
    os.environ.setdefault("RAY_BACKEND_LOG_JSON", "1")  # what Ray logs from C++, without a name
    formatter = JsonFormatter()
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)
    ray_logger = logging.getLogger("ray")  # ray.init sets the format of its handlers; it has none now
    ray_logger.handlers.clear()
    ray_logger.propagate = True
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):  # its other one writes a file
            handler.setFormatter(formatter)
    logging.captureWarnings(True)
    sys.excepthook = _log_exception


def _log_exception(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    logging.getLogger(__name__).critical("%s", kind.__name__, exc_info=(kind, error, traceback))

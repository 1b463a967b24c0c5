"""The frame of every job: flags in, one JSON line out, exit codes that tell the truth."""

import json
import logging
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import tyro

from ocr_ray.cli.logs import start_logs
from ocr_ray.errors import CheckpointError, InputError, ProductionError, StorageError
from ocr_ray.storage.error_messages import describe_storage_error

log = logging.getLogger(__name__)
Config = TypeVar("Config")


def run_job(
    config_type: type[Config],
    work: Callable[[Config], Mapping[str, Any]],
    *,
    description: str | None,
    arguments: list[str] | None = None,
) -> NoReturn:
    """Parse the flags of `config_type`, do the work, print its summary as the last line of standard output.

    Exits with 0 when done, 1 when it failed or was stopped (SIGTERM, which `ray job stop` sends), 2 when a
    flag or an input is wrong; a failure that knows what it found prints its summary too. Logs go to standard
    error, with OCR_RAY_LOG=json as one JSON object a line.
    """
    try:
        start_logs()
        prog = f"python -m jobs.{Path(sys.argv[0]).stem}"
        config = tyro.cli(config_type, prog=prog, args=arguments, description=description)
    except ValueError as error:
        log.error("%s", error)
        sys.exit(2)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # Ray's own answer to it is the same
    try:
        summary = work(config)
    except InputError as error:
        log.error("%s", error)
        sys.exit(2)
    except OSError as error:
        if not (told := describe_storage_error(error)):
            raise
        _fail(told)
    except StorageError as error:
        _fail(str(error))
    except (ProductionError, CheckpointError) as error:
        log.error("%s", error)
        if isinstance(error, ProductionError) and error.summary is not None:
            _print_summary(error.summary)
        sys.exit(1)
    except SystemExit:
        log.error("stopped; what is done stays: run the same command to go on")
        sys.exit(1)
    _print_summary(summary)
    sys.exit(0)


def _fail(refused: str) -> NoReturn:
    log.error("%s; what is done stays: when that is mended, run the same command to go on", refused)
    sys.exit(1)


def _print_summary(summary: Mapping[str, Any]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    sys.stdout.write(json.dumps(summary, ensure_ascii=False) + "\n")

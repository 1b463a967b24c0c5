"""Runs a job: parses flags, logs, prints the summary as one line of JSON, sets the exit code."""

import io
import logging
import re
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import asdict
from difflib import get_close_matches
from io import TextIOWrapper
from types import FrameType
from typing import Any, NoReturn, TypeVar

import tyro

from ocr_ray.cli.closing import close_job
from ocr_ray.cli.flags import describe_flags, list_flags, resolve_uri
from ocr_ray.cli.logs import end_progress, start_logs
from ocr_ray.cli.process import as_job
from ocr_ray.cli.recipe import add_recipe
from ocr_ray.errors import CheckpointError, InputError, ProductionError, StoppedError, StorageError
from ocr_ray.storage.error_messages import describe_storage_error
from ocr_ray.storage.strict_json import find_non_finite, to_json
from ocr_ray.storage.uri import check_no_secret, mask_values

log = logging.getLogger(__name__)
INTERRUPTED = 128 + signal.SIGINT
"""The exit code after Ctrl-C, as shells expect it."""
JSON_HELP = " With --json the summary is JSON on a terminal too."
Config = TypeVar("Config")


def run_job(
    config_type: type[Config],
    load_work: Callable[[], Callable[[Config], Mapping[str, Any] | None]],
    *,
    prog: str,
    description: str,
    arguments: Sequence[str] | None = None,
    job: str = "",
) -> NoReturn:
    """Parse the flags of `config_type`, do the work, print its summary as the last line of standard output.

    `load_work` imports the work; it is called only after the flags were parsed. Work that prints its result
    itself returns None. `prog` is the command as the usage shows it. `arguments` defaults to those of the
    process. On a terminal the summary is a few lines for a person, which depend on `job`, unless `--json` is
    given.

    Exits with 0 when the work is done, 1 when it failed or was stopped (`ray job stop` sends SIGTERM), 2 when
    a flag or an input is wrong, 130 after Ctrl-C. A failure that has a summary prints it too. Logs go to
    standard error.
    """
    received = _catch_signals()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # JSON is UTF-8, whatever the locale is
    try:
        start_logs()
        flags = list_flags(config_type)
        words, as_json = _take_json(sys.argv[1:] if arguments is None else arguments, flags)
        config = _parse(config_type, words, prog=prog, description=f"{description}{JSON_HELP}")
    except ValueError as error:
        log.error("%s", name_flags(str(error), list_flags(config_type)))
        sys.exit(2)
    except SystemExit:
        if signal.SIGINT in received:
            sys.exit(INTERRUPTED)
        raise
    try:
        work = load_work()
        start_logs()  # again: importing Ray sets up other loggers
        with as_job():
            summary = work(config)
    except InputError as error:
        log.error("%s", name_flags(str(error), flags))
        sys.exit(2)
    except OSError as error:
        if not (message := describe_storage_error(error)):
            raise
        _fail(message)
    except StorageError as error:
        _fail(str(error))
    except (ProductionError, CheckpointError) as error:
        log.error("%s", error)
        if isinstance(error, ProductionError) and error.summary is not None:
            _print_summary(error.summary)
        sys.exit(error.exit_code if isinstance(error, StoppedError) else 1)
    except (SystemExit, KeyboardInterrupt):
        log.error("stopped; finished work is kept: run the same command to resume")
        sys.exit(INTERRUPTED if signal.SIGINT in received else 1)
    if summary is not None:
        if sys.stdout.isatty() and not as_json:
            _print_lines(close_job(job, mask_values(summary)))
        else:
            _print_summary(summary)
    sys.exit(0)


def _take_json(words: Sequence[str], flags: Sequence[str]) -> tuple[list[str], bool]:
    """Return the words without `--json`, and whether it was among them; a job may have such a flag itself."""
    if "json" in flags:
        return list(words), False
    return [word for word in words if word != "--json"], "--json" in words


def _parse(config_type: type[Config], words: Sequence[str], *, prog: str, description: str) -> Config:
    """Return the configuration of the flags, also of those in a recipe that they name.

    Raises:
        ValueError: a flag or a URI is wrong, or the configuration does not accept a value; InputError is one.
        SystemExit: tyro has shown what is wrong, or the help.
    """
    flags, shown = list_flags(config_type), io.StringIO()
    _check_words(words, flags)
    words = add_recipe(words, flags)
    try:
        with redirect_stderr(shown):
            config = tyro.cli(config_type, prog=prog, args=words, description=description)
    except SystemExit as stop:
        if stop.code and (error := _find_own_error(stop)):
            raise ValueError(str(error)) from error
        sys.stderr.write(shown.getvalue())
        raise
    _require_finite(config)
    describe_flags(config, resolve=resolve_uri)
    return config


def _find_own_error(error: BaseException | None) -> ValueError | None:
    """Return the error of `__post_init__` that tyro was handling when it raised `error`."""
    while error is not None:
        frames = traceback.walk_tb(error.__traceback__)
        is_own = any(frame.f_code.co_name == "__post_init__" for frame, _ in frames)
        if is_own and isinstance(error, ValueError) and type(error) in (ValueError, InputError):
            return error
        error = error.__context__
    return None


def name_flags(message: str, flags: Sequence[str]) -> str:
    """Return a message in which fields of the configuration are named as flags: `num_lines` is `--num-lines`.

    A field of one word is replaced only where the message begins with it, as in `seed must be`.
    """
    by_field: dict[str, str] = {}
    for flag in sorted(flags, key=lambda flag: (flag.count("."), flag), reverse=True):
        by_field[flag.rpartition(".")[2].replace("-", "_")] = f"--{flag}"
    for field, flag in by_field.items():
        pattern = rf"(?<![\w./=-]){field}(?![\w.=/-])" if "_" in field else rf"^{field}(?= must )"
        message = re.sub(pattern, flag, message)
    return message


def _check_words(words: Sequence[str], flags: Sequence[str]) -> None:
    """Check that no argument contains keys, which errors would show, and that each flag exists, once.

    tyro suggests no flag while a required one is missing; of a flag given twice it drops the first values.
    """
    flag = "an argument"
    for word in words:
        flag = word.partition("=")[0] if word.startswith("--") else flag
        check_no_secret(word, flag)
    known = [*(f"--{name}" for name in flags), "--help", "--json"]
    given: set[str] = set()
    for word in words:
        flag = word.partition("=")[0].replace("_", "-")
        if not flag.startswith("--") or flag.startswith("--tyro-"):
            continue
        if flag not in known:
            similar = get_close_matches(flag, known, n=1)
            hint = f"did you mean {similar[0]}?" if similar else "--help lists the flags"
            raise InputError(f"{word.partition('=')[0]} must be a flag of this job; {hint}")
        if flag in given:
            raise InputError(f"{flag} must be given once; if it takes several values, they follow it")
        given.add(flag)


def _require_finite(config: Any) -> None:
    for name, number in find_non_finite(asdict(config)):
        raise InputError(f"--{name.replace('_', '-')} must be a finite number, got {number}")


def _catch_signals() -> list[int]:
    """End the work at SIGTERM, as Ray itself does, and at Ctrl-C; return the list of signals that came.

    A second Ctrl-C ends the process at once.
    """
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        received.append(number)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        sys.exit(INTERRUPTED if number == signal.SIGINT else 1)  # Ray replaces the code in some of its calls

    signal.signal(signal.SIGTERM, stop)
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # as in the background of a script
        signal.signal(signal.SIGINT, stop)
    return received


def _fail(message: str) -> NoReturn:
    log.error("%s; finished work is kept: fix this and run the same command to resume", message)
    sys.exit(1)


def _print_summary(summary: Mapping[str, Any]) -> None:
    _print_lines([to_json(mask_values(summary))])


def _print_lines(lines: Sequence[str]) -> None:
    end_progress()
    sys.stdout.flush()
    sys.stderr.flush()
    sys.stdout.write("".join(f"{line}\n" for line in lines))

"""How a job is called: its flags by their names without dashes, as words of a command line."""

import shlex
from collections.abc import Mapping
from typing import Any


def list_arguments(flags: Mapping[str, Any]) -> list[str]:
    """Return the words of a command line; a flag whose value is None is left out."""
    words: list[str] = []
    for name, value in flags.items():
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, list | tuple):
            words += [f"--{name}", *map(str, value)]
        elif value is not None:
            words += [f"--{name}", str(value)]
    return words


def write_command(job: str, flags: Mapping[str, Any]) -> str:
    """Return the command that runs a job with these flags, to be pasted into a shell."""
    return shlex.join(["python", "-m", f"jobs.{job}", *list_arguments(flags)])

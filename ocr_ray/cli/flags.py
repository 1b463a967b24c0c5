"""How a job is called: its flags by their names without dashes, as words of a command line."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict
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


def changed_flags(config: Any, standard: Any, rooms: Mapping[str, str]) -> dict[str, Any]:
    """Return the flags of a configuration, a dataclass, whose values differ from those of `standard`.

    `rooms` says what the flags of nested configurations begin with, where that is not their field's name.
    """
    usual = _flatten(asdict(standard))
    flags = {}
    for name, value in _flatten(asdict(config)).items():
        room, _, rest = name.partition(".")
        if value != usual[name]:
            flags[(rooms.get(room, f"{room}.") + rest if rest else name).replace("_", "-")] = value
    return flags


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat

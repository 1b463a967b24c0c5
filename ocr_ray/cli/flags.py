"""Flags of a job, by their names without dashes, as the arguments of a command line."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import tyro


@dataclass
class _Sample:
    positional: tyro.conf.Positional[int]


_POSITIONAL = get_args(get_type_hints(_Sample, include_extras=True)["positional"])[1]
"""What tyro marks an argument without a flag with."""
NOT_RECORDED = "push-to-hub"
"""The flag that says where a result goes, not how it is made: who makes it again may not want it there."""


def list_arguments(flags: Mapping[str, Any]) -> list[str]:
    """Return the arguments that set these flags; a flag whose value is None is left out."""
    arguments: list[str] = []
    for name, value in flags.items():
        if isinstance(value, bool):
            arguments.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, list | tuple):
            arguments += [f"--{name}", *map(str, value)]
        elif value is not None:
            arguments += [f"--{name}", str(value)]
    return arguments


def write_command(job: str, flags: Mapping[str, Any]) -> str:
    """Return the shell command that runs a job with these flags."""
    return shlex.join(["ocr-ray", job.replace("_", "-"), *list_arguments(flags)])


def write_arguments(flags: Mapping[str, Any]) -> str:
    """Return these flags as a shell takes them."""
    return shlex.join(list_arguments(flags))


def describe_flags(
    config: Any, *, resolve: Callable[[str, Any], Any] = lambda flag, value: value
) -> dict[str, Any]:
    """Return the flags of a job, by name without dashes, whose values differ from their defaults.

    `config` is the dataclass that tyro parses; flags without a default are always included. `resolve` takes a
    flag and its value and returns the value to keep, such as a location in full.
    """
    flags = _list_changed(config, None)
    return {flag: resolve(flag, value) for flag, value in flags.items() if flag != NOT_RECORDED}


def resolve_uri(flag: str, value: Any) -> Any:
    """Return the value of a `-uri` flag in full, valid in any folder; other values unchanged.

    Raises:
        InputError: it is no URI; the message names the flag.
    """
    if not flag.endswith("-uri") or value is None:
        return value
    if isinstance(value, tuple):
        return tuple(resolve_uri(flag, uri) for uri in value)
    from ocr_ray.storage.location import locate, locate_model  # loads pyarrow, which --help does not need

    name = f"--{flag}"
    location = locate_model(value, name) if flag == "model-uri" else locate(value, name)
    return location if isinstance(location, str) else location.uri


def list_flags(config_type: Any, prefix: str = "") -> list[str]:
    """Return the flags of a job, by name without dashes, as tyro makes them of its dataclass."""
    flags: list[str] = []
    for _, name, kind in _iter_fields(config_type):
        if is_dataclass(kind):
            flags += list_flags(kind, f"{prefix}{name}." if name else prefix)
        else:
            flags.append(prefix + name)
            flags += [f"{prefix}no-{name}"] * (kind is bool)
    return flags


def _iter_fields(config_type: type[Any]) -> Iterator[tuple[Field[Any], str, Any]]:
    """Yield each field that has a flag with the flag and its type.

    tyro.conf.arg(name=...) renames the flags of a nested configuration; an empty name leaves no prefix.
    """
    types = get_type_hints(config_type, include_extras=True)
    for field in fields(config_type):
        kind, *extras = (
            get_args(types[field.name])
            if get_origin(types[field.name]) is Annotated
            else (types[field.name],)
        )
        if _POSITIONAL in extras:
            continue
        names = [extra.name for extra in extras if hasattr(extra, "name")]
        yield field, (names[0] if names else field.name).replace("_", "-"), kind


def _list_changed(config: Any, standard: Any) -> dict[str, Any]:
    """Return the flags of a dataclass that differ from `standard`, or from their defaults if it is None."""
    flags: dict[str, Any] = {}
    for field, name, _ in _iter_fields(type(config)):
        value = getattr(config, field.name)
        default = _find_default(field) if standard is None else getattr(standard, field.name)
        if is_dataclass(value):
            prefix = f"{name}." if name else ""
            nested = _list_changed(value, None if default is MISSING else default)
            flags |= {f"{prefix}{flag}": each for flag, each in nested.items()}
        elif default is MISSING or value != default:
            flags[name] = value
    return flags


def _find_default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default

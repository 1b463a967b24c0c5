"""The configuration of a job, rebuilt from the flags that it recorded in plan.json."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from ocr_ray.errors import InputError

Config = TypeVar("Config")


def build_config(config_type: type[Config], flags: Mapping[str, Any]) -> Config:
    """Return a configuration with the values of recorded flags, and defaults elsewhere.

    Nested configurations are named as on the command line: by field, or by `tyro.conf.arg(name=…)`.

    Raises:
        InputError: a flag does not exist in this version, or its value is not valid.
    """
    remaining = dict(flags)
    try:
        config = _build(config_type, "", remaining)
    except (TypeError, ValueError) as error:
        raise InputError(f"recorded flags must be valid in this version of the job: {error}") from error
    if remaining:
        unknown = ", ".join(f"--{name}" for name in remaining)
        raise InputError(f"recorded flags must exist in this version of the job, {unknown} do not")
    return config


def _build(config_type: type[Config], prefix: str, flags: dict[str, Any]) -> Config:
    """Remove the flags of a configuration from `flags` and return it."""
    hints = get_type_hints(config_type, include_extras=True)
    values = {}
    for field in fields(config_type):  # type: ignore[arg-type]
        hint, flag = hints[field.name], prefix + field.name.replace("_", "-")
        field_type = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        if is_dataclass(field_type):
            values[field.name] = _build(field_type, _nested_prefix(hint, flag), flags)  # type: ignore[arg-type]
        elif flag in flags:
            values[field.name] = _to_tuple(flags.pop(flag))
    return config_type(**values)


def _nested_prefix(hint: Any, flag: str) -> str:
    """Return what the flags of a nested configuration start with."""
    names = [argument.name for argument in get_args(hint)[1:] if hasattr(argument, "name")]
    name = names[0] if names else flag
    return f"{name}." if name else ""


def _to_tuple(value: Any) -> Any:
    """Return a value of JSON with its lists as tuples."""
    return tuple(map(_to_tuple, value)) if isinstance(value, list) else value

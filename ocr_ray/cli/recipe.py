"""Flags of a job from a YAML file: `--config recipes/experiment.yaml`."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from ocr_ray.cli.flags import list_arguments
from ocr_ray.errors import InputError

CONFIG = "config"
"""The flag that names the file; jobs that can read one have it."""


def add_recipe(words: Sequence[str], flags: Sequence[str]) -> list[str]:
    """Return the arguments of a command line with those of its `--config` file before them.

    `flags` are those of the job, without dashes. A flag on the command line replaces that of the file.

    Raises:
        InputError: the file cannot be read, is no YAML mapping, or names a flag that the job does not have.
    """
    given = {name: value for word in words for name, value in [_split(word)] if name}
    if CONFIG not in flags or CONFIG not in given:
        return list(words)
    path = given[CONFIG] or next(iter(words[words.index(f"--{CONFIG}") + 1 :]), "")
    values = read_recipe(Path(path), flags)
    kept = {name: value for name, value in values.items() if not {name, _negate(name)}.intersection(given)}
    return [*list_arguments(kept), *words]


def read_recipe(path: Path, flags: Sequence[str]) -> dict[str, Any]:
    """Return the flags that a YAML file sets, by name without dashes.

    Raises:
        InputError: as for `add_recipe`.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"--{CONFIG} must be a YAML file, {path} cannot be read: {error}") from error
    if not isinstance(content, Mapping):
        raise InputError(f"--{CONFIG} must hold NAME: VALUE in each line, {path} holds {content!r:.40}")
    known = [name for name in flags if name != CONFIG]
    values = {str(name).replace("_", "-"): value for name, value in content.items()}
    for name, value in values.items():
        if name not in known:
            similar = get_close_matches(name, known, n=1)
            hint = f"; did you mean {similar[0].replace('-', '_')}?" if similar else ""
            raise InputError(f"{path}: {name.replace('-', '_')} must be a flag of this job{hint}")
        scalars = value if isinstance(value, list) else [value]
        if not all(item is None or isinstance(item, str | int | float) for item in scalars):
            raise InputError(f"{path}: {name} must be a value or a list of values, got {value!r:.40}")
    return values


def _split(word: str) -> tuple[str, str]:
    """Return the flag of an argument, without dashes, and the value after its `=`; empty if there is none."""
    name, _, value = word.partition("=")
    return (name[2:].replace("_", "-"), value) if name.startswith("--") else ("", "")


def _negate(flag: str) -> str:
    return flag.removeprefix("no-") if flag.startswith("no-") else f"no-{flag}"

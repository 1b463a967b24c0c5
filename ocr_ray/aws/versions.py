"""What a cluster file installs, against the environment that its jobs were tried in."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path

from ocr_ray.aws.cluster_file import ClusterFile, Fault
from ocr_ray.errors import InputError

NUM_NAMED = 5
"""Packages that a message names."""


def installed_versions() -> dict[str, str]:
    """Return the version of every package here by its normalized name, builds such as `+cpu` left out."""
    return {_normalize(found.name): found.version.split("+")[0] for found in distributions()}


def check_versions(
    file: ClusterFile, constraints: Path, *, installed: Mapping[str, str], python: str
) -> Iterator[Fault]:
    """Yield where nodes would get other versions than `installed`, or a Python other than `python` (3.11).

    A dataset that was begun with one set of versions is refused by another.

    Raises:
        InputError: there is no file of constraints.
    """
    setup = " ".join(
        command for name in ("", "head_", "worker_") for command in file.commands(f"{name}setup_commands")
    )
    yield from _check_python(setup, python)
    for name, version in re.findall(r"([A-Za-z][\w.-]*)(?:\[[\w,]*\])?==([\w.]+)", setup):
        here = installed.get(_normalize(name))
        if here != version:
            yield Fault(
                "setup_commands",
                f"must install {name}=={here}, as here, got {version}"
                if here
                else f"must install what is here too, {name} is not",
            )
    yield from _check_constraints(constraints, installed)
    mounted = [Path(str(local)).expanduser().resolve() for local in file.section("file_mounts").values()]
    if constraints.resolve() not in mounted:
        yield Fault("file_mounts", f"must bring {constraints} to the nodes, which install its versions")


def _check_python(setup: str, python: str) -> Iterator[Fault]:
    wanted = re.search(r"PYTHON_VERSION=([\d.]+)", setup)
    if wanted is None or not f"{wanted[1]}.".startswith(f"{python}."):
        got = wanted[1] if wanted else "none"
        yield Fault(
            "setup_commands", f"must set PYTHON_VERSION={python}, the Python of this environment, got {got}"
        )


def _check_constraints(constraints: Path, installed: Mapping[str, str]) -> Iterator[Fault]:
    if not constraints.is_file():
        raise InputError(f"--constraints must be the file of tested versions, there is no {constraints}")
    pins = defaultdict(set)  # a package has several where they depend on the Python or the system
    for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", constraints.read_text(encoding="utf-8"), re.M):
        pins[_normalize(name)].add(version)
    other = [
        f"{name} {' or '.join(sorted(versions))}, here {installed[name]}"
        for name, versions in sorted(pins.items())
        if name in installed and installed[name] not in versions
    ]
    if other:
        more = f" and {len(other) - NUM_NAMED} more" if len(other) > NUM_NAMED else ""
        yield Fault(
            str(constraints),
            f"must pin what is installed here, pins {'; '.join(other[:NUM_NAMED])}{more}; run `make setup`",
        )
    for name in ("ray", "torch"):
        if name not in pins:
            yield Fault(str(constraints), f"must pin {name} with ==, does not")


def _normalize(name: str) -> str:
    """Return a package's name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()

"""Checks that nodes install the versions of this environment."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path

from ocr_ray.aws.cluster_file import ClusterFile, Fault, find_file
from ocr_ray.errors import InputError

TORCH = "torch.txt"
"""The file next to the constraints that pins torch, whose builds differ in their hashes."""
NUM_LISTED = 5
"""Packages listed in a message."""


def installed_versions() -> dict[str, str]:
    """Return the version of every installed package by normalized name, without suffixes such as `+cpu`."""
    return {_normalize(package.name): package.version.split("+")[0] for package in distributions()}


def check_versions(
    file: ClusterFile, constraints: Path, *, installed: Mapping[str, str], python: str
) -> Iterator[Fault]:
    """Yield where nodes would get other versions than `installed` or another Python than `python` (3.11).

    A dataset that was started with one set of versions cannot be continued with another.

    Raises:
        InputError: a file of pinned versions cannot be read.
    """
    setup = " ".join(
        command for name in ("", "head_", "worker_") for command in file.commands(f"{name}setup_commands")
    )
    yield from _check_python(setup, python)
    for name, version in re.findall(r"([A-Za-z][\w.-]*)(?:\[[\w,]*\])?==([\w.]+)", setup):
        local = installed.get(_normalize(name))
        if local != version:
            yield Fault(
                "setup_commands",
                f"must install {name}=={local}, as installed here, got {version}"
                if local
                else f"must only install packages that are installed here, {name} is not",
            )
    mounted = [find_file(local) for local in file.section("file_mounts").values()]
    for path, package in ((constraints, "ray"), (constraints.with_name(TORCH), "torch")):
        yield from _check_pins(path, package, installed)
        if path.resolve() not in mounted:
            yield Fault("file_mounts", f"must copy {path} to the nodes, which install its versions")


def _check_python(setup: str, python: str) -> Iterator[Fault]:
    match = re.search(r"PYTHON_VERSION=([\d.]+)", setup)
    if match is None or not f"{match[1]}.".startswith(f"{python}."):
        got = match[1] if match else "none"
        yield Fault(
            "setup_commands", f"must set PYTHON_VERSION={python}, the Python of this environment, got {got}"
        )


def _check_pins(path: Path, package: str, installed: Mapping[str, str]) -> Iterator[Fault]:
    """Yield where a file pins other versions than the installed ones, or does not pin `package`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(
            f"--constraints must be the file of tested versions, next to {TORCH}; {path} cannot be read: "
            f"{error}"
        ) from error
    pins = defaultdict(set)  # several per package where they depend on the Python or the system
    for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", text, re.M):
        pins[_normalize(name)].add(version)
    differing = [
        f"{name} {' or '.join(sorted(versions))}, here {installed[name]}"
        for name, versions in sorted(pins.items())
        if name in installed and installed[name] not in versions
    ]
    if differing:
        more = f" and {len(differing) - NUM_LISTED} more" if len(differing) > NUM_LISTED else ""
        yield Fault(
            str(path),
            f"must pin the installed versions, pins {'; '.join(differing[:NUM_LISTED])}{more}; "
            "run `make setup`",
        )
    if package not in pins:
        yield Fault(str(path), f"must pin {package} with ==, does not")


def _normalize(name: str) -> str:
    """Return a package's name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()

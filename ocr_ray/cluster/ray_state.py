"""Which Ray this process uses, if any; this module imports none."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol


class Start(Protocol):
    """A Ray that is starting in the background."""

    error: Exception | None

    def wait(self) -> None: ...


settings = {"dashboard": True}
"""Of a Ray that this process starts."""
started: list[Start] = []
"""The start of this process that is under way, or has ended while its session still runs."""


def joins_cluster() -> bool:
    """Return whether jobs join a cluster, which can still grow, instead of starting Ray on this machine."""
    return bool(os.environ.get("RAY_ADDRESS"))


def is_running() -> bool:
    """Return whether this process uses a Ray."""
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def wait_for_start() -> None:
    """Wait for the Ray that is starting in the background, if there is one; raises its error."""
    for start in started:
        start.wait()
        if start.error:
            raise start.error


@contextmanager
def environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Change environment variables, which Ray's settings are, until the end of the body."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})

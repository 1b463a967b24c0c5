"""What this process is: a job, or a program that calls the package as a library, such as a notebook."""

from collections.abc import Iterator
from contextlib import contextmanager

process = {"is_job": False}


@contextmanager
def as_job() -> Iterator[None]:
    """Let the body end the process if its Ray has ended, when every call to Ray would wait for a minute.

    A notebook or a script would lose work of its own.
    """
    process["is_job"] = True
    try:
        yield
    finally:
        process["is_job"] = False

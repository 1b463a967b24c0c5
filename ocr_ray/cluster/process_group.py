"""Child processes out of reach of a signal to the process group of the job.

A terminal, `timeout` and others send SIGTERM or SIGINT to the whole group. Ray's processes would end with the
job, which then could save nothing.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Thread(threading.local):
    starts_sessions = False


_this_thread = _Thread()


@contextmanager
def starting_sessions() -> Iterator[None]:
    """Give each process that this thread starts with `os.fork` or a `preexec_fn` a session of its own.

    Ray passes a `preexec_fn`, in which it blocks SIGINT and has the kernel end the process with its parent.
    """
    _this_thread.starts_sessions = True
    try:
        yield
    finally:
        _this_thread.starts_sessions = False


def _start_session() -> None:
    if _this_thread.starts_sessions:
        os.setsid()


os.register_at_fork(after_in_child=_start_session)

"""A process group for Ray's processes: out of reach of signals to the job's group, and ended with the job.

A terminal, `timeout` and others send SIGTERM or SIGINT to the whole group of the job. Ray's processes would
end with it, and the job could then save nothing. After `kill -9` of a job, processes that Ray's raylet has
started would stay for a minute.
"""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen
from typing import NoReturn

ENDED = "the job has been ended; finished work is kept: run the same command to resume"
_LEADER = "trap '' HUP INT PIPE TERM; read -r _; echo \"$0\" >&2; kill -KILL 0"
"""Waits for the end of the process that has started it, says so, and ends the whole group.

It is Ray that ends a process without a word when its object store is gone.
"""


class _Thread(threading.local):
    group_id = 0


_this_thread = _Thread()
_leaders: list[Popen[bytes]] = []


@contextmanager
def starting_in_group() -> Iterator[None]:
    """Put the processes that this thread starts with `os.fork` or a `preexec_fn` into a new process group.

    It ends with this process, or with `end_groups`. Ray passes a `preexec_fn`, in which it blocks SIGINT and
    has the kernel end the process with its parent.
    """
    leader = Popen(["sh", "-c", _LEADER, ENDED], stdin=PIPE, process_group=0)
    _leaders.append(leader)
    _this_thread.group_id = leader.pid
    try:
        yield
    except BaseException:
        end_groups()
        raise
    finally:
        _this_thread.group_id = 0


def end_groups() -> None:
    """Send SIGKILL to the groups that this process has started, and wait for their leaders."""
    while _leaders:
        with _leaders.pop() as leader:
            os.killpg(leader.pid, signal.SIGKILL)


def exit_now(code: int) -> NoReturn:
    """End this process and its groups at once: without Ray, which would wait for its own dead processes."""
    logging.shutdown()
    end_groups()
    os._exit(code)


def _join_group() -> None:
    if _this_thread.group_id:
        os.setpgid(0, _this_thread.group_id)


os.register_at_fork(after_in_child=_join_group)

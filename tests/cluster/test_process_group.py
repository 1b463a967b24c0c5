import os
import signal
import sys
from subprocess import PIPE, Popen

import psutil
import pytest
from harness.processes import assert_all_ended, find_tree

from ocr_ray.cluster.process_group import ENDED

JOB = """
import signal, subprocess, sys
from ocr_ray.cluster.process_group import end_groups, starting_in_group

signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
with starting_in_group():
    subprocess.Popen(["sh", "-c", "sleep 600 & wait"], preexec_fn=int)
later = subprocess.run([sys.executable, "-c", "import os; print(os.getpgrp())"], preexec_fn=int, stdout=-1)
print(later.stdout.decode(), end="", flush=True)
input()
end_groups()
input()
"""


@pytest.mark.parametrize(
    ("is_killed", "is_read", "message"), [(True, True, f"{ENDED}\n"), (True, False, ""), (False, True, "")]
)
def test_a_group_outlives_ctrl_c_but_not_its_job(is_killed: bool, is_read: bool, message: str) -> None:
    """Also for a child of a child of the job, and if nothing reads its standard error any more."""
    with Popen(
        [sys.executable, "-c", JOB], stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True
    ) as job:
        assert job.stdout.readline() == f"{job.pid}\n"  # of a process that was started after the group
        (sleeping,) = (process for process in find_tree(job.pid) if process.name() == "sleep")
        os.killpg(job.pid, signal.SIGINT)
        assert job.stdout.readline() == "interrupted\n"
        assert sleeping.status() == psutil.STATUS_SLEEPING
        if not is_read:
            job.stderr.close()
        if is_killed:
            job.kill()
        else:
            job.stdin.write("\n")
            job.stdin.flush()
        assert_all_ended([sleeping])
        if is_read:
            assert job.communicate(None if is_killed else "\n")[1] == message

import subprocess
import sys

import pytest

JOB = """
import socket, time
from ocr_ray.cluster.ray_watch import INTERVAL_S, stop_watching, watch

servers = [socket.create_server(("127.0.0.1", 0), backlog=0) for _ in range(2)]
addresses = [server.getsockname() for server in servers]
watch(addresses)
stop_watching()
servers.pop().close()
time.sleep(2 * INTERVAL_S)
print("has ended its Ray itself", flush=True)
waiting = socket.create_connection(addresses[0])  # no other connection is accepted now
watch(addresses[:1])
time.sleep(3 * INTERVAL_S)
print("has a busy Ray", flush=True)
servers.pop().close()
time.sleep(600)
"""

NOTEBOOK = """
import os, psutil, signal, time
from ocr_ray.cluster.ray_watch import INTERVAL_S
from ocr_ray.cluster.session import ray_session
from ocr_ray.cluster import stop_signal

stop_signal.ANSWER_TIMEOUT_S = 1
signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest may ignore it
with ray_session(num_cpus=1):
    try:
        with stop_signal.stop_signal():
            (gcs,) = (p for p in psutil.Process().children(recursive=True) if p.name() == "gcs_server")
            gcs.kill()
            time.sleep(4 * INTERVAL_S)
            print("goes on", flush=True)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
    except KeyboardInterrupt:
        print("was interrupted", flush=True)
print("has its variables", flush=True)
"""


def test_a_job_ends_with_its_ray_unless_it_ends_ray_itself_or_ray_is_only_busy() -> None:
    job = subprocess.run([sys.executable, "-c", JOB], capture_output=True, text=True, check=False, timeout=60)
    assert job.returncode == 1
    assert job.stdout == "has ended its Ray itself\nhas a busy Ray\n"
    assert job.stderr == "Ray has ended; finished work is kept: run the same command to resume\n"


@pytest.mark.slow
def test_a_notebook_outlives_the_ray_that_the_package_has_started() -> None:
    notebook = subprocess.run([sys.executable, "-c", NOTEBOOK], capture_output=True, text=True, check=False)
    assert notebook.stdout == "goes on\nwas interrupted\nhas its variables\n", notebook.stderr
    assert notebook.returncode == 0

"""A Ray head with a token, started as in the README, and jobs submitted to it as a user does."""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from harness.processes import kill_tree
from ray.dashboard.modules.job.pydantic_models import JobDetails
from ray.job_submission import JobSubmissionClient

from ocr_ray.cli.flags import list_arguments

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).with_name("ray")
WAIT_S = 900
STARTED = "Ray runtime started"
ENDED = {"SUCCEEDED", "FAILED", "STOPPED"}
PLANTED = {
    name: f"planted{uuid.uuid4().hex}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN")
}
"""Keys in the environment of a head and of everything that runs on it."""


class Head:
    """A running `ray start --head` with two CPUs that requires a token."""

    num_tries = 3

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self._token = folder / "token"
        self.token = uuid.uuid4().hex
        self._token.write_text(self.token)
        ports = find_free_ports(5)
        self.address = f"http://127.0.0.1:{ports[1]}"
        self.gcs_address = f"127.0.0.1:{ports[0]}"
        self.metrics_address = f"http://127.0.0.1:{ports[4]}/metrics"
        # The environment after `source .venv/bin/activate` and the exports of the README.
        removed = [name for name in os.environ if name.startswith(("RAY_", "AWS_")) or name == "PYTHONPATH"]
        self.without_token = {name: value for name, value in os.environ.items() if name not in removed} | {
            "PATH": f"{RAY.parent}:{os.environ['PATH']}",
            "HOME": str(folder),  # without a token
        }
        self.environment = self.without_token | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self._token),
            "RAY_JOB_STOP_WAIT_TIME_S": "120",
            "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
            **environment,
        }
        flags = {
            "num-cpus": 2,
            "temp-dir": folder / "r",
            "port": ports[0],
            "dashboard-port": ports[1],
            "dashboard-agent-listen-port": ports[2],
            "ray-client-server-port": ports[3],
            "metrics-export-port": ports[4],
            "min-worker-port": 0,
            "max-worker-port": 0,
        }
        self._command = [RAY, "start", "--head", "--block", "--disable-usage-stats", *list_arguments(flags)]
        # Ray allows its processes 30 s to start, which a busy machine can exceed.
        while not self._start(folder / "log"):
            self.num_tries -= 1
            assert self.num_tries, (folder / "log").read_text()

    def _start(self, log_path: Path) -> bool:
        """Start Ray and wait for it; return whether it is running."""
        with log_path.open("w") as log:
            self.process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self.environment, start_new_session=True
            )
        try:
            wait_until(lambda: self.process.poll() is not None or STARTED in log_path.read_text())
        except AssertionError:
            self.end()
            raise
        return self.process.poll() is None

    def end(self) -> None:
        """Kill the head and its descendants."""
        if self.process.poll() is None:
            kill_tree(self.process.pid)
            self.process.wait()

    def client(self) -> JobSubmissionClient:
        headers = {"Authorization": f"Bearer {self.token}"}
        return JobSubmissionClient(self.address, headers=headers)

    def run(
        self, *words: str, environment: Mapping[str, str] | None = None, folder: Path = ROOT
    ) -> subprocess.CompletedProcess[str]:
        """Run `ray job` with these arguments, in a folder."""
        return subprocess.run(
            [RAY, "job", *words],
            cwd=folder,
            env=dict(self.environment if environment is None else environment)
            | {"RAY_API_SERVER_ADDRESS": self.address},
            capture_output=True,
            text=True,
            check=False,
        )

    def submit(self, job: str, flags: Mapping[str, Any]) -> str:
        """Submit a job of this project and return its id."""
        job_id = f"{job}-{uuid.uuid4().hex[:8]}"
        words = ["submit", "--no-wait", "--submission-id", job_id, "--working-dir", "."]
        done = self.run(*words, "--", "python", "-m", f"jobs.{job}", *list_arguments(flags))
        assert done.returncode == 0, done.stderr
        return job_id

    def fetch(self, path: str) -> Any:
        """Return the parsed JSON of a path of the dashboard."""
        request = Request(self.address + path, headers={"Authorization": f"Bearer {self.token}"})
        with urlopen(request) as response:
            return json.load(response)

    def list_written(self, *paths: str) -> dict[str, bytes]:
        """Return all files that Ray wrote, except the token, and paths of its dashboard, by name."""
        written = {path: json.dumps(self.fetch(path)).encode() for path in ("/api/jobs/", *paths)}
        paths_on_disk = (Path(folder) / name for folder, _, names in os.walk(self.folder) for name in names)
        for path in (path for path in paths_on_disk if path.is_file() and path != self._token):
            with suppress(FileNotFoundError):  # Ray deletes files too
                written[str(path)] = path.read_bytes()
        return written

    def info(self, job_id: str) -> JobDetails:
        return self.client().get_job_info(job_id)

    def logs(self, job_id: str) -> str:
        return self.client().get_job_logs(job_id)

    def wait_for_end(self, job_id: str) -> JobDetails:
        wait_until(lambda: self.info(job_id).status in ENDED)
        return self.info(job_id)

    def finish(self, job: str, flags: Mapping[str, Any]) -> str:
        """Submit a job that must succeed; return the last line of its log."""
        job_id = self.submit(job, flags)
        info = self.wait_for_end(job_id)
        assert (info.status, info.driver_exit_code) == ("SUCCEEDED", 0), self.logs(job_id)
        return self.logs(job_id).splitlines()[-1]

    def stop_when(self, condition: Callable[[], bool], job: str, flags: Mapping[str, Any]) -> str:
        """Submit a job, stop it with `ray job stop` on a condition, and return its logs."""
        job_id = self.submit(job, flags)
        wait_until(lambda: condition() or self.info(job_id).status in ENDED)
        assert self.info(job_id).status == "RUNNING", self.logs(job_id)
        done = self.run("stop", job_id)
        assert done.returncode == 0, done.stderr
        assert self.info(job_id).status == "STOPPED", self.logs(job_id)
        return self.logs(job_id)


@contextmanager
def head_started(environment: Mapping[str, str] | None = None) -> Iterator[Head]:
    """Start a head with additions to its environment, and end it."""
    folder = Path(tempfile.mkdtemp(prefix="head-", dir="/tmp"))  # paths of sockets are limited to 107 bytes
    try:
        head = Head(folder, environment or {})
        try:
            yield head
        finally:
            head.end()
    finally:
        shutil.rmtree(folder)


def find_secrets(written: Mapping[str, bytes], *secrets: str) -> list[str]:
    """Return the names of the contents that include one of the secrets."""
    return [name for name, content in written.items() if any(s.encode() in content for s in secrets)]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def find_free_ports(number: int) -> list[int]:
    """Return free ports below the ephemeral ones, which Ray's other servers use."""
    ports: set[int] = set()
    while len(ports) < number:
        port = random.randrange(20_000, 32_000)
        with suppress(OSError), socket.socket() as listening:
            listening.bind(("0.0.0.0", port))
            ports.add(port)
    return list(ports)

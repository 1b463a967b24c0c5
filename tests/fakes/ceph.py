"""A real Ceph gateway on this machine: a monitor, a storage daemon in memory, and radosgw.

Packages that are not installed are downloaded with apt-get and unpacked into a folder; nothing is installed.
"""

import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

PACKAGES = ("ceph-mon", "ceph-osd", "radosgw")
START_S = 60
CONFIG = """
[global]
fsid = {fsid}
mon host = 127.0.0.1:{mon_port}
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = {folder}/keyring
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
mon data = {folder}/mon
osd data = {folder}/osd
rgw data = {folder}/rgw
plugin dir = {libraries}/ceph
erasure code dir = {libraries}/ceph/erasure-code
osd class dir = {libraries}/rados-classes
osd objectstore = memstore
memstore device bytes = 1073741824
mon data avail crit = 0
mon allow pool size one = true
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw thread pool size = 16
"""
CAPABILITIES = {
    "mon.": ["mon", "allow *"],
    "client.admin": ["mon", "allow *", "osd", "allow *"],
    "osd.0": ["mon", "allow profile osd", "osd", "allow *"],
}


@contextmanager
def ceph_gateway(folder: Path, *, access_key: str, secret_key: str) -> Iterator[str]:
    """Run Ceph in a folder and return the endpoint of its gateway, which has one user."""
    root = _unpack(folder / "packages")
    libraries = next(iter(root.glob("usr/lib/*-linux-gnu")))
    config, fsid, port, mon_port = (
        folder / "ceph.conf",
        str(uuid.uuid4()),
        _find_free_port(),
        _find_free_port(),
    )
    for name in ("mon", "osd", "rgw"):
        (folder / name).mkdir()
    config.write_text(
        CONFIG.format(fsid=fsid, folder=folder, libraries=libraries, port=port, mon_port=mon_port)
    )
    environment = os.environ | {
        "PATH": f"{root}/usr/bin:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": f"{libraries}:{libraries}/ceph:{root}/lib/{libraries.name}",
        "PYTHONPATH": f"{root}/usr/lib/python3/dist-packages",
    }

    def call(program: str, *words: str) -> None:
        command = [*_find_program(root, program), "-c", str(config), *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=START_S)
        assert done.returncode == 0, done.stdout + done.stderr

    with ExitStack() as stack:
        _make_keyring(folder / "keyring", environment)
        monitors = ["monmaptool", "--create", "--fsid", fsid, "--add", "a", f"127.0.0.1:{mon_port}"]
        subprocess.run([*monitors, str(folder / "monmap")], env=environment, check=True, capture_output=True)
        map_and_keys = ["--monmap", str(folder / "monmap"), "--keyring", str(folder / "keyring")]
        call("ceph-mon", "-i", "a", "--mkfs", *map_and_keys)
        stack.enter_context(_daemon(["ceph-mon", "-c", str(config), "-i", "a", "-f"], environment))
        osd = str(uuid.uuid4())
        call("ceph", "osd", "new", osd, "0")
        call("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        stack.enter_context(_daemon(["ceph-osd", "-c", str(config), "-i", "0", "-f"], environment))
        stack.enter_context(_daemon(["radosgw", "-c", str(config), "-n", "client.admin", "-f"], environment))
        _wait(f"http://127.0.0.1:{port}")
        keys = ["--access-key", access_key, "--secret", secret_key, "--display-name", "u"]
        call(
            "radosgw-admin",
            "-n",
            "client.admin",
            "user",
            "create",
            "--uid",
            "u",
            "--display-name",
            "u",
            *keys,
        )
        yield f"http://127.0.0.1:{port}"


def _unpack(folder: Path) -> Path:
    """Return the root of a tree with Ceph's programs; missing packages are downloaded into `folder`."""
    if all(shutil.which(program) for program in ("ceph", *PACKAGES)):
        return Path("/")
    if not shutil.which("apt-get"):
        pytest.skip("Ceph is not installed, and there is no apt-get to download it")
    install = ["apt-get", "--simulate", "--no-install-recommends", "install", *PACKAGES]
    plan = subprocess.run(install, capture_output=True, text=True, check=False)
    if plan.returncode:
        pytest.skip(f"apt-get knows no Ceph; run apt-get update: {plan.stderr.strip()[-200:]}")
    (folder / "root").mkdir(parents=True)
    packages = re.findall(r"^Inst (\S+)", plan.stdout, re.M)
    subprocess.run(["apt-get", "-qq", "download", *packages], cwd=folder, check=True, capture_output=True)
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder / "root")], check=True)
    return folder / "root"


def _find_program(root: Path, name: str) -> list[str]:
    """Return the command of a program; `ceph` is written in Python, for the system's Python."""
    return [*(["/usr/bin/python3"] if name == "ceph" else []), str(root / "usr/bin" / name)]


def _make_keyring(path: Path, environment: Mapping[str, str]) -> None:
    for name, words in CAPABILITIES.items():
        pairs = zip(words[::2], words[1::2], strict=True)
        caps = [word for service, capability in pairs for word in ("--cap", service, capability)]
        create = [] if path.exists() else ["--create-keyring"]
        command = ["ceph-authtool", *create, str(path), "--gen-key", "-n", name, *caps]
        subprocess.run(command, env=environment, check=True, capture_output=True)


@contextmanager
def _daemon(command: list[str], environment: Mapping[str, str]) -> Iterator[None]:
    silent = subprocess.DEVNULL
    process = subprocess.Popen(command, env=environment, stdout=silent, stderr=silent)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _find_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(url: str) -> None:
    deadline_s = time.monotonic() + START_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.URLError:
            assert time.monotonic() < deadline_s, f"the gateway does not answer within {START_S} s"
            time.sleep(0.5)
        else:
            return

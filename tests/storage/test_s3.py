"""A faulty S3, through the filesystem that all jobs use."""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fakes.s3 import BUCKET, FaultyS3, faulty_s3

from ocr_ray.errors import InputError
from ocr_ray.storage.location import (
    check_writable,
    delete_file,
    exists,
    list_files,
    locate,
    read_bytes,
    write_bytes,
)

FAULTS = {"slow down": 0.1, "internal error": 0.1, "cut before": 0.04, "cut after": 0.04, "cut inside": 0.04}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def proxy() -> Iterator[FaultyS3]:
    with faulty_s3({}) as proxy:
        yield proxy


def test_no_file_is_lost_to_any_number_of_faults(proxy) -> None:
    """There are far more faults than the hundred that pyarrow's standard strategy allows per process."""
    location = locate(f"s3://{BUCKET}/faults")
    contents = [os.urandom(11 << 20 if number == 7 else 5 * number) for number in range(100)]
    proxy.rates = FAULTS

    def write_and_read(number: int) -> bytes:
        file = location / f"{number:03d}"
        write_bytes(file, contents[number])
        assert exists(file)
        content = read_bytes(file)
        if number % 10 == 0:
            delete_file(file)
        return content

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(write_and_read, range(100))) == contents
    assert list_files(location) == {
        f"{number:03d}": len(contents[number]) for number in range(100) if number % 10
    }
    assert proxy.counts.total() - proxy.counts["passed"] > 150
    assert all(proxy.counts[fault] for fault in FAULTS)


def test_a_pickled_location_keeps_its_retries(proxy, monkeypatch) -> None:
    location, faults = locate(f"s3://{BUCKET}/sent"), ["slow down"] * 6
    sent = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(location))))
    assert sent == location
    monkeypatch.setattr(proxy, "draw", lambda method, path: faults.pop() if faults else "passed")
    write_bytes(sent, b"there")
    assert not faults
    assert read_bytes(sent) == b"there"


def test_an_upload_is_repeated_if_the_response_to_its_end_is_lost(proxy, monkeypatch) -> None:
    """S3 does not know an upload after its end, so a repeated request to end it fails."""
    location, large, ends = locate(f"s3://{BUCKET}/end"), os.urandom(11 << 20), []

    def draw(method: str, path: str) -> str:
        is_end = method == "POST" and "uploadId=" in path
        ends.extend([path] * is_end)
        return "NoSuchUpload" if is_end and len(ends) == 1 else "passed"

    monkeypatch.setattr(proxy, "draw", draw)
    write_bytes(location, large)
    assert len(ends) == 2
    assert read_bytes(location) == large


@pytest.fixture
def old_server(proxy) -> Iterator[FaultyS3]:
    proxy.rates, proxy.is_old = {}, True
    proxy.counts.clear()
    yield proxy
    proxy.is_old = False


WORKER = """
import pickle, sys
location = pickle.load(sys.stdin.buffer)
from ocr_ray.storage.location import check_writable, exists, list_files, read_bytes, try_briefly, write_bytes
check_writable(location, "--out-uri")
write_bytes(location / "small", b"x")
assert exists(try_briefly(location / "small"))
write_bytes(location / "below/large", bytes(11 << 20))
with location.filesystem.open_output_stream(f"{location.path}/streamed") as stream:
    stream.write(b"y")
assert read_bytes(location / "streamed") == b"y"
print(list_files(location))
location.filesystem.delete_dir(location.path)
assert not list_files(location)
"""


def test_an_older_server_is_written_to_also_by_workers_without_settings(old_server) -> None:
    location = locate(f"s3://{BUCKET}/old/lines")
    check_writable(location, "--out-uri")
    environment = {name: value for name, value in os.environ.items() if "AWS_ENDPOINT" not in name}
    worker = subprocess.run(
        [sys.executable, "-c", WORKER], input=pickle.dumps(location), env=environment, capture_output=True
    )
    assert worker.returncode == 0, worker.stderr.decode()
    assert worker.stdout.decode().strip() == str({"below/large": 11 << 20, "small": 1, "streamed": 1})
    assert set(old_server.counts) == {"passed"}
    assert "AWS_REQUEST_CHECKSUM_CALCULATION" not in os.environ


def test_checksums_are_sent_where_they_are_asked_for_and_refused_with_the_setting(
    old_server, monkeypatch
) -> None:
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "WHEN_SUPPORTED")
    location = locate(f"s3://{BUCKET}/checksums")
    with pytest.raises(
        InputError, match=r"MissingContentLength: .* set AWS_REQUEST_CHECKSUM_CALCULATION=when"
    ):
        check_writable(location, "--out-uri")
    old_server.is_old = False
    check_writable(location, "--out-uri")
    write_bytes(location / "x", b"there")
    assert read_bytes(location / "x") == b"there"


def test_an_endpoint_of_a_configuration_file_is_used(proxy, tmp_path, monkeypatch) -> None:
    proxy.rates = {}
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    (tmp_path / "config").write_text(
        f"[profile lab]\nservices = lab\n[services lab]\ns3 =\n  endpoint_url = http://127.0.0.1:{proxy.server_port}"
    )
    write_bytes(locate(f"S3://{BUCKET}/configured"), b"there")
    assert read_bytes(locate(f"s3://{BUCKET}/configured")) == b"there"

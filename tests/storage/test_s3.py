"""A faulty S3, through the filesystem that all jobs use."""

import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fakes.s3 import BUCKET, FaultyS3, faulty_s3

from ocr_ray.storage.location import delete_file, exists, list_files, locate, read_bytes, write_bytes

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

"""An S3 that misbehaves, through the very filesystem that all jobs are given."""

import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fakes.s3 import BUCKET, BadS3, bad_s3

from ocr_ray.storage.location import delete_file, exists, list_files, locate, read_bytes, write_bytes

FAULTS = {"slow down": 0.1, "internal error": 0.1, "cut before": 0.04, "cut after": 0.04, "cut inside": 0.04}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def proxy() -> Iterator[BadS3]:
    with bad_s3({}) as proxy:
        yield proxy


def test_nothing_is_lost_to_faults_however_many(proxy) -> None:
    """Of a process there are far more than the hundred that pyarrow's standard strategy forgives."""
    place = locate(f"s3://{BUCKET}/faults")
    contents = [os.urandom(11 << 20 if number == 7 else 5 * number) for number in range(100)]
    proxy.shares = FAULTS

    def keep(number: int) -> bytes:
        file = place / f"{number:03d}"
        write_bytes(file, contents[number])
        assert exists(file)
        content = read_bytes(file)
        if number % 10 == 0:
            delete_file(file)
        return content

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(keep, range(100))) == contents
    found = list_files(place)
    assert found == {f"{number:03d}": len(contents[number]) for number in range(100) if number % 10}
    assert proxy.done.total() - proxy.done["passed"] > 150
    assert all(proxy.done[kind] for kind in FAULTS)


def test_a_place_that_was_sent_to_a_worker_is_asked_as_often(proxy, monkeypatch) -> None:
    place, kinds = locate(f"s3://{BUCKET}/sent"), ["slow down"] * 6
    sent = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(place))))
    assert sent == place
    monkeypatch.setattr(proxy, "draw", lambda method, path: kinds.pop() if kinds else "passed")
    write_bytes(sent, b"there")
    assert not kinds
    assert read_bytes(sent) == b"there"


def test_an_upload_whose_end_was_not_heard_is_sent_again(proxy, monkeypatch) -> None:
    """S3 forgets an upload that it has ended: asked to end it again it knows of none."""
    place, large, ends = locate(f"s3://{BUCKET}/end"), os.urandom(11 << 20), []

    def draw(method: str, path: str) -> str:
        is_end = method == "POST" and "uploadId=" in path
        ends.extend([path] * is_end)
        return "NoSuchUpload" if is_end and len(ends) == 1 else "passed"

    monkeypatch.setattr(proxy, "draw", draw)
    write_bytes(place, large)
    assert len(ends) == 2
    assert read_bytes(place) == large

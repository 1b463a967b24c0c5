"""Refusals of S3 and disks: reported with location and remedy, before any work, and not taken for damage."""

import errno
import importlib
import os
import pickle
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from builders.manifests import write_manifest
from builders.stub_lines import make_rows, plan_numbers
from fakes.s3 import BUCKET, FaultyS3, faulty_s3
from safetensors import SafetensorError

from ocr_ray.audit.inspect_part import ExpectedPart, Rules, inspect_part
from ocr_ray.cli.run_job import run_job
from ocr_ray.dataset.parts import read_part_footer, write_part
from ocr_ray.dataset.plan import check_reserved
from ocr_ray.errors import InputError, StorageError
from ocr_ray.storage.error_messages import describe_storage_error
from ocr_ray.storage.location import (
    check_writable,
    delete_file,
    exists,
    list_files,
    locate,
    read_bytes,
    write_bytes,
)


@dataclass
class Flags:
    """None."""


LINES = f"s3://{BUCKET}/refusals/lines"


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyS3]:
    with faulty_s3({}) as proxy:
        write_bytes(locate(LINES) / "there", bytes(1000))
        yield proxy


@pytest.fixture(scope="module")
def lines(short, tmp_path_factory) -> str:
    """A small dataset with the parts of a manifest that readers need."""
    folder = locate(
        shutil.copytree(short.folder.path, tmp_path_factory.mktemp("complete") / "lines").as_posix()
    )
    write_manifest(folder)
    return folder.uri


@pytest.fixture
def proxy(server) -> Iterator[FaultyS3]:
    yield server
    server.refused = {}


@pytest.mark.slow
@pytest.mark.parametrize("code", ["AccessDenied", "ExpiredToken"])
@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda location: write_bytes(location / "there", b"x"), rf"{LINES}/there could not be written"),
        (
            lambda location: write_bytes(location / "there", bytes(11 << 20)),
            rf"{LINES}/there could not be written",
        ),
        (lambda location: read_bytes(location / "there"), rf"{LINES}/there could not be read"),
        (lambda location: exists(location / "there"), rf"{LINES}/there could not be read"),
        (lambda location: list_files(location), rf"{LINES}/ could not be listed"),
        (lambda location: delete_file(location / "there"), rf"{LINES}/there could not be (read|deleted)"),
    ],
    ids=["write", "write much", "read", "exists", "list", "delete"],
)
def test_a_refusal_of_s3_is_reported_with_uri_and_remedy(code: str, use, message: str, proxy) -> None:
    location = locate(LINES)
    proxy.refuse(code)
    with pytest.raises(
        StorageError, match=message + r", S3 answers \w+ with .*: renew the credentials if they"
    ):
        use(location)


@pytest.mark.slow
def test_a_file_that_can_be_opened_but_not_read_is_reported(proxy) -> None:
    """The error of pyarrow does not name this file."""
    proxy.refuse("AccessDenied", "GET")
    with pytest.raises(StorageError, match=f"{LINES}/there could not be read, S3 answers GetObject with ACC"):
        read_bytes(locate(LINES) / "there")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "methods", "message"),
    [
        (
            "AccessDenied",
            "GET HEAD",
            f"a location that can be read: s3://{BUCKET} could not be read, S3 answers",
        ),
        (
            "AccessDenied",
            "PUT POST",
            f"a location that can be written: {LINES}/.* could not be written, S3 answ",
        ),
        (
            "AccessDenied",
            "DELETE",
            f"a location that can be written: {LINES}/.* could not be deleted, S3 answ",
        ),
        (
            "ExpiredToken",
            "GET HEAD PUT POST DELETE",
            f"a location that can be read: s3://{BUCKET} .* renew the",
        ),
        (
            "ExpiredToken",
            "PUT",
            f"a location that can be written: {LINES}/.*, .* with ExpiredToken: renew the",
        ),
    ],
)
def test_a_refusal_before_any_work_is_an_input_error(code: str, methods: str, message: str, proxy) -> None:
    proxy.refuse(code, methods)
    with pytest.raises(InputError, match=f"--out-uri must be {message}"):
        check_writable(locate(LINES), "--out-uri")


@pytest.mark.slow
@pytest.mark.usefixtures("proxy")
def test_checks_leave_nothing_in_a_location() -> None:
    write_bytes(locate(LINES) / "below/there", b"x")
    check_writable(locate(LINES) / "below", "--out-uri")
    assert list_files(locate(LINES) / "below") == {"there": 1}
    check_reserved(locate(f"s3://{BUCKET}/refusals/new"), {"job": "x"})
    assert not exists(locate(f"s3://{BUCKET}/refusals/new/plan.json"))
    with pytest.raises(InputError, match="must be in an existing bucket, s3://no-such-bucket does not exist"):
        check_writable(locate("s3://no-such-bucket/x"), "--out-uri")


@pytest.mark.slow
@pytest.mark.parametrize(
    "job", ["render_lines", "crop_pages", "label_pages", "train_trocr", "evaluate_trocr"]
)
def test_every_job_reports_an_unwritable_location_before_any_work(
    job: str, proxy, lines, model_folder, tmp_path, monkeypatch, capsys
) -> None:
    proxy.refuse("AccessDenied", "PUT POST")
    location, model = f"s3://{BUCKET}/refusals/{job}", str(model_folder)
    flags = {
        "render_lines": ["--out-uri", location, "--num-lines", "10"],
        "crop_pages": ["--out-uri", location, "--pages-uri", str(tmp_path)],
        "label_pages": ["--out-uri", location, "--pages-uri", str(tmp_path), "--model-uri", model],
        "train_trocr": [
            *["--runs-uri", location, "--run-name", "run", "--models-uri", str(tmp_path / "models")],
            *["--lines-uri", lines, "--model", model],
        ],
        "evaluate_trocr": ["--out-uri", location, "--lines-uri", lines, "--model-uri", model],
    }
    monkeypatch.setattr(sys, "argv", [job, *flags[job]])
    with pytest.raises(SystemExit, match="2"):
        importlib.import_module(f"jobs.{job}").main()
    assert f"{location}" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "models").exists()


@pytest.mark.soak
def test_an_unreachable_s3_is_an_input_error_after_some_seconds(monkeypatch, caplog) -> None:
    with socket.socket() as taken:  # bound but not listening
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(InputError, match=f"--out-uri must be .* s3://{BUCKET} .* NETWORK_CONNECTION"):
            check_writable(locate(LINES), "--out-uri")
    assert caplog.messages == [f"{LINES} has not answered for 5 s"]


@pytest.mark.slow
def test_a_part_that_must_not_be_read_is_not_taken_for_damaged(proxy) -> None:
    """Otherwise it would be made again, or reported with a command that makes it again."""
    plan, location = plan_numbers(60, items_per_part=60), locate(f"s3://{BUCKET}/refusals/part")
    spec = plan.parts[0]
    stats, _ = write_part(location, spec, plan.config_sha256, make_rows(None, spec))
    expected_part = ExpectedPart(
        spec=spec, rows=stats.rows, size_bytes=stats.size_bytes, rows_sha256=stats.rows_sha256
    )
    rules = Rules(
        config_sha256=plan.config_sha256,
        is_rendered=True,
        fonts=frozenset(),
        test_fonts=frozenset(),
        holdout_word_share=0.0,
        is_square=False,
    )
    for methods in ("GET", "GET HEAD"):
        proxy.refuse("AccessDenied", methods)
        with pytest.raises(StorageError, match=r"part-00000\.parquet could not be read"):
            read_part_footer(location, spec, plan.config_sha256)
        with pytest.raises(StorageError, match=r"part-00000\.parquet could not be read"):
            inspect_part(location, expected_part, rules)


def test_a_message_stays_the_same_after_pickling_and_additions_of_ray() -> None:
    """Ray Data adds advice to the arguments of what its tasks raise."""
    error = StorageError("s3://b/x could not be written")
    error.args = ("s3://b/x could not be written\nuse s3fs",)
    assert str(pickle.loads(pickle.dumps(error))) == "s3://b/x could not be written"


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EROFS, "mount the disk writable"),
        (errno.EACCES, "give this user permission"),
    ],
)
def test_a_refusal_of_a_disk_is_reported_with_path_and_remedy(number: int, remedy: str) -> None:
    message = describe_storage_error(OSError(number, "no", "/data/lines/plan.json"))
    assert message is not None
    assert message.startswith(f"/data/lines/plan.json cannot be used: {os.strerror(number)}; ")
    assert remedy in message
    assert describe_storage_error(OSError(number, "no"), "/data/lines") == message.replace("/plan.json", "")
    copied = describe_storage_error(OSError(number, "no", "/data/source", None, "/data/lines/plan.json"))
    of_rust = describe_storage_error(
        SafetensorError(f"I/O error: no (os error {number})"), "/data/lines/plan.json"
    )
    assert copied == of_rust == message


def test_a_full_disk_of_temporary_files_is_reported_with_its_variable() -> None:
    path = "/tmp/ocr_ray-checkpoint-x/training_state.pt"
    message = describe_storage_error(OSError(errno.ENOSPC, "no"), path)
    assert message == (
        f"{path} cannot be used: No space left on device; free some space there, "
        "or set TMPDIR to another folder"
    )


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "no such file", "x"),
        OSError("Couldn't deserialize thrift: TProtocolException: Invalid data"),
        OSError("image file is truncated"),
        ValueError("AWS Error ACCESS_DENIED during PutObject operation: "),
    ],
)
def test_missing_and_damaged_files_are_no_refusals(error: Exception) -> None:
    assert describe_storage_error(error) is None


def test_an_unreachable_s3_is_not_taken_for_a_refusal() -> None:
    error = OSError("AWS Error NETWORK_CONNECTION during GetObject operation: curlCode: 7, Could not connect")
    assert describe_storage_error(error, "s3://b/x") == (
        "s3://b/x could not be read, S3 answers GetObject with NETWORK_CONNECTION (curlCode: 7, Could not "
        "connect): all retries failed; check the endpoint and the network"
    )


@pytest.mark.parametrize(
    "error",
    [
        StorageError("s3://b/x/a could not be written"),
        OSError(
            "When uploading object with key 'x/a' in bucket 'b': AWS Error ACCESS_DENIED during PutObject "
            "operation: "
        ),
    ],
)
def test_a_job_that_is_refused_midway_exits_1_and_reports_the_remedy(error, monkeypatch, capsys) -> None:
    def work(config: Flags) -> dict[str, str]:
        raise error

    monkeypatch.setattr(sys, "argv", ["job"])
    with pytest.raises(SystemExit, match="1"):
        run_job(Flags, lambda: work, prog="x", description="x", arguments=[])
    log = capsys.readouterr().err
    assert "s3://b/x/a could not be written" in log
    assert "finished work is kept: fix this and run the same command to resume" in log
    assert "Traceback" not in log

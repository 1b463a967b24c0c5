"""What S3 and disks refuse: told with the place and what to do, before any work, and no damage of files."""

import errno
import importlib
import pickle
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from builders.stub_lines import make_rows, plan_numbers
from fakes.s3 import BUCKET, BadS3, bad_s3

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
    write_json,
)


@dataclass
class Flags:
    """None."""


LINES = f"s3://{BUCKET}/refusals/lines"


@pytest.fixture(scope="module")
def server() -> Iterator[BadS3]:
    with bad_s3({}) as proxy:
        write_bytes(locate(LINES) / "there", bytes(1000))
        yield proxy


@pytest.fixture(scope="module")
def lines(short, tmp_path_factory) -> str:
    """A small dataset with as much of a manifest as readers ask for."""
    folder = locate(shutil.copytree(short.place.path, tmp_path_factory.mktemp("whole") / "lines").as_posix())
    parts = [{"path": path, "bytes": size} for path, size in list_files(folder).items()]
    write_json(folder / "manifest.json", {"parts": parts, "counts": {"digest_by_split": {}}})
    return folder.uri


@pytest.fixture
def proxy(server) -> Iterator[BadS3]:
    yield server
    server.refused = {}


@pytest.mark.slow
@pytest.mark.parametrize("code", ["AccessDenied", "ExpiredToken"])
@pytest.mark.parametrize(
    ("use", "done"),
    [
        (lambda place: write_bytes(place / "there", b"x"), rf"{LINES}/there could not be written"),
        (lambda place: write_bytes(place / "there", bytes(11 << 20)), rf"{LINES}/there could not be written"),
        (lambda place: read_bytes(place / "there"), rf"{LINES}/there could not be read"),
        (lambda place: exists(place / "there"), rf"{LINES}/there could not be read"),
        (lambda place: list_files(place), rf"{LINES}/ could not be listed"),
        (lambda place: delete_file(place / "there"), rf"{LINES}/there could not be (read|deleted)"),
    ],
    ids=["write", "write much", "read", "ask", "list", "delete"],
)
def test_what_s3_refuses_is_told_with_its_uri_and_what_to_do(code: str, use, done: str, proxy) -> None:
    place = locate(LINES)
    proxy.refuse(code)
    with pytest.raises(StorageError, match=done + r", S3 answers \w+ with .*: renew the credentials if they"):
        use(place)


@pytest.mark.slow
def test_a_file_that_can_be_opened_and_not_read_is_named(proxy) -> None:
    """Here pyarrow's own error does not say which."""
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
            f"a place that can be read: s3://{BUCKET} could not be read, S3 answers",
        ),
        (
            "AccessDenied",
            "PUT POST",
            f"a place that can be written: {LINES}/.* could not be written, S3 answ",
        ),
        ("AccessDenied", "DELETE", f"a place that can be written: {LINES}/.* could not be deleted, S3 answ"),
        ("ExpiredToken", "GET HEAD PUT POST DELETE", f"a place that can be read: s3://{BUCKET} .* renew the"),
        ("ExpiredToken", "PUT", f"a place that can be written: {LINES}/.*, .* with ExpiredToken: renew the"),
    ],
)
def test_a_place_that_refuses_is_an_input_error(code: str, methods: str, message: str, proxy) -> None:
    proxy.refuse(code, methods)
    with pytest.raises(InputError, match=f"--out-uri must be {message}"):
        check_writable(locate(LINES), "--out-uri")


@pytest.mark.slow
@pytest.mark.usefixtures("proxy")
def test_a_place_that_refuses_nothing_stays_as_it_is() -> None:
    write_bytes(locate(LINES) / "below/there", b"x")
    check_writable(locate(LINES) / "below", "--out-uri")
    assert list_files(locate(LINES) / "below") == {"there": 1}
    check_reserved(locate(f"s3://{BUCKET}/refusals/new"), {"job": "x"})
    assert not exists(locate(f"s3://{BUCKET}/refusals/new/plan.json"))
    with pytest.raises(InputError, match="must lie in a bucket that exists, there is no s3://no-such-bucket"):
        check_writable(locate("s3://no-such-bucket/x"), "--out-uri")


@pytest.mark.slow
@pytest.mark.parametrize(
    "job", ["render_lines", "crop_pages", "label_pages", "train_trocr", "evaluate_trocr"]
)
def test_every_job_finds_a_place_that_cannot_be_written_before_any_work(
    job: str, proxy, lines, model_folder, tmp_path, monkeypatch, capsys
) -> None:
    proxy.refuse("AccessDenied", "PUT POST")
    place, model = f"s3://{BUCKET}/refusals/{job}", str(model_folder)
    flags = {
        "render_lines": ["--out-uri", place, "--num-lines", "10"],
        "crop_pages": ["--out-uri", place, "--pages-uri", str(tmp_path)],
        "label_pages": ["--out-uri", place, "--pages-uri", str(tmp_path), "--model-uri", model],
        "train_trocr": [
            *["--runs-uri", place, "--run-name", "run", "--models-uri", str(tmp_path / "models")],
            *["--lines-uri", lines, "--model", model],
        ],
        "evaluate_trocr": ["--out-uri", place, "--lines-uri", lines, "--model-uri", model],
    }
    monkeypatch.setattr(sys, "argv", [job, *flags[job]])
    with pytest.raises(SystemExit, match="2"):
        importlib.import_module(f"jobs.{job}").main()
    assert f"{place}" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "models").exists()


@pytest.mark.soak
def test_an_s3_that_does_not_answer_is_an_input_error_after_some_seconds(monkeypatch, caplog) -> None:
    with socket.socket() as taken:  # bound, so that nobody else's, but not listened at
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(InputError, match=f"--out-uri must be .* s3://{BUCKET} .* NETWORK_CONNECTION"):
            check_writable(locate(LINES), "--out-uri")
    assert caplog.messages == [f"{LINES} has not answered for 5 s"]


@pytest.mark.slow
def test_a_part_that_may_not_be_read_is_no_damaged_one(proxy) -> None:
    """It would be made again, or reported with a command that makes it again."""
    plan, place = plan_numbers(60, items_per_part=60), locate(f"s3://{BUCKET}/refusals/part")
    spec = plan.parts[0]
    stats, _ = write_part(place, spec, plan.config_sha256, make_rows(None, spec))
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
            read_part_footer(place, spec, plan.config_sha256)
        with pytest.raises(StorageError, match=r"part-00000\.parquet could not be read"):
            inspect_part(place, expected_part, rules)


def test_what_is_told_stays_whatever_is_added_on_its_way() -> None:
    """Ray Data adds advice to the arguments of what its tasks raise."""
    error = StorageError("s3://b/x could not be written")
    error.args = ("s3://b/x could not be written\nuse s3fs",)
    assert str(pickle.loads(pickle.dumps(error))) == "s3://b/x could not be written"


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EROFS, "mount the disk so"),
        (errno.EACCES, "allow it to this"),
    ],
)
def test_what_a_disk_refuses_is_told_with_its_path_and_what_to_do(number: int, remedy: str) -> None:
    told = describe_storage_error(OSError(number, "no", "/data/lines/plan.json"))
    assert told is not None
    assert told.startswith("/data/lines/plan.json cannot be used: no; ")
    assert remedy in told
    assert describe_storage_error(OSError(number, "no"), "/data/lines") == told.replace("/plan.json", "")


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "no such file", "x"),
        OSError("Couldn't deserialize thrift: TProtocolException: Invalid data"),
        OSError("image file is truncated"),
        ValueError("AWS Error ACCESS_DENIED during PutObject operation: "),
    ],
)
def test_what_is_missing_or_damaged_is_not_refused(error: Exception) -> None:
    assert describe_storage_error(error) is None


def test_an_s3_that_is_away_is_not_taken_for_one_that_refuses() -> None:
    error = OSError("AWS Error NETWORK_CONNECTION during GetObject operation: curlCode: 7, Could not connect")
    assert describe_storage_error(error, "s3://b/x") == (
        "s3://b/x could not be read, S3 answers GetObject with NETWORK_CONNECTION (curlCode: 7, Could not "
        "connect): it was asked again and again; see that the endpoint and the network are well"
    )


DENIED = OSError(
    "When uploading object with key 'x/a' in bucket 'b': AWS Error ACCESS_DENIED during PutObject: "
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
def test_a_job_that_is_refused_midway_ends_with_1_and_says_what_to_do(error, monkeypatch, capsys) -> None:
    def work(config: Flags) -> dict[str, str]:
        raise error

    monkeypatch.setattr(sys, "argv", ["job"])
    with pytest.raises(SystemExit, match="1"):
        run_job(Flags, work, description=None, arguments=[])
    said = capsys.readouterr().err
    assert "s3://b/x/a could not be written" in said
    assert "what is done stays: when that is mended, run the same command to go on" in said
    assert "Traceback" not in said

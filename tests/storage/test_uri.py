"""URIs as users write them: what they mean, which are refused, and that no secret is shown."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocr_ray.errors import InputError
from ocr_ray.storage.location import locate
from ocr_ray.storage.uri import SUBMITTED, mask_secrets, mask_values, parse_uri

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
"""A secret key with slashes, as in the documentation of AWS."""
WITH_SECRETS = [
    f"s3://AKIAIOSFODNN7EXAMPLE:{SECRET}@bucket/key",
    f"s3a://KEY:{SECRET}@bucket/key",
    f"s3:/KEY:{SECRET}@bucket/key",
    f"https://KEY:{SECRET}@host/bucket",
    f"https://{SECRET.replace('/', '')}@huggingface.co/a/b",
    f"S3://KEY:{SECRET}%40bucket/key",
    f"s3://bucket/x?secret_key={SECRET}",
    f"s3://bucket/x?region=r&access%5Fkey={SECRET}",
    f"s3://bucket/x?X-Amz-Signature={SECRET}",
    f"s3://bucket/x#token={SECRET}",
    f"gs://bucket/x?sig={SECRET}",
    f"file:///data/x?password={SECRET}",
    f"data/x?api_key={SECRET}",
    f"BASE=s3://KEY:{SECRET}@bucket/font.ttf",
]


@pytest.mark.parametrize("uri", WITH_SECRETS)
def test_a_uri_with_a_secret_is_refused_and_not_shown(uri: str) -> None:
    with pytest.raises(InputError, match="--out-uri must not contain keys") as refusal:
        locate(uri, "--out-uri")
    assert SECRET[:5] not in str(refusal.value)


@pytest.mark.parametrize("uri", [uri for uri in WITH_SECRETS if "%" not in uri])
def test_a_secret_is_masked_wherever_its_uri_is_written(uri: str) -> None:
    text = f"{uri} could not be read: [Errno 2] '{uri}', see {{'uri': '{uri}'}}"
    masked = mask_secrets(text)
    assert "could not be read: [Errno 2]" in masked
    for value in (masked, str(mask_values({"a": [uri, {uri: (uri,)}]}))):
        assert SECRET.replace("/", "") not in value
        assert all(piece not in value for piece in SECRET.split("/"))
        assert "***" in value


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/user@home/x=1, data/key=3/a.parquet and 2?=3",
        "http://127.0.0.1:8265 and https://host:9000/a/b?page=2#top",
        "could not be read, S3 answers GetObject with ACCESS_DENIED: key 'a/b' in bucket 'c'",
    ],
)
def test_nothing_else_is_masked(text: str) -> None:
    assert mask_secrets(text) == text
    assert mask_values({"a": [1, None, 2.5, True, text]}) == {"a": [1, None, 2.5, True, text]}


@pytest.mark.parametrize(
    ("uri", "parsed"),
    [
        ("s3://bucket", ("s3", "bucket")),
        ("S3://Bucket/Key/", ("s3", "Bucket/Key")),
        ("s3://b/글 %20/user@home/x:y/a..b/...", ("s3", "b/글 %20/user@home/x:y/a..b/...")),
        ("s3://b/what?/c#3", ("s3", "b/what?/c#3")),
        ("file:///data/my%20lines/%EA%B8%80/", ("file", "/data/my lines/글")),
        ("FILE://localhost/data/100%25%23%3f", ("file", "/data/100%#?")),
        ("file:/data/x", ("file", "/data/x")),
        ("/data/my%20lines", ("file", "/data/my%20lines")),
        ("./a:b/c", ("file", f"{Path.cwd()}/a:b/c")),
        ("./s3:b/c", ("file", f"{Path.cwd()}/s3:b/c")),
        ("~/lines", ("file", f"{Path.home()}/lines")),
    ],
)
def test_a_uri_is_understood(uri: str, parsed: tuple[str, str]) -> None:
    assert parse_uri(uri, "--x") == parsed


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=50))
def test_a_file_uri_is_the_path_that_python_made_it_of(name: str) -> None:
    path = Path(f"/no-such-folder/x{name}")
    assert parse_uri(path.as_uri(), "--x") == ("file", str(path))


@pytest.mark.parametrize(
    "uri",
    [
        *["", "gs://bucket/x", "http://host/x", "://x", "s3a://bucket/x", "s3:/bucket/x", "gs:/x"],
        *["s3://", "s3:///x", "s3://bucket//x", "s3://b/../c", "s3://b/./c", "s3://..", "s3://b/c/.."],
        *[
            "s3://b/x?region=us-east-1",
            "s3://b/x?versionId=3&endpoint_override=h",
            "s3://b/a\nb",
            "s3://b/a\x7f",
        ],
        *["s3://host:9000/x", "s3://user@b/x", "s3://버킷/x", "s3://-b/x", "s3://b/" + "글" * 342],
        *["file://lines", "file://host/x", "file:///x?y=1", "file:///x#y", "file:///%ff", "file:///a%00b"],
        *["a\0b", "s3://b/a\0b", "a\udcff", "s3://b/\ud800", "~nobody-of-this-name/x"],
        *["s3:b/x", "S3:b", "file:x", "s3://b/x ", " /data/x", "data/x\r\n", "data/\t줄", "s3://b/x\u3000"],
        *["s3://arn:aws:s3:us-east-1:1:accesspoint/a/x", "\ufeffs3://b/x", "“s3://b/x”", "aws:s3://b/x"],
        *["x" * 256, "a/" + "글" * 86 + "/b", "a/" * 2100],
    ],
    ids=lambda uri: ascii(uri)[:30],
)
def test_another_uri_is_refused_with_its_flag(uri: str) -> None:
    with pytest.raises(InputError, match=r"^--out-uri"):
        locate(uri, "--out-uri")


def test_a_path_that_can_never_be_there_is_refused(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "there").symlink_to("back")
    (tmp_path / "back").symlink_to("there")
    for name in ("file/x", "file/x/y", "loop", "loop/x", "there/x"):
        code = errno.ENOTDIR if name.startswith("file") else errno.ELOOP
        for uri in (str(tmp_path / name), (tmp_path / name).as_uri()):
            with pytest.raises(InputError, match=rf"--out-uri must be a path .*{os.strerror(code)}"):
                locate(uri, "--out-uri")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(InputError, match="--out-uri is relative to a folder that was deleted"):
        locate("x", "--out-uri")


@pytest.mark.parametrize("uri", ["lines", "./lines"])
def test_a_relative_path_is_refused_only_in_a_submitted_job(uri: str, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate(uri).path == str(tmp_path / "lines")
    monkeypatch.setenv(SUBMITTED, "{}")
    with pytest.raises(InputError, match=r"must begin with / in a submitted job.*got '.*lines'"):
        locate(uri)
    assert locate(str(tmp_path)).path == str(tmp_path)
    assert locate("~/lines").path == str(Path.home() / "lines")


def test_a_link_that_the_user_cannot_follow_is_refused_with_its_flag() -> None:
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)  # nobody, because root can follow every link
    try:
        with pytest.raises(InputError, match="--out-uri must be a path whose links this user can follow"):
            parse_uri("/proc/1/root/x", "--out-uri")
    finally:
        os.seteuid(user)

import os
import time

import pytest

from ocr_ray.errors import InputError
from ocr_ray.storage.location import (
    check_writable,
    copy_files,
    exists,
    list_files,
    local_copy,
    locate,
    locate_model,
    read_bytes,
    read_json,
    require_file,
    require_folder,
    warn_if_slow,
    write_bytes,
    write_json,
)
from ocr_ray.storage.uri import SUBMITTED


@pytest.fixture(params=["local", "s3"])
def location(request, tmp_path, bucket):
    return locate(
        str(tmp_path / "a location") if request.param == "local" else f"{bucket}/storage/a location"
    )


def test_what_is_written_is_read_back(location) -> None:
    write_bytes(location / "b/한글.bin", b"\x00\xff")
    write_json(location / "a.json", {"글": [1, None]})
    assert read_bytes(location / "b/한글.bin") == b"\x00\xff"
    assert read_json(location / "a.json") == {"글": [1, None]}
    assert list(list_files(location)) == ["a.json", "b/한글.bin"]
    assert list_files(location)["b/한글.bin"] == 2
    with local_copy(location) as folder:
        assert (folder / "b/한글.bin").read_bytes() == b"\x00\xff"
    copy_files(location, location / "copy", ["a.json"])
    assert read_json(location / "copy/a.json") == {"글": [1, None]}


def test_a_missing_folder_is_reported(location) -> None:
    assert not exists(location / "nothing")
    assert list_files(location / "nothing") == {}
    with pytest.raises(InputError, match=r"--pages-uri must name an existing folder.*nothing"):
        require_folder((location / "nothing").uri, "--pages-uri")


def test_a_missing_file_or_a_folder_is_reported(location) -> None:
    write_json(location / "in/report.json", {})
    assert require_file((location / "in/report.json").uri, "--focus") == location / "in/report.json"
    for name in ("nothing.json", "in"):
        with pytest.raises(InputError, match=rf"--focus must name an existing file.*{name}"):
            require_file((location / name).uri, "--focus")


def test_a_local_uri_becomes_absolute(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate("runs/x/").uri == str(tmp_path / "runs/x")
    assert locate(f"file://{tmp_path}/y").uri == str(tmp_path / "y")


def test_a_location_that_does_not_respond_is_logged(tmp_path, caplog) -> None:
    location, deadline = locate(str(tmp_path)), time.monotonic() + 60
    with warn_if_slow(location, after_s=0.01):
        while not caplog.messages and time.monotonic() < deadline:
            time.sleep(0.01)
        assert caplog.messages == [f"{location} has not answered for 0 s"]
    with warn_if_slow(location, after_s=0.3):
        pass
    time.sleep(0.5)
    assert len(caplog.messages) == 1


def test_invalid_json_is_reported(tmp_path) -> None:
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(InputError, match=r"plan.json must hold JSON"):
        read_json(locate(str(tmp_path / "plan.json")))


def test_a_file_can_have_the_longest_name_of_its_file_system(tmp_path) -> None:
    name = "n" * os.pathconf(tmp_path, "PC_NAME_MAX")
    write_bytes(locate(str(tmp_path)) / name, b"1")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {name: b"1"}


def test_a_failed_write_leaves_the_old_file(tmp_path) -> None:
    location = locate(str(tmp_path / "x.bin"))
    write_bytes(location, b"old")
    with pytest.raises(TypeError):
        write_bytes(location, "not bytes")  # type: ignore[arg-type]
    assert read_bytes(location) == b"old"


def test_a_hub_id_is_accepted_in_a_submitted_job(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models/best_ocr").mkdir(parents=True)
    monkeypatch.setenv(SUBMITTED, "{}")
    assert locate_model("team-lucid/trocr-small-korean") == "team-lucid/trocr-small-korean"
    with pytest.raises(InputError, match="must begin with / in a submitted job"):
        locate_model("models/best_ocr")


@pytest.mark.parametrize(
    "source", ["x\0y", "~nobody-of-this-name/m", "n" * 300, "loop", "a b", "hub/id/more", ""]
)
def test_a_model_that_is_neither_folder_nor_hub_id_is_refused(source: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="--model-uri must be"):
        locate_model("./loop" if source == "loop" else source, "--model-uri")


def test_what_is_no_folder_cannot_be_written_to(tmp_path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for path in (str(tmp_path / "file"), "/dev/null"):
        with pytest.raises(InputError, match=r"--out-uri must be a folder, .* is a file"):
            check_writable(locate(path), "--out-uri")

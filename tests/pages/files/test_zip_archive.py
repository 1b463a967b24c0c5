"""Zips read in place, compared with Python's `zipfile`."""

import io
import struct
import tracemalloc
import unicodedata
import zipfile
from typing import Any

import pyarrow as pa
import pytest
from builders.zips import UTF8, ZipMember, make_zip
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.errors import RowError
from ocr_ray.pages.files import zip_archive as archives
from ocr_ray.pages.files.zip_archive import Archive, decode_name

MIB = 2**20


def open_zip(content: bytes) -> Archive:
    return Archive(pa.BufferReader(content), "x.zip", lambda path: True)


def make_valid_zip(contents: dict[str, bytes], **options: Any) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", **options) as made:
        for name, content in contents.items():
            made.writestr(name, content)
    return target.getvalue()


class Pipe(io.RawIOBase):
    """A target that cannot seek, for which `zipfile` writes sizes after contents."""

    def __init__(self) -> None:
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self.content += bytes(content)
        return len(content)


def read_all(content: bytes) -> dict[str, bytes]:
    archive = open_zip(content)
    return {path: archive.read(path) for path in archive.members}


@settings(deadline=None)
@given(
    contents=st.dictionaries(
        st.from_regex(r"[a-zA-Z0-9가-힣 _.-]{1,9}(/[a-z가-힣]{1,5}\.png)?", fullmatch=True).filter(
            lambda name: ".." not in name.split("/")
        ),
        st.binary(max_size=300),
        max_size=6,
    ),
    packing=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    prefix=st.binary(max_size=9).filter(lambda prefix: not prefix.startswith(b"PK\3\4")),  # of another zip
)
def test_every_zip_of_zipfile_gives_the_same_names_and_bytes(
    contents: dict[str, bytes], packing: int, prefix: bytes
) -> None:
    assert read_all(prefix + make_valid_zip(contents, compression=packing)) == contents


def test_a_zip_with_a_comment_folders_and_sizes_after_contents_is_read() -> None:
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as made:
        made.mkdir("folder")
        made.writestr("folder/a.png", b"image" * 99)
        made.comment = b"PK\3\4 a comment"
    assert read_all(pipe.content) == {"folder/a.png": b"image" * 99}


def test_sizes_and_offsets_of_64_bits_are_read() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made, made.open("a.png", "w", force_zip64=True) as member:
        member.write(b"image")
    assert read_all(target.getvalue()) == {"a.png": b"image"}
    wide = struct.pack("<HHQQQ", 1, 24, 5, 5, 0)
    unknown = struct.pack("<HH", 0x7777, 3) + b"abc"
    content = make_zip(ZipMember(name=b"a.png", content=b"image", extra=unknown + wide))
    directory = content.index(b"PK\1\2")
    content = bytearray(content)
    for at in (20, 24, 42):
        content[directory + at : directory + at + 4] = b"\xff" * 4
    assert read_all(bytes(content)) == {"a.png": b"image"}
    without = content.replace(wide, struct.pack("<HHQQQ", 2, 24, 5, 5, 0))
    with pytest.raises(
        RowError, match=r"bad_archive: x.zip!/a.png: it overlaps with another member or lies outside"
    ):
        open_zip(bytes(without)).read("a.png")


def test_a_directory_of_64_bits_is_read() -> None:
    plain = make_zip(ZipMember(name=b"a.png", content=b"image"), prefix=b"prefix")
    *_, num, length, offset, _ = struct.unpack("<4s4H2IH", plain[-22:])
    end = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, num, num, length, offset)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(plain) - 22, 1)
    content = plain[:-22] + end + locator + b"PK\5\6" + bytes(4) + b"\xff" * 12 + bytes(2)
    assert zipfile.ZipFile(io.BytesIO(content)).namelist() == ["a.png"]
    assert read_all(content) == {"a.png": b"image"}


def test_a_member_takes_little_memory_and_unwanted_members_less() -> None:
    num = 10_000
    content = make_zip(*(ZipMember(name=b"pages/P3_1_01_%08d.png" % n, content=b"1") for n in range(num)))
    for is_wanted, limit_bytes in ((True, 350), (False, 100)):
        tracemalloc.start()
        archive = Archive(pa.BufferReader(content), "x.zip", lambda path, is_wanted=is_wanted: is_wanted)
        size, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(archive.members) == is_wanted * num
        assert size < limit_bytes * num
        assert peak < 1.5 * limit_bytes * num + 2 * MIB


class CountedFile:
    """A file that records its requests."""

    def __init__(self, content: bytes) -> None:
        self._file = pa.BufferReader(content)
        self.requests: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read_at(self, num_bytes: int, offset: int) -> bytes:
        self.requests.append(num_bytes)
        return self._file.read_at(num_bytes, offset)


def test_a_member_is_read_with_one_request_of_its_size() -> None:
    content = make_valid_zip({f"{n}.txt": bytes(n) for n in range(99)})
    file = CountedFile(content)
    archive = Archive(file, "x.zip", lambda path: path == "50.txt")
    file.requests.clear()
    assert archive.read("50.txt") == bytes(50)
    assert file.requests == [30 + len("50.txt") + 50]


@pytest.mark.parametrize(
    ("raw_name", "flags", "path"),
    [
        ("문제/곱셈.png".encode("cp949"), 0, "문제/곱셈.png"),
        ("철.png".encode("cp949"), 0, "철.png"),
        ("똠방각하.png".encode("cp949"), 0, "똠방각하.png"),
        ("문제.png".encode(), UTF8, "문제.png"),
        ("문제.png".encode(), 0, "문제.png"),
        ("café.png".encode(), UTF8, "café.png"),
        ("문제.png".encode("cp949"), UTF8, "문제.png"),
        (unicodedata.normalize("NFD", "문제.png").encode(), 0, unicodedata.normalize("NFD", "문제.png")),
        ("é.png".encode("cp437"), 0, "é.png"),
    ],
)
def test_the_name_of_each_member_has_its_own_encoding(raw_name: bytes, flags: int, path: str) -> None:
    content = make_zip(ZipMember(name=b"plain.png"), ZipMember(name=raw_name, flags=flags, content=b"1"))
    assert read_all(content) == {"plain.png": b"", path: b"1"}


@given(st.text(st.characters(codec="cp949"), min_size=1))
def test_a_name_with_the_utf8_flag_is_kept(name: str) -> None:
    assert decode_name(name.encode(), is_utf8=True) == name


@given(st.binary(), st.booleans())
def test_any_bytes_can_be_decoded_as_a_name(raw_name: bytes, is_utf8: bool) -> None:
    assert decode_name(raw_name, is_utf8=is_utf8).encode() or not raw_name


@pytest.mark.parametrize(("system", "path"), [(0, "a/b.png"), (3, "a\\b.png")])
def test_backslashes_in_names_from_windows_are_folders(system: int, path: str) -> None:
    assert read_all(make_zip(ZipMember(name=b"a\\b.png", system=system))) == {path: b""}


BOMB = ZipMember(name=b"bad", content=bytes(4 * MIB), deflate=True)


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        (ZipMember(name=b"../bad"), "its path leaves the archive"),
        (ZipMember(name=b"a/../../bad"), "its path leaves the archive"),
        (ZipMember(name=b"/etc/bad"), "its path leaves the archive"),
        (ZipMember(name=b"C:\\bad", system=0), "its path leaves the archive"),
        (ZipMember(name=b"bad\0.png"), "its path leaves the archive"),
        (ZipMember(name=b"bad", content=b"/etc/passwd", mode=0o120777), "it is a symbolic link"),
        (ZipMember(name=b"bad", content=b"1", flags=1), "it is encrypted"),
        (ZipMember(name=b"bad", method=12), "it is packed with method 12"),
        (BOMB, "it unpacks to more than 200 times its size"),
        (ZipMember(name=b"bad", size=2**32 - 2), "it unpacks to more than 200 times its size"),
        (ZipMember(name=b"bad", packed=bytes(9000), size=10), "it is larger packed than unpacked"),
        (ZipMember(name=b"bad", packed_size=100), "it overlaps with another member or lies outside"),
        (ZipMember(name=b"bad", offset=0), "it overlaps with another member or lies outside"),
        (ZipMember(name=b"bad", offset=2**31), "it overlaps with another member or lies outside"),
        (ZipMember(name=b"bad", content=b"12345", offset=96), "no member at the offset"),
        (ZipMember(name=b"bad", content=b"12345", crc=7), "its content does not match"),
        (ZipMember(name=b"bad", content=b"12345", size=4), "its content does not match"),
        (ZipMember(name=b"bad", content=b"12345", size=6), "its content does not match"),
        (
            ZipMember(name=b"bad", content=b"12345" * 99, size=400, deflate=True),
            "its content does not match",
        ),
        (
            ZipMember(name=b"bad", content=b"12345" * 99, size=600, deflate=True),
            "its content does not match",
        ),
        (ZipMember(name=b"bad", packed=b"\xff" * 9, size=9, method=8), "invalid block type"),
    ],
)
def test_a_bad_member_is_refused_and_the_others_are_read(member: ZipMember, problem: str) -> None:
    content = make_zip(ZipMember(name=b"first", content=bytes(60)), member, ZipMember(name=b"last"))
    archive = open_zip(content)
    first, bad, last = archive.members
    if member.offset != 0:  # otherwise it overlaps with the first member
        assert archive.read(first) == bytes(60)
    assert archive.read(last) == b""
    with pytest.raises(RowError, match=f"bad_archive: x.zip!/.*bad.*: {problem}") as caught:
        archive.read(bad)
    assert type(caught.value) is RowError


def test_a_zip_bomb_with_a_false_size_does_not_fill_the_memory() -> None:
    content = make_zip(ZipMember(name=b"bad", content=bytes(256 * MIB), deflate=True, size=MIB))
    archive = open_zip(content)
    tracemalloc.start()
    with pytest.raises(RowError, match="its content does not match the directory"):
        archive.read("bad")
    assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    tracemalloc.stop()


def test_members_that_share_their_bytes_are_refused() -> None:
    content = make_zip(*(ZipMember(name=b"%d" % n, content=b"same" * 9, offset=0) for n in range(9)))
    archive = open_zip(content)
    assert len(archive.members) == 9
    for path in archive.members:
        with pytest.raises(RowError, match="it overlaps with another"):
            archive.read(path)


def test_small_members_may_have_any_ratio() -> None:
    assert read_all(make_zip(ZipMember(name=b"a", content=bytes(MIB), deflate=True))) == {"a": bytes(MIB)}


def test_of_two_members_with_one_path_the_first_counts() -> None:
    content = make_zip(ZipMember(name=b"a", content=b"1"), ZipMember(name=b"a", content=b"2"))
    assert read_all(content) == {"a": b"1"}
    assert open_zip(content).repeated == ["a"]


VALID = make_valid_zip({"a.png": b"image" * 20, "a.json": b"{}"}, compression=zipfile.ZIP_DEFLATED)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "no end of a zip"),
        (b"PK\5\6", "no end of a zip"),
        (b"not a zip" * 99, "no end of a zip"),
        (VALID[:-30], "no end of a zip"),
        (VALID[40:], "its directory lies outside"),
        (VALID.replace(b"PK\1\2", b"PK\1\3", 1), "its directory is damaged"),
        (make_zip(ZipMember(name=b"a"), count=2), "it declares 2 entries and has 1"),
        (VALID[:-18] + b"\1" + VALID[-17:], "it is part of a split zip"),
        (make_zip(ZipMember(name=b"a" * 4097 + b".png")), "a name of 4101 characters"),
    ],
)
def test_an_archive_that_cannot_be_listed_is_refused_as_a_whole(content: bytes, problem: str) -> None:
    with pytest.raises(RowError, match=f"bad_archive: x.zip: {problem}"):
        open_zip(content)


def test_an_archive_of_too_many_entries_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_ENTRIES", 3)
    assert len(open_zip(make_zip(*(ZipMember(name=b"%d" % n) for n in range(3)))).members) == 3
    with pytest.raises(RowError, match="it has more than 3 entries"):
        open_zip(make_zip(*(ZipMember(name=b"%d" % n) for n in range(4))))


@settings(deadline=None, max_examples=400)
@given(
    st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, len(VALID)),
)
def test_a_damaged_zip_gives_the_original_bytes_or_an_error(changes: list[tuple[int, int]], cut: int) -> None:
    content = bytearray(VALID)
    for at, value in changes:
        content[at] = value
    contents, reasons = set(), set()
    for damaged in (bytes(content), bytes(content[:cut]), bytes(content[cut:])):
        try:
            archive = open_zip(damaged)
        except RowError as error:
            reasons.add(error.reason)
            continue
        for path in archive.members:
            try:
                contents.add(archive.read(path))
            except RowError as error:
                reasons.add(error.reason)
    assert contents <= {b"image" * 20, b"{}"}
    assert reasons <= {"bad_archive"}

"""Deliveries in which a zip is in pieces, or archives that are no zip; nothing of them goes unmentioned."""

import gzip
import lzma
import os
import re
import subprocess
import tarfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from builders.zips import ZipMember, make_zip
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.errors import InputError
from ocr_ray.pages.files.archive_names import find_pieces, find_unread
from ocr_ray.pages.files.joined_file import JoinedFile
from ocr_ray.pages.files.store import PageStore, pair_pages
from ocr_ray.pages.files.zip_archive import Archive
from ocr_ray.pages.survey import find_pages
from ocr_ray.storage.location import locate

CONTENTS = {f"P3_{number}.{ending}": b"%d" % number * 50 for number in range(9) for ending in ("png", "json")}
ZIP = make_zip(*(ZipMember(name=name.encode(), content=content) for name, content in CONTENTS.items()))
PIECE_BYTES = len(ZIP) // 3 + 1


def by_offset(zip_path: Path) -> None:
    """Leave a zip as AI Hub's download shell does."""
    content = zip_path.read_bytes()
    for start in range(0, len(content), PIECE_BYTES):
        zip_path.with_name(f"{zip_path.name}.part{start}").write_bytes(content[start:][:PIECE_BYTES])


def split(*flags: str) -> Callable[[Path], None]:
    """Return how `split` of the coreutils cuts a zip; the last flag is the end of the prefix."""

    def cut(zip_path: Path) -> None:
        command = ["split", "-b", str(PIECE_BYTES), *flags[:-1], zip_path, f"{zip_path}{flags[-1]}"]
        subprocess.run(command, check=True)

    return cut


CUTS = {
    "by offset": by_offset,
    "letters": split("."),
    "part letters": split(".part"),
    "no dot": split(""),
    "three letters": split("-a3", "."),
    "7-Zip": split("--numeric-suffixes=1", "-a3", "."),
    "from 0": split("-d", ".part-"),
    "one digit": split("--numeric-suffixes=1", "-a1", ".part"),
}


def deliver(folder: Path, cut: Callable[[Path], None] = by_offset, name: str = "TS_2.zip") -> list[Path]:
    """Write a zip in pieces and return them; the zip itself is not kept."""
    (folder / name).write_bytes(ZIP)
    cut(folder / name)
    (folder / name).unlink()
    return sorted(folder.glob(f"{name}*"), key=lambda path: (len(path.name), path.name))


def read_all(folder: Path) -> dict[str, bytes]:
    store = PageStore(locate(str(folder)))
    return {path.partition("!/")[2] or path: store.read(path, 10**6) for path in store.list().files}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", ["TS_2.zip", "VS_문제.ZIP"])
def test_a_zip_in_pieces_is_read_as_the_whole_zip(tmp_path: Path, cut: str, name: str) -> None:
    assert len(deliver(tmp_path, CUTS[cut], name)) == 3
    assert read_all(tmp_path) == CONTENTS
    pages = find_pages(str(tmp_path))
    assert pages.listing.counts == {"image": 9, "label": 9, "zip_piece": 3}
    assert pages.files[0].image_path == f"{name}!/P3_0.png"
    assert {page.collection for page in pages.files} == {"training" if name[0] == "T" else "validation"}


def test_a_single_piece_can_be_the_whole_zip(tmp_path: Path) -> None:
    (tmp_path / "x.zip.part0").write_bytes(ZIP)
    assert read_all(tmp_path) == CONTENTS


def test_pieces_that_were_left_beside_the_joined_zip_are_counted_and_not_read(tmp_path: Path) -> None:
    deliver(tmp_path)
    (tmp_path / "TS_2.zip").write_bytes(ZIP)
    listing = PageStore(locate(str(tmp_path))).list()
    assert listing.counts == {"image": 9, "label": 9, "zip": 1, "zip_piece": 3}
    assert pair_pages(listing.files)[1] == []


@pytest.mark.parametrize("missing", [0, 1, 2])
@pytest.mark.parametrize("cut", CUTS)
def test_pieces_that_are_not_all_there_are_refused(tmp_path: Path, cut: str, missing: int) -> None:
    deliver(tmp_path, CUTS[cut])[missing].unlink()
    with pytest.raises(
        InputError, match=r"--pages-uri .* archives that are not read \(1\): TS_2\.zip.*download it ag"
    ):
        find_pages(str(tmp_path))


def test_a_piece_that_was_cut_off_is_refused_with_both_sizes(tmp_path: Path) -> None:
    pieces = deliver(tmp_path)
    pieces[1].write_bytes(pieces[1].read_bytes()[:-7])
    with pytest.raises(
        InputError,
        match=rf"part{2 * PIECE_BYTES} starts at byte {2 * PIECE_BYTES}, .* have {2 * PIECE_BYTES - 7} bytes",
    ):
        find_pages(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("download.tar", "tar -xf download.tar"),
        ("x.tar.gz", "tar -xf x.tar.gz"),
        ("x.TGZ", "tar -xf x.TGZ"),
        ("x.tar.part0", r"cat x.tar\* | tar -x"),
        ("x.tar.gz.aa", r"cat x.tar.gz\* | tar -x"),
        ("TS_1.z01", "zip -s 0 TS_1.zip --out joined.zip"),
        ("TS_1.zx01", "zip -s 0 TS_1.zip"),
        ("x.7z", "7z x x.7z"),
        ("x.7z.001", "7z x x.7z.001"),
        ("x.part1.rar", "7z x x.part1.rar"),
        ("x.r00", "7z x x.r00"),
        ("문제.egg", "7z x 문제.egg"),
        ("x.alz", "7z x"),
        ("x.zipx", "7z x"),
        ("labels.json.gz", "7z x"),
        ("x.part1", r"cat x.part\* > x"),
        ("x.zip.part", "its download is not finished"),
        ("x.zip.crdownload", "its download is not finished"),
        ("x.zip.aria2", "its download is not finished"),
        ("x.zip.002", "the first piece is missing"),
        ("x.tar.lz", "tar -xf x.tar.lz"),
        ("x.tlz", "tar -xf x.tlz"),
        ("x.zip.6eF5b5dA", "rename it"),  # aws s3 cp leaves such names, gsutil the next one
        ("x.zip_.gstmp", "its download is not finished"),
        ("x.zip7q_3.part", "its download is not finished"),
        ("x.zip - 복사본", "rename it"),
        ("x.zip.part1of2", "rename it"),
        ("x.zip?token=1", "rename it"),
    ],
)
def test_an_archive_that_is_not_read_is_refused_with_what_to_do(
    tmp_path: Path, name: str, advice: str
) -> None:
    (tmp_path / "x.zip").write_bytes(ZIP)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / name).write_bytes(b"")
    with pytest.raises(
        InputError, match=rf"archives that are not read \(1\): sub/{re.escape(name)} \(.*{advice}"
    ):
        find_pages(str(tmp_path))


def test_a_tar_is_refused_where_its_path_is_the_flag(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "download.tar", "w") as archive:
        archive.add(__file__, "a.png")
    with pytest.raises(InputError, match=r"--pages-uri: pages must be in a folder .*; unpack it: tar -xf"):
        find_pages(str(tmp_path / "download.tar"))


@pytest.mark.parametrize(
    ("name", "content", "advice"),
    [
        ("download", ZIP, "it is a zip: rename it"),
        ("x.001", ZIP[:PIECE_BYTES], "it is a zip: rename it"),
        ("xaa", ZIP[:PIECE_BYTES], "it is a zip: rename it"),
        ("x.do", gzip.compress(b"", mtime=0), "7z x x.do"),
        ("x.bin", lzma.compress(b""), "7z x x.bin"),
        ("책.docx", ZIP, ""),
        ("readme.txt", b"PK", ""),
        ("x.dat", b"", ""),
    ],
)
def test_an_archive_is_known_by_its_content_too(
    tmp_path: Path, name: str, content: bytes, advice: str
) -> None:
    (tmp_path / "x.zip").write_bytes(ZIP)
    (tmp_path / name).write_bytes(content)
    for number in range(30):
        (tmp_path / f"{number}{name}").write_bytes(content[:1])
    if advice:
        with pytest.raises(InputError, match=rf"archives that are not read \(1\): {name} \(.*{advice}"):
            find_pages(str(tmp_path))
    else:
        assert len(find_pages(str(tmp_path)).files) == 9


def test_whole_zips_that_are_named_like_pieces_are_refused(tmp_path: Path) -> None:
    other = make_zip(*(ZipMember(name=f"Q.{ending}".encode()) for ending in ("png", "json")))
    for number, content in enumerate((ZIP, other)):
        (tmp_path / f"download.zip.{number + 1}").write_bytes(content)
    with pytest.raises(InputError, match=r"download.zip.2 \(download.zip: another zip comes before it"):
        find_pages(str(tmp_path))
    (tmp_path / "download.zip").write_bytes(ZIP)  # as wget names files that it downloads again
    size_bytes = len(ZIP) + len(other)
    with pytest.raises(
        InputError, match=rf"1 \(the pieces have {size_bytes} bytes, download.zip has {len(ZIP)}"
    ):
        find_pages(str(tmp_path))


def test_two_zips_in_one_file_are_a_reject(tmp_path: Path) -> None:
    (tmp_path / "two.zip").write_bytes(ZIP + ZIP)
    (reject,) = PageStore(locate(str(tmp_path))).list().rejects
    assert reject.detail == "two.zip: another zip comes before it in the file; each needs its own name"


def test_a_signature_of_pieces_is_no_piece(tmp_path: Path) -> None:
    deliver(tmp_path, CUTS["letters"])
    (tmp_path / "TS_2.zip.sig").write_bytes(b"")
    assert read_all(tmp_path) == CONTENTS


def test_a_piece_where_a_folder_must_be_is_refused(tmp_path: Path) -> None:
    for piece in deliver(tmp_path, CUTS["7-Zip"]):
        with pytest.raises(InputError, match=r"is another kind of file; give the folder that has all pieces"):
            find_pages(str(piece))


@pytest.mark.parametrize(
    "name",
    ["x.zip", "x.png", "x.json", "x.zap", "x.zoom", "readme.txt", "x.zip.sha256", "x.zip.md5", "x.html"],
)
def test_other_names_are_no_archives_that_are_not_read(name: str) -> None:
    assert find_unread(name) is None
    assert find_pieces({name: 1}) == []


def test_every_file_is_counted_by_what_became_of_it(tmp_path: Path) -> None:
    hidden = (".DS_Store", "sub/Thumbs.db", "__MACOSX/._a.png", "._x.zip.part0", "._x.tar")
    other = ("readme.txt", "설명서.hwp", "noextension", "x.zip.md5", "a.bmp", "odd.e x t")
    pages = ("a.png", "a.json", "sub/b.jpg", "a_A.json", "a_3_O.jpeg", "a_3_O.json")
    for path in (*hidden, *other, *pages):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    names = (
        "c.png",
        "c.png",
        "in/.hidden",
        "__MACOSX/c.png",
        "list.csv",
        "in/inner.zip",
        "in/inner.7z",
        "d.zip.001",
    )
    (tmp_path / "x.zip").write_bytes(make_zip(*(ZipMember(name=name.encode()) for name in names)))
    (tmp_path / "bad.zip").write_bytes(b"")
    listing = find_pages(str(tmp_path)).listing
    assert listing.counts == {
        "answer": 1,
        "handwriting": 2,
        "ignored_bmp": 1,
        "ignored_csv": 1,
        "ignored_hidden": 5 + 2,
        "ignored_hwp": 1,
        "ignored_md5": 1,
        "ignored_other": 2,
        "ignored_txt": 1,
        "image": 2 + 2,
        "label": 1,
        "unread_archive": 2,
        "zip": 3,
    }
    on_disk = sum(path.is_file() for path in tmp_path.rglob("*"))
    assert sum(listing.counts.values()) == on_disk + len(names)
    assert sorted(reject.detail.split(":")[0] for reject in listing.rejects) == [
        "bad.zip",
        "x.zip!/c.png, already found as x.zip!/c.png",
        "x.zip!/d.zip.001",
        "x.zip!/in/inner.7z",
    ]


def test_links_devices_and_names_that_are_not_utf8_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", "a.json"):
        (folder / name).write_bytes(b"")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/b.png").write_bytes(b"")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "sub/circle").symlink_to(folder)
    (folder / "self.png").symlink_to(folder / "self.png")
    (folder / "broken.png").symlink_to(tmp_path / "none.png")
    os.mkfifo(folder / "pipe.png")
    (Path(os.fsdecode(os.fsencode(folder) + b"/" + "문제.png".encode("cp949")))).write_bytes(b"")
    pages = find_pages(str(folder))
    assert list(pages.listing.files) == ["a.json", "a.png", "link/b.png"]
    assert pages.listing.counts == {
        "bad_name": 1,
        "ignored_device": 1,
        "ignored_link": 3,
        "image": 2,
        "label": 1,
    }
    assert [reject.reason for reject in pages.rejects] == ["bad_name", "missing_label"]
    assert "convmv" in pages.rejects[0].detail


@settings(deadline=None)
@given(st.lists(st.integers(0, len(ZIP)), max_size=5), st.integers(0, len(ZIP)), st.integers(0, len(ZIP)))
def test_joined_files_have_the_bytes_of_the_whole(cuts: list[int], offset: int, num_bytes: int) -> None:
    edges = [0, *sorted(cuts), len(ZIP)]
    pieces = [ZIP[start:stop] for start, stop in pairwise(edges)]
    joined = JoinedFile([pa.BufferReader(piece) for piece in pieces])
    assert joined.size() == len(ZIP)
    assert joined.read_at(num_bytes, offset) == ZIP[offset:][:num_bytes]
    joined.seek(offset)
    assert (joined.read(num_bytes), joined.tell()) == (
        ZIP[offset:][:num_bytes],
        min(offset + num_bytes, len(ZIP)),
    )
    archive = Archive(joined, "x.zip", lambda path: True)
    assert {path: archive.read(path) for path in archive.members} == CONTENTS

"""Pages listed and read from folders and zips, on disk and on S3."""

import pickle
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

import pytest
from builders.zips import UTF8, ZipMember, make_zip

from ocr_ray.errors import CropError, InputError, LabelError, RowError
from ocr_ray.pages.files import store as files
from ocr_ray.pages.files.store import PageFile, PageStore, pair_pages
from ocr_ray.pages.files.zip_archive import Archive
from ocr_ray.storage.location import Location, locate, write_bytes

LIMIT = 2**20
DECOMPOSED = unicodedata.normalize("NFD", "나눗셈")
TRAINING, VALIDATION = "Training/01.원천데이터", "Validation/01.원천데이터"
TRAINING_LABELS, VALIDATION_LABELS = "Training/02.라벨링데이터", "Validation/02.라벨링데이터"

PAGES = {
    f"{TRAINING}/3학년/P3_1.png": b"image 1",
    f"{TRAINING_LABELS}/3학년/P3_1.json": b"label 1" * 50,
    f"{TRAINING}/3학년/{DECOMPOSED}.jpg": b"image 2",
    f"{TRAINING_LABELS}/3학년/나눗셈.json": b"label 2",
    f"{TRAINING}/3학년/P3_1_A.png": b"answer",
    f"{TRAINING_LABELS}/3학년/P3_1_A.json": b"answer",
    f"{VALIDATION}/3학년/P3_2.png": b"image 3",
    f"{VALIDATION_LABELS}/3학년/P3_2.json": b"label 3",
    f"{VALIDATION}/3학년/P3_2_7_X.jpeg": b"handwriting",
    f"{VALIDATION}/3학년/lost.png": b"image 4",
}


def zip_of(contents: dict[str, bytes]) -> bytes:
    """Return a zip as written by a Korean Windows: deflated, with names in cp949 if possible."""
    return make_zip(*(make_member(path, contents[path]) for path in contents))


def make_member(path: str, content: bytes) -> ZipMember:
    try:
        return ZipMember(name=path.encode("cp949"), content=content, deflate=True)
    except UnicodeEncodeError:
        return ZipMember(name=path.encode(), flags=UTF8, content=content, deflate=True)


def as_delivered() -> dict[str, bytes]:
    """Return the pages in zips with the names and folders of AI Hub."""
    zips: dict[str, dict[str, bytes]] = {}
    for path, content in PAGES.items():
        folder = path.rpartition("/3학년/")[0]
        zips.setdefault(folder, {})[path.rpartition("/3학년/")[2]] = content
    kinds = {TRAINING: "TS", TRAINING_LABELS: "TL", VALIDATION: "VS", VALIDATION_LABELS: "VL"}
    return {
        f"{folder}/{kinds[folder]}_1.문제_초등학교_3학년.zip": zip_of(contents)
        for folder, contents in zips.items()
    }


def in_pieces(contents: dict[str, bytes]) -> dict[str, bytes]:
    """Return zips in pieces, with the names that AI Hub's download shell gives them."""
    return {
        f"{path}.part{start}": content[start : start + 300]
        for path, content in contents.items()
        for start in range(0, len(content), 300)
    }


LAYOUTS = {
    "folder": PAGES,
    "zip": {"pages.zip": zip_of(PAGES)},
    "zips as delivered": as_delivered(),
    "zips in one folder": {path.rpartition("/")[2]: zips for path, zips in as_delivered().items()},
    "zips in pieces": in_pieces(as_delivered()),
    "zip and folder": {
        "all images.ZIP": zip_of({path: PAGES[path] for path in PAGES if not path.endswith("json")}),
        **{path: PAGES[path] for path in PAGES if path.endswith("json")},
    },
}


def put(folder: Location, contents: dict[str, bytes]) -> PageStore:
    for path, content in contents.items():
        write_bytes(folder / path, content)
    return PageStore(folder)


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path, bucket: str) -> Location:
    name = PurePosixPath(tmp_path).name
    return locate(str(tmp_path) if request.param == "local" else f"{bucket}/files/{name}")


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_and_storage_gives_the_same_pages(folder: Location, layout: str) -> None:
    store = put(folder, LAYOUTS[layout])
    if layout == "zip":
        assert pair_pages(PageStore(folder / "pages.zip").list().files) == pair_pages(store.list().files)
    listing = store.list()
    assert listing.rejects == ()
    assert {files[0] for files in listing.files.values()} == {len(content) for content in PAGES.values()}
    pages, rejects, out_of_scope = pair_pages(listing.files)
    contents = {
        page.page_id: (
            page.collection,
            store.read(page.image_path, LIMIT),
            store.read(page.label_path, LIMIT),
        )
        for page in pages
    }
    assert contents == {
        "P3_1": ("training", b"image 1", b"label 1" * 50),
        "나눗셈": ("training", b"image 2", b"label 2"),
        "P3_2": ("validation", b"image 3", b"label 3"),
    }
    assert [(reject.reason, reject.page_id) for reject in rejects] == [("missing_label", "lost")]
    assert out_of_scope == {"answer": 1, "handwriting": 1}
    again = pickle.loads(pickle.dumps(store))
    assert again.read(pages[0].image_path, LIMIT) == b"image 1"


def test_a_single_zip_is_read_like_its_folder(tmp_path) -> None:
    store = put(locate(str(tmp_path)), {"pages.zip": zip_of(PAGES), "other.png": b""})
    single = PageStore(locate(str(tmp_path / "pages.zip")))
    assert {"other.png": (0,), **single.list().files} == store.list().files
    path = f"pages.zip!/{TRAINING}/3학년/P3_1.png"
    assert single.read(path, LIMIT) == store.read(path, LIMIT) == b"image 1"


@pytest.mark.parametrize("name", ["missing", "missing.zip", "a.png"])
def test_a_location_that_is_neither_a_folder_nor_a_zip_is_refused(tmp_path, name: str) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(
        InputError,
        match=r"pages must be in a folder or a \.zip file, .* (does not exist|is another kind of file)",
    ):
        PageStore(locate(str(tmp_path / name)))


def test_a_broken_zip_is_a_reject_and_the_other_files_are_listed(tmp_path) -> None:
    sound = zip_of({"a.png": b"image"})
    store = put(
        locate(str(tmp_path)), {"b/cut.zip": sound[:-9], "c.zip": sound, "a.json": b"{}", "._c.zip": b""}
    )
    listing = store.list()
    (reject,) = listing.rejects
    assert reject.reason == "bad_archive"
    assert reject.detail.startswith("b/cut.zip: no end of a zip")
    assert pair_pages(listing.files)[0] == [
        PageFile(page_id="a", image_path="c.zip!/a.png", label_path="a.json")
    ]


def test_a_zip_inside_a_zip_is_counted_and_not_opened(tmp_path) -> None:
    inner = zip_of({"a.png": b"1", "a.json": b"2"})
    store = put(
        locate(str(tmp_path)), {"x.zip": zip_of({"in/inner.zip": inner, "b.png": b"", "b.json": b""})}
    )
    pages, rejects, out_of_scope = pair_pages(store.list().files)
    assert [page.page_id for page in pages] == ["b"]
    assert rejects == []
    assert out_of_scope == {"zip": 1}


def test_a_path_that_occurs_twice_in_a_zip_is_one_page_and_one_reject(tmp_path) -> None:
    members = [ZipMember(name=name, content=name) for name in (b"a.png", b"a.json", b"a.png", b"a_A.png")]
    store = put(locate(str(tmp_path)), {"x.zip": make_zip(*members, members[-1])})
    listing = store.list()
    assert [(reject.reason, reject.page_id, reject.detail) for reject in listing.rejects] == [
        ("duplicate_page", "a", "x.zip!/a.png, already found as x.zip!/a.png")
    ]
    assert pair_pages(listing.files)[2] == {"answer": 1}


def test_files_in_a_folder_whose_name_ends_like_a_zip_member_are_rejects(tmp_path) -> None:
    store = put(locate(str(tmp_path)), {"x.zip!/a.png": b"", "x.zip!/note.txt": b"", "x!/b.png": b"1"})
    listing = store.list()
    assert list(listing.files) == ["x!/b.png"]
    assert [reject.detail.split(":")[0] for reject in listing.rejects] == ["x.zip!/a.png"]
    assert store.read("x!/b.png", LIMIT) == b"1"


@pytest.mark.parametrize("packing", ["folder", "zip"])
def test_a_file_over_the_limit_is_rejected_with_the_reason_of_its_kind(tmp_path, packing: str) -> None:
    contents = {"a.png": b"image", "a.json": b"label"}
    is_zip = packing == "zip"
    store = put(locate(str(tmp_path)), {"x.zip": zip_of(contents)} if is_zip else contents)
    image, label = ("x.zip!/a.png", "x.zip!/a.json") if is_zip else ("a.png", "a.json")
    with pytest.raises(CropError, match=r"bad_image: .*a.png must have at most 4 bytes, got 5"):
        store.read(image, 4)
    with pytest.raises(LabelError, match=r"bad_json: .*a.json must have at most 4 bytes, got 5"):
        store.read(label, 4)
    assert (store.read(image, 5), store.read(label, 5)) == (b"image", b"label")


def test_a_refused_member_is_listed_as_a_page_and_rejected_when_read(tmp_path) -> None:
    content = make_zip(ZipMember(name=b"a.png", flags=1), ZipMember(name=b"a.json", content=b"{}"))
    store = put(locate(str(tmp_path)), {"x.zip": content})
    ((page,), rejects, _) = pair_pages(store.list().files)
    assert rejects == []
    with pytest.raises(RowError, match=r"bad_archive: x.zip!/a.png: it is encrypted"):
        store.read(page.image_path, LIMIT)
    with pytest.raises(RowError, match=r"bad_archive: x.zip!/b.png: no such member"):
        store.read("x.zip!/b.png", LIMIT)


def test_the_identity_of_a_member_changes_only_with_its_content(tmp_path) -> None:
    one, other = ({"a.png": content, "b.png": b"same"} for content in (b"12345", b"12346"))
    first = put(locate(str(tmp_path)), {"x.zip": zip_of(one)}).list().files
    assert put(locate(str(tmp_path)), {"x.zip": zip_of(dict(reversed(one.items())))}).list().files == first
    second = put(locate(str(tmp_path)), {"x.zip": zip_of(other)}).list().files
    assert {path for path in first if first[path] != second[path]} == {"x.zip!/a.png"}
    assert put(locate(str(tmp_path)), {"y.png": b"12345"}).list().files["y.png"] == (5,)


def test_nothing_is_written_where_pages_are_read(tmp_path) -> None:
    members = ZipMember(name=b"../out.png"), ZipMember(name=b"in/a.png", content=b"1")
    store = put(locate(str(tmp_path / "pages")), {"x.zip": make_zip(*members)})
    assert list(store.list().files) == ["x.zip!/../out.png", "x.zip!/in/a.png"]
    assert store.read("x.zip!/in/a.png", LIMIT) == b"1"
    with pytest.raises(RowError, match="its path leaves the archive"):
        store.read("x.zip!/../out.png", LIMIT)
    assert [path.name for path in tmp_path.rglob("*")] == ["pages", "x.zip"]


def test_a_process_opens_a_zip_once_and_keeps_few_open(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    class CountedArchive(Archive):
        def __init__(self, file, name, is_wanted) -> None:
            opened.append(name)
            super().__init__(file, name, is_wanted)

    monkeypatch.setattr(files, "Archive", CountedArchive)
    contents = {f"{n}.png": b"%d" % n * 500 for n in range(200)}
    store = put(locate(str(tmp_path)), {"x.zip": zip_of(contents), "y.zip": zip_of(contents)})
    again = pickle.loads(pickle.dumps(store))
    with ThreadPoolExecutor(16) as pool:
        read = pool.map(lambda name: again.read(f"x.zip!/{name}", LIMIT), contents)
        assert list(read) == list(contents.values())
    assert opened == ["x.zip"]
    assert set(pickle.loads(pickle.dumps(store)).read("x.zip!/7.png", LIMIT)) == {ord("7")}
    assert opened == ["x.zip"]
    monkeypatch.setattr(files, "MAX_OPEN_ARCHIVES", 1)
    for name in ("y.zip", "x.zip", "y.zip"):
        again.read(f"{name}!/7.png", LIMIT)
    assert opened == ["x.zip", "y.zip", "x.zip", "y.zip"]


def test_a_new_store_reads_a_changed_zip_again(tmp_path) -> None:
    for content in (b"old", b"newer"):
        store = put(locate(str(tmp_path)), {"x.zip": zip_of({"a.png": content})})
        assert store.read("x.zip!/a.png", LIMIT) == content

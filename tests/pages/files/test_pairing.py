"""Pairing of images and labels by their paths."""

import unicodedata
from collections import Counter

import pytest
from builders.zips import UTF8, ZipMember, make_zip
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ocr_ray.pages.files.store import PageFile, PageStore, collection_of, kind_of, page_id_of, pair_pages
from ocr_ray.storage.location import locate

OUT_OF_SCOPE = ("answer", "handwriting")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a/P3_1_01_00040_00469.png", "image"),
        ("a.JPEG", "image"),
        ("a.json", "label"),
        ("x.zip!/in.zip", "zip"),
        ("P3_1_01_00040_00469_A.json", "answer"),
        ("P3_1_01_00040_00469_A.png", "answer"),
        ("P3_1_01_00040_00469_12_O.jpeg", "handwriting"),
        ("P3_1_01_00040_00469_3_X.json", "handwriting"),
        ("P3_1_01_B.png", "image"),
        ("_A.png", "image"),
        ("12_O.png", "image"),
        ("x.zip!/__MACOSX/a.png", "ignored"),
        ("__MACOSX/a.png", "ignored"),
        ("not__MACOSX/a.png", "image"),
        ("a/._a.png", "ignored"),
        (".png", "ignored"),
        ("json", "ignored"),
        ("a.txt", "ignored"),
        ("a.png/b", "ignored"),
    ],
)
def test_the_kind_of_a_file_follows_from_its_path(path: str, kind: str) -> None:
    assert kind_of(path) == kind


@pytest.mark.parametrize(
    ("path", "collection"),
    [
        ("Training/a.png", "training"),
        ("110.수학/1.데이터/Validation/02.라벨링데이터/VL_1.문제.zip!/a.json", "validation"),
        ("1.Training/원천데이터/a.png", "training"),
        ("2.validation/a.png", "validation"),
        ("2. VALIDATION/a.png", "validation"),
        ("TS_1.문제_초등학교_3학년.zip!/a.png", "training"),
        ("TL_1.zip!/a.json", "training"),
        ("x/VS_01.초등학교_3학년_01.객관식.zip!/in/a.png", "validation"),
        ("vl_1.ZIP!/a.json", "validation"),
        ("x.zip!/Training/a.png", "training"),
        ("Training/old.zip!/Validation/a.png", "validation"),
        ("Training.png", ""),
        ("Training/../My Training/a.png", "training"),
        ("My Training/a.png", ""),
        ("pages.zip!/TS_1.png", ""),
        ("XS_1.zip!/a.png", ""),
    ],
)
def test_the_collection_is_that_of_the_innermost_folder_or_zip(path: str, collection: str) -> None:
    assert collection_of(path) == collection


@pytest.mark.parametrize(
    ("image", "label", "collection"),
    [
        ("Training/a.png", "a.json", "training"),
        ("a.png", "Training/a.json", "training"),
        ("Training/a.png", "Validation/a.json", "validation"),
        ("Validation/a.png", "Training/a.json", "validation"),
    ],
)
def test_a_page_half_in_validation_is_not_in_training(image: str, label: str, collection: str) -> None:
    assert pair_pages([image, label])[0][0].collection == collection


def test_files_without_a_page_are_rejects_with_a_reason() -> None:
    paths = ["2/a.png", "1/a.jpg", "a.json", "only.png", "._a.png", "readme.md"]
    paths += ["y.zip!/label.json", "x.zip!/label.json"]
    pages, rejects, out_of_scope = pair_pages(paths)
    assert pages == [PageFile(page_id="a", image_path="1/a.jpg", label_path="a.json")]
    assert [(reject.page_id, reject.reason, reject.detail) for reject in rejects] == [
        ("a", "duplicate_page", "2/a.png, already found as 1/a.jpg"),
        ("label", "missing_image", "x.zip!/label.json"),
        ("label", "duplicate_page", "y.zip!/label.json, already found as x.zip!/label.json"),
        ("only", "missing_label", "only.png"),
    ]
    assert out_of_scope == {}


def test_image_label_and_copies_of_an_answer_or_handwriting_count_once() -> None:
    paths = [f"{folder}/p_{name}" for folder in "ab" for name in ("A.png", "A.json", "1_O.jpeg", "2_X.json")]
    assert pair_pages(paths) == ([], [], {"answer": 1, "handwriting": 2})


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=6)
PATHS = st.builds(
    "{}{}.{}".format,
    st.sampled_from(["", "a/", "x.zip!/", "Training/b/"]),
    NAMES | st.sampled_from(["각", unicodedata.normalize("NFD", "각"), "p", "p_A", "p_1_O"]),
    st.sampled_from(["png", "JPG", "json", "json", "zip", "txt"]),
)


@settings(deadline=None, max_examples=300)
@given(paths=st.lists(PATHS, unique=True, max_size=14), random=st.randoms())
@example(paths=["x.zip!/a\n.png", "b/a\n.json"], random=None)
def test_every_file_is_in_one_page_or_one_reject_or_out_of_scope_in_any_order(paths, random) -> None:
    result = pair_pages(paths)
    pages, rejects, out_of_scope = result
    used = [path for page in pages for path in (page.image_path, page.label_path)]
    used += [
        reject.detail.rpartition(", already found as ")[0]
        if reject.reason == "duplicate_page"
        else reject.detail
        for reject in rejects
    ]
    assert sorted(used) == sorted(path for path in paths if kind_of(path) in ("image", "label"))
    expected = {(kind_of(path), page_id_of(path)) for path in paths if kind_of(path) in OUT_OF_SCOPE}
    expected |= {("zip", path) for path in paths if kind_of(path) == "zip"}
    assert out_of_scope == Counter(kind for kind, _ in expected)
    assert len({page.page_id for page in pages}) == len(pages)
    if random is not None:
        random.shuffle(paths)
        assert pair_pages(paths) == result


@settings(deadline=None, max_examples=60)
@given(
    names=st.lists(NAMES, min_size=1, max_size=6, unique_by=lambda name: unicodedata.normalize("NFC", name))
)
def test_pages_of_any_name_are_read_from_a_zip(tmp_path_factory, names: list[str]) -> None:
    members = [
        ZipMember(name=f"in/{form}.{ending}".encode(), flags=UTF8, content=name.encode())
        for name in names
        for form, ending in ((name, "png"), (unicodedata.normalize("NFD", name), "json"))
    ]
    (folder := tmp_path_factory.mktemp("names")).joinpath("x.zip").write_bytes(make_zip(*members))
    store = PageStore(locate(str(folder)))
    pages, rejects, _ = pair_pages(store.list().files)
    assert rejects == []
    wanted = [name for name in names if kind_of(f"{name}.png") == "image"]
    assert [page.page_id for page in pages] == sorted(unicodedata.normalize("NFC", name) for name in wanted)
    read = {store.read(path, 100) for page in pages for path in (page.image_path, page.label_path)}
    assert read == {name.encode() for name in wanted}

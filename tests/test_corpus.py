import codecs
import hashlib
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.errors import InputError
from ocr_ray.storage import locate
from ocr_ray.text.corpus import Corpus, _decode, read_corpus, restrict_corpus, split_words
from ocr_ray.text.hangul import nfc

TEXT = "학교에서 사과를 먹으면서 걸어 갔습니다. 나무 한 그루가 서 있다."
WORDS = tuple(sorted(TEXT.replace(".", "").split()))


def _read(folder: Path, raw: bytes) -> Corpus:
    (folder / "글.txt").write_bytes(raw)
    return read_corpus(locate(str(folder)))


def test_the_shipped_list_holds_many_distinct_composed_words_of_every_length() -> None:
    corpus = read_corpus(None)
    assert len(corpus.words) >= 1900
    assert list(corpus.words) == sorted(set(corpus.words))
    assert all(re.fullmatch("[가-힣]{1,8}", word) and nfc(word) == word for word in corpus.words)
    num_by_length = Counter(map(len, corpus.words))
    assert min(num_by_length[length] for length in range(1, 6)) >= 50
    assert list(corpus.sha256_by_file) == ["words.txt"]


def test_the_shipped_list_repeats_no_word_and_its_comments_hold_none() -> None:
    path = Path(__file__).parents[1] / "ocr_ray" / "text" / "words.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    words = [line for line in lines if not line.startswith("#")]
    assert sorted(words) == list(read_corpus(None).words)


@pytest.mark.parametrize(
    "raw",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        TEXT.encode("cp949"),
        TEXT.encode("cp949") + b"\r\n\x1a",
        unicodedata.normalize("NFD", TEXT).encode(),
    ],
    ids=["utf-8", "bom", "cp949", "dos", "nfd"],
)
def test_the_same_text_gives_the_same_words_in_every_encoding(tmp_path: Path, raw: bytes) -> None:
    assert _read(tmp_path, raw).words == WORDS


def test_cp949_syllables_outside_of_ks_x_1001_are_read(tmp_path: Path) -> None:
    assert _read(tmp_path, "뷁 펲시 똠방각하".encode("cp949")).words == ("똠방각하", "뷁", "펲시")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (TEXT.encode("utf-16"), "must be UTF-8 or cp949 text, got a UTF-16 byte order mark"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "got a UTF-16 byte order mark: convert it"),
        (TEXT.encode("utf-16-le"), "must be UTF-8 or cp949 text"),
        (TEXT.encode("utf-32-be")[1:], "must be UTF-8 or cp949 text"),
        (TEXT.encode()[:-5], "damaged or cut off: byte"),
        ('"그리'.encode()[:-2], "damaged or cut off: byte 4 is not UTF-8"),
        (TEXT.encode().replace("사".encode(), b"\xec\x20"), "damaged or cut off: byte 13 is not UTF-8"),
        (bytes(range(256)) * 4, "tried both: byte 128 is not UTF-8"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\xb0\xa1", "tried both"),
        ("Überraschung für alle".encode("latin-1"), "tried both"),
        ("漢字語文學".encode("cp949"), "does not read like Korean"),
    ],
)
def test_what_is_no_korean_text_is_refused_with_the_name_of_the_file(
    tmp_path: Path, raw: bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        _read(tmp_path, raw)
    assert str(tmp_path / "글.txt") in str(caught.value)


@settings(deadline=None)
@given(st.integers(1, len(TEXT.encode()) - 1))
def test_korean_cut_off_anywhere_is_read_as_utf8_or_refused_but_never_as_cp949(stop: int) -> None:
    try:
        text = _decode(TEXT.encode()[:stop], "글.txt")
    except InputError:
        return
    assert TEXT.startswith(text)


@pytest.mark.parametrize("files", [{}, {"SOURCES.md": TEXT}])
def test_a_folder_without_text_files_is_refused(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(
        InputError, match=rf"must hold \.txt files, got none in {re.escape(str(tmp_path))}: put"
    ):
        read_corpus(locate(str(tmp_path)))


@pytest.mark.parametrize("raw", [b"", b"English only, 123", "ㅋㅋ ×× ○○에".encode(), b"\0\0\0"])
def test_a_folder_without_a_word_is_refused(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(
        InputError, match=rf"{re.escape(str(tmp_path))} must hold Korean words, got none in 1"
    ):
        _read(tmp_path, raw)


def test_folders_below_are_read_and_every_file_is_hashed_by_its_relative_name(tmp_path: Path) -> None:
    (tmp_path / "안").mkdir()
    (tmp_path / "안" / "둘.TXT").write_text("나무", encoding="utf-8")
    (tmp_path / "하나.txt").write_text("학교", encoding="utf-8")
    corpus = read_corpus(locate(str(tmp_path)))
    assert corpus.words == ("나무", "학교")
    assert corpus.sha256_by_file == {
        "안/둘.TXT": hashlib.sha256("나무".encode()).hexdigest(),
        "하나.txt": hashlib.sha256("학교".encode()).hexdigest(),
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("“그래,” 하고 말했다…", ["그래", "하고", "말했다"]),
        ("김×× 씨가 ○○에 □월 갔다", ["씨가", "갔다"]),
        ("깨진\ufffd글자 나무", ["나무"]),
        ("3월(三月)에 KTX는 123 abc", ["3월", "에", "KTX는"]),
        ("ㅋㅋ하하 ㅁ를", ["하하", "를"]),
        ("나\0무\x07꽃", ["나", "무", "꽃"]),
        ("길-고양이 '봄', \ufeff여름", ["길", "고양이", "봄", "여름"]),
    ],
)
def test_words_are_what_is_left_without_debris(text: str, words: list[str]) -> None:
    assert split_words(text) == words


@settings(deadline=None)
@given(st.text())
def test_every_word_is_composed_and_holds_a_syllable_and_nothing_but_word_characters(text: str) -> None:
    for word in split_words(text):
        assert nfc(word) == word
        assert re.fullmatch("[0-9A-Za-z가-힣]*[가-힣][0-9A-Za-z가-힣]*", word)


def test_words_with_a_character_outside_the_set_are_left_out_and_counted() -> None:
    corpus = Corpus(("가나", "나비", "뷁"), {"글.txt": "00"})
    assert restrict_corpus(corpus, frozenset("가나비")) == (Corpus(("가나", "나비"), {"글.txt": "00"}), 1)

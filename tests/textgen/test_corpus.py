import codecs
import hashlib
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.errors import InputError
from ocr_ray.storage.location import locate
from ocr_ray.text.canonical import canonical
from ocr_ray.text.hangul import KS_X_1001, nfc
from ocr_ray.text.unusual_characters import KINDS, describe_unusual, replace_unusual
from ocr_ray.textgen.corpus import (
    Corpus,
    _decode,
    read_corpus,
    read_maths_words,
    restrict_corpus,
    split_passages,
    split_words,
)

TEXT = "학교에서 사과를 먹으면서 걸어 갔습니다. 나무 한 그루가 서 있다."
WORDS = tuple(sorted(TEXT.replace(".", "").split()))


def _read(folder: Path, raw: bytes) -> Corpus:
    (folder / "글.txt").write_bytes(raw)
    return read_corpus(locate(str(folder)))


def test_the_built_in_list_has_many_distinct_composed_words_of_every_length() -> None:
    corpus = read_corpus(None)
    assert len(corpus.words) >= 1900
    assert list(corpus.words) == sorted(set(corpus.words))
    assert all(re.fullmatch("[가-힣]{1,8}", word) and nfc(word) == word for word in corpus.words)
    num_by_length = Counter(map(len, corpus.words))
    assert min(num_by_length[length] for length in range(1, 6)) >= 50
    assert list(corpus.sha256_by_file) == ["words.txt"]
    assert corpus.passages == ()


@pytest.mark.parametrize(
    ("name", "words"), [("words.txt", read_corpus(None).words), ("maths_words.txt", read_maths_words())]
)
def test_a_built_in_list_has_no_duplicates_and_no_words_in_comments(
    name: str, words: tuple[str, ...]
) -> None:
    lines = (
        (Path(__file__).parents[2] / "ocr_ray" / "textgen" / name).read_text(encoding="utf-8").splitlines()
    )
    assert sorted(line for line in lines if not line.startswith("#")) == list(words)


def test_the_maths_words_are_about_600_that_every_korean_font_has() -> None:
    words = read_maths_words()
    assert 550 <= len(set(words)) == len(words) <= 700
    assert set("".join(words)) <= set(KS_X_1001)
    assert all(canonical(word) == word for word in words)
    assert {"나눗셈식", "몫", "넓이", "꼭짓점", "백분율", "구하세요", "똑같이", "나누어"} <= set(words)


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
def test_the_same_text_gives_the_same_words_and_passages_in_every_encoding(
    tmp_path: Path, raw: bytes
) -> None:
    corpus = _read(tmp_path, raw)
    assert corpus.words == WORDS
    assert corpus.passages == (TEXT,)


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
        ("漢字語文學".encode("cp949"), "does not look like Korean"),
    ],
)
def test_files_that_are_not_korean_text_are_rejected_by_name(
    tmp_path: Path, raw: bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        _read(tmp_path, raw)
    assert str(tmp_path / "글.txt") in str(caught.value)


@settings(deadline=None)
@given(st.integers(1, len(TEXT.encode()) - 1))
def test_truncated_utf8_is_never_read_as_cp949(stop: int) -> None:
    try:
        text = _decode(TEXT.encode()[:stop], "글.txt")
    except InputError:
        return
    assert TEXT.startswith(text)


@pytest.mark.parametrize("files", [{}, {"SOURCES.md": TEXT}])
def test_a_folder_without_text_files_is_rejected(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(
        InputError, match=rf"must contain \.txt files, got none in {re.escape(str(tmp_path))}: add"
    ):
        read_corpus(locate(str(tmp_path)))


@pytest.mark.parametrize("raw", [b"", b"English only, 123", "ㅋㅋ ×× ○○에".encode(), b"\0\0\0"])
def test_a_folder_without_a_word_is_rejected(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(
        InputError, match=rf"{re.escape(str(tmp_path))} must contain Korean words, got none in 1"
    ):
        _read(tmp_path, raw)


def test_subfolders_are_read_and_every_file_is_hashed_by_its_relative_name(tmp_path: Path) -> None:
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
def test_words_are_what_remains_without_damaged_tokens(text: str, words: list[str]) -> None:
    assert split_words(text) == words


@settings(deadline=None)
@given(st.text())
def test_every_word_is_canonical_and_has_a_syllable_and_only_word_characters(text: str) -> None:
    for word in split_words(text):
        assert canonical(word) == word
        assert re.fullmatch("[0-9A-Za-z가-힣]*[가-힣][0-9A-Za-z가-힣]*", word)


@pytest.mark.parametrize(
    ("text", "passages"),
    [
        ("“그래,”  하고\u3000말했다…\n\n\t다음 줄이다.", ['"그래," 하고 말했다…', "다음 줄이다."]),
        ("어느 날 김×× 씨가 왔다 ○○에 갔다 왔다", ["씨가 왔다", "갔다 왔다"]),
        ("나무가 ◯◯에 서 있었다", ["서 있었다"]),
        ("깨진\ufffd글자 뒤의 글들", ["뒤의 글들"]),
        ("이만 오천 $7$개 \\times 남은 것은 셋", ["이만 오천", "남은 것은 셋"]),
        ("소리\x07가 나는 방에서", ["나는 방에서"]),
        ("나무가 다섯\r\n그루나 서\u2028있었다네요", ["나무가 다섯", "그루나 서", "있었다네요"]),
        ("네 자는 없다", ["네 자는 없다"]),
        ("네 자는", []),
        ("English only, 123\n* * * * *\n漢字語文學", []),
    ],
)
def test_passages_are_paragraphs_split_where_a_letter_is_lost(text: str, passages: list[str]) -> None:
    assert split_passages(text) == passages


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(["나무", "×표", "a", "12㎠", "\u2212", " ", "\n", "$", "봄여름가을", "\u200b", "."])
    )
)
def test_every_passage_is_canonical_with_single_spaces_and_occurs_in_its_text(pieces: list[str]) -> None:
    text = "".join(pieces)
    paragraphs = [" ".join(line.split()) for line in canonical(text).splitlines()]
    for passage in split_passages(text):
        assert canonical(passage) == passage == " ".join(passage.split())
        assert len(passage) >= 5
        assert not set(passage) & set("×○□$\\")
        assert any(passage in paragraph for paragraph in paragraphs)


NO_SPACES = "".join(chr(ord("가") + 97 * number % 11_172) for number in range(95))


def test_a_word_longer_than_a_line_is_cut_into_words_and_nothing_is_lost() -> None:
    words = split_words(f"나무 {NO_SPACES}, 꽃")
    assert words == ["나무", NO_SPACES[:30], NO_SPACES[30:60], NO_SPACES[60:90], NO_SPACES[90:], "꽃"]
    assert split_words("가" + "A" * 1000) == ["가" + "A" * 29]


def test_a_line_without_end_is_cut_at_white_space_only(tmp_path: Path) -> None:
    text = " ".join(f"{WORDS[number % len(WORDS)]}{number}" for number in range(20_000))
    corpus = _read(tmp_path, text.encode())
    assert corpus.words == tuple(sorted(set(text.split())))
    assert " ".join(corpus.passages) == text
    assert 1 < max(map(len, corpus.passages)) <= 10_000


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_syllables_stay_whole_where_a_line_without_spaces_is_cut(tmp_path: Path, form: str) -> None:
    text = NO_SPACES * 400
    raw = unicodedata.normalize(form, text).encode()
    assert "".join(split_words(raw.decode())) == text
    corpus = _read(tmp_path, raw)
    assert "".join(corpus.passages) == text
    assert max(map(len, corpus.words)) == 30


def test_syllables_without_a_space_take_little_memory(tmp_path: Path) -> None:
    """Before words were cut, their pieces alone would have taken 90 GB."""
    (tmp_path / "글.txt").write_text("".join(chr(ord("가") + 97 * n * n % 11_172) for n in range(300_000)))
    program = (
        "import resource, sys\n"
        "from ocr_ray.storage.location import locate\n"
        "from ocr_ray.textgen.corpus import read_corpus\n"
        "from ocr_ray.textgen.sampler import CHARACTERS, TextConfig, TextInputs, TextSampler\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))\n"
        "corpus = read_corpus(locate(sys.argv[1]))\n"
        "characters = CHARACTERS.union(*corpus.passages)\n"
        "inputs = TextInputs(words=corpus.words, passages=corpus.passages, characters=characters)\n"
        "sampler = TextSampler(inputs, TextConfig(sentence_share=0.2))\n"
        "print(len({sampler.draw(1, number).text for number in range(200)}))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (run.stdout.strip(), run.returncode) == ("200", 0), run.stderr


@pytest.mark.parametrize(
    ("text", "words", "passage", "unusual"),
    [
        ("나무\t꽃이 핀다", ["나무", "꽃이", "핀다"], "나무 꽃이 핀다", {"tab": 1}),
        ("나\u200b무 꽃\u2060이 핀\u034f다", ["나무", "꽃이", "핀다"], "나무 꽃이 핀다", {"zero_width": 3}),
        (
            "나무\ufe0e\ufe0f 꽃\U000e0101이 핀다",
            ["나무", "꽃이", "핀다"],
            "나무 꽃이 핀다",
            {"variation_selector": 3},
        ),
        ("\u202e나무\u202c 꽃\u061c이 핀다", ["나무", "꽃이", "핀다"], "나무 꽃이 핀다", {"bidi_control": 3}),
        ("나무 ﾡ과 ￂ이 있다", ["나무", "과", "이", "있다"], "나무 ㄱ과 ㅏ이 있다", {"half_width_jamo": 2}),
        ("나랏말 ᄊᆞ미 나무에 피고", ["나랏말", "나무에", "피고"], "나무에 피고", {"old_hangul": 1}),
        ("나무에 피고 나ᇙ ᄆᆞᅀᆞᆷ", ["나무에", "피고"], "나무에 피고", {"old_hangul": 3}),
        ("나〮무 말〯 나무에 피고 진다", ["나무에", "피고", "진다"], "나무에 피고 진다", {"old_hangul": 2}),
        ("나\ue1a2무 나무에 피고 \U000f0001", ["나무에", "피고"], "나무에 피고", {"private_use": 2}),
        ("나\U000e0067\U000e007f무에 피고", ["나무에", "피고"], "나무에 피고", {"zero_width": 2}),
        ("ᄀ과 ᄂ이 나무에 있다", ["과", "이", "나무에", "있다"], "ㄱ과 ㄴ이 나무에 있다", {}),
        ("나\x07무에 피고 진다", ["나", "무에", "피고", "진다"], "피고 진다", {"control": 1}),
    ],
    ids=[
        *("tab", "zero width", "variation", "bidi", "half width", "old", "old twice", "tone marks"),
        *("private use", "tags", "letters", "control"),
    ],
)
def test_unusual_characters_are_replaced_or_left_out_and_counted(
    tmp_path: Path, text: str, words: list[str], passage: str, unusual: dict[str, int]
) -> None:
    corpus = _read(tmp_path, text.encode())
    assert corpus.words == tuple(sorted(set(words)))
    assert corpus.passages == (passage,)
    assert corpus.unusual == unusual
    counts = {kind: entry["number"] for kind, entry in describe_unusual(corpus.unusual).items()}
    assert counts == dict.fromkeys(KINDS, 0) | unusual


def test_every_half_width_letter_becomes_the_letter_of_its_name() -> None:
    letters = [chr(code) for code in range(0xFFA1, 0xFFDD) if unicodedata.name(chr(code), "")]
    assert len(letters) == 51
    for letter in letters:
        name = unicodedata.name(letter).removeprefix("HALFWIDTH ")
        assert replace_unusual(letter, Counter()) == unicodedata.lookup(name)


def test_an_undamaged_paragraph_is_one_passage_in_the_order_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "나.txt").write_text("둘째 글이다.\n셋째 글이다.", encoding="utf-8")
    (tmp_path / "가.txt").write_text("첫째 글의 넓이는 3㎠.", encoding="utf-8")
    passages = read_corpus(locate(str(tmp_path))).passages
    assert passages == ("첫째 글의 넓이는 3cm².", "둘째 글이다.", "셋째 글이다.")


def test_words_with_a_character_outside_the_set_are_left_out_and_passages_split_there() -> None:
    corpus = Corpus(("가나", "나뷁뷁", "나비", "뷁"), ("나비가 나뷁 가나 가나", "뷁! 가나"), {"글.txt": "00"})
    restricted, costs = restrict_corpus(corpus, frozenset("가나비"))
    assert restricted == Corpus(("가나", "나비"), ("가나 가나",), {"글.txt": "00"})
    assert costs == {"뷁": 2 + 2, "!": 1}


@settings(deadline=None)
@given(st.lists(st.text("가나다라 ", max_size=12)), st.frozensets(st.sampled_from("가나다라")))
def test_a_restricted_corpus_has_only_characters_of_the_set_and_every_cost_is_listed(
    texts: list[str], characters: frozenset[str]
) -> None:
    text = "\n".join(texts)
    corpus = Corpus(tuple(sorted(set(split_words(text)))), tuple(split_passages(text)), {})
    restricted, costs = restrict_corpus(corpus, characters)
    kept = "".join(restricted.words + restricted.passages)
    assert set(kept) - {" "} <= characters
    assert set(costs) == set("".join(corpus.words + corpus.passages)) - {" "} - characters
    assert restrict_corpus(restricted, characters) == (restricted, Counter())
    if not costs:
        assert restricted == corpus

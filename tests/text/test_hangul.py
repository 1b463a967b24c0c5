import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.text.hangul import KS_X_1001, count_hangul, is_hangul_syllable, nfc


def test_decomposed_syllables_become_single_characters() -> None:
    decomposed = unicodedata.normalize("NFD", "한글")
    assert len(decomposed) == 6
    assert nfc(decomposed) == "한글"


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3)))
def test_every_precomposed_syllable_is_one_and_survives_normalisation(text: str) -> None:
    assert nfc(text) == text
    assert count_hangul(text) == len(text)


def test_single_jamo_letters_and_hanja_are_not_syllables() -> None:
    assert not any(map(is_hangul_syllable, "ㄱㅁㅏᄀᆨA7漢×ힰ"))
    assert count_hangul("가 A힣ㅋ7") == 2


def test_ks_x_1001_has_2350_syllables_in_the_order_of_unicode_from_가_to_힝() -> None:
    assert len(KS_X_1001) == 2350
    assert (KS_X_1001[0], KS_X_1001[-1]) == ("가", "힝")
    assert list(KS_X_1001) == sorted(set(KS_X_1001))
    assert all(map(is_hangul_syllable, KS_X_1001))


def test_ks_x_1001_has_its_syllables_at_the_positions_of_the_standard_and_lacks_rare_ones() -> None:
    # 한 is at row 39, cell 49, 글 at row 17, cell 59; rows of 94 cells, the syllables from row 16 on.
    assert KS_X_1001[(39 - 16) * 94 + 49 - 1] == "한"
    assert KS_X_1001[(17 - 16) * 94 + 59 - 1] == "글"
    assert not set("뷁펲똠햏") & set(KS_X_1001)

import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.text.hangul import count_hangul, is_hangul_syllable, nfc


def test_decomposed_syllables_become_single_characters() -> None:
    decomposed = unicodedata.normalize("NFD", "한글")
    assert len(decomposed) == 6
    assert nfc(decomposed) == "한글"


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3)))
def test_every_precomposed_syllable_is_one_and_survives_normalisation(text: str) -> None:
    assert nfc(text) == text
    assert count_hangul(text) == len(text)


def test_lone_jamo_letters_and_hanja_are_no_syllables() -> None:
    assert not any(map(is_hangul_syllable, "ㄱㅁㅏᄀᆨA7漢×ힰ"))
    assert count_hangul("가 A힣ㅋ7") == 2

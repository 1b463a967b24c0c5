import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocr_ray.text.characters import CLASSES, classify


@pytest.mark.parametrize(
    ("characters", "name"),
    [
        ("가힣뷁ㄱㅂㅎㅏㅣᄀ", "hangul"),
        ("0123456789", "digit"),
        ("+-×÷=<>:…/", "operator"),
        ("□○△☆①⑤㉠㉮½²³₁°℃%$\\π→′", "symbol"),
        ("aZéⅩ"[:3], "latin"),
        (".,?!()'\"~·{}[]「」〈〉_", "punctuation"),
        (" \t\u3000", "space"),
    ],
)
def test_each_character_has_its_class(characters: str, name: str) -> None:
    assert {character: classify(character) for character in characters} == dict.fromkeys(characters, name)


@given(character=st.characters())
def test_every_character_has_a_class(character: str) -> None:
    assert classify(character) in CLASSES

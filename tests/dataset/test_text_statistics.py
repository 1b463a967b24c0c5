import json
import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocr_ray.dataset.lines import TextLine
from ocr_ray.dataset.text_statistics import TextStatistics
from ocr_ray.text.characters import CLASSES

lines = st.builds(
    TextLine,
    line_id=st.just("1"),
    image_bytes=st.just(b""),
    text=st.text(
        st.sampled_from('가나뷁각ㄱㅏ ab10+-×÷=.,①□℃²\\"') | st.characters(exclude_categories=["Cs"])
    ),
    markup=st.just(""),
    source=st.just("mixed"),
    width_px=st.just(1),
    height_px=st.just(1),
    grades=st.lists(st.integers(1, 6), max_size=3).map(tuple),
)


def count(counted: list[TextLine]) -> TextStatistics:
    texts = TextStatistics()
    for line in counted:
        texts.add(line)
    return texts


@given(st.lists(lines, max_size=20), st.lists(st.integers(0, 20), max_size=4), st.randoms())
def test_statistics_are_the_same_for_any_parts_in_any_order(
    drawn: list[TextLine], cuts: list[int], shuffler: random.Random
) -> None:
    pieces = [drawn[start:stop] for start, stop in pairwise([0, *sorted(cuts), len(drawn)])]
    shuffler.shuffle(pieces)
    merged = TextStatistics()
    for piece in pieces:
        merged.merge(TextStatistics.from_json(count(piece).to_json()))
    # As text, since the order of the keys must be the same too.
    assert json.dumps(merged.report()) == json.dumps(count(drawn).report())
    assert merged.to_json() == count(drawn).to_json()


@given(st.lists(lines, max_size=20))
def test_every_character_and_line_is_counted_once(drawn: list[TextLine]) -> None:
    report = count(drawn).report()
    text = "".join(line.text for line in drawn)
    assert report["characters"] == {char: text.count(char) for char in text}
    assert list(report["characters"].values()) == sorted(report["characters"].values(), reverse=True)
    assert sum(report["classes"].values()) == len(text)
    assert tuple(report["classes"]) == CLASSES
    assert report["lengths"] == {str(n): c for n, c in Counter(len(line.text) for line in drawn).items()}
    assert sum(report["grades"].values()) == sum(len(line.grades) for line in drawn)
    assert set(report["rare"]) == {char for char in text if text.count(char) < 20}


def test_only_syllables_of_ks_x_1001_are_counted_as_such() -> None:
    line = TextLine(
        line_id="1", image_bytes=b"", text="가각뷁햏힣1", markup="", source="words", width_px=1, height_px=1
    )
    # The standard encodes its syllables in two bytes each, and spells out all others.
    expected = [char for char in "가각뷁햏힣" if len(char.encode("euc_kr")) == 2]
    assert count([line]).report()["ks_x_1001"] == len(expected) < 5


def test_statistics_in_json_are_small() -> None:
    texts = TextStatistics(characters=Counter({chr(ord("가") + n): 1000 + n for n in range(2500)}))
    assert len(texts.to_json().encode()) < 2500 * 9


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"characters":"a","counts":[],"lengths":[],"grades":[]}'])
def test_damaged_statistics_are_refused(text: str) -> None:
    with pytest.raises((ValueError, TypeError, KeyError), match=r"."):
        TextStatistics.from_json(text)

import json
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.text.canonical import CANONICAL, canonical
from ocr_ray.text.hangul import KS_X_1001

EVERY_CHARACTER = [char for char in map(chr, range(sys.maxunicode + 1)) if not "\ud800" <= char <= "\udfff"]
KEPT = (
    "①②③④⑤⑥⑦⑧⑨⑩㉠㉡㉢㉣㉤㉥㉮㉯㉰㉱ㄱㄴㄷㄹㅁㅂㅏㅡㅣ□○△☆◇×÷→℃°…·〈〉《》「」【】²³₩‥⇒⇔●■▲★½′″≤∠ℎⅩ漢"
    + "".join(map(chr, range(ord(" "), ord("~") + 1)))
    + "".join(KS_X_1001)
)
"""Characters that are canonical."""

TRICKY = st.text(
    st.sampled_from(sorted(set("".join(CANONICAL)) | set("".join(CANONICAL.values()))))
    | st.sampled_from("\u1100\u1161\u11a8\u0301\u0327\u0338\u3099가각AaCcoKÅ°℃ ~-")
    | st.characters(exclude_categories=["Cs"]),
    max_size=12,
)


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("넓이 12㎠, 1.5㎡, 3㎢", "넓이 12cm², 1.5m², 3km²"),
        ("4㎤ 5㎥ 6㎣ 7㎦", "4cm³ 5m³ 6mm³ 7km³"),
        ("1㎜ 2㎝ 3㎞ 4㎎ 5㎏", "1mm 2cm 3km 4mg 5kg"),
        ("1ℓ 2㎖ 3㎗ 4㎘ 5mℓ", "1L 2mL 3dL 4kL 5mL"),
        ("7\u22123 7\u20133 7\u20143 7\u20103 7\u20113 7\uff0d3 7\ufe633", "7-3 7-3 7-3 7-3 7-3 7-3 7-3"),
        ("3✕4 3⨯4 3╳4 3✖\ufe0f4", "3×4 3×4 3×4 3×4"),
        ("6➗2＝3", "6÷2=3"),
        ("23÷4=5⋯3", "23÷4=5…3"),
        ("가ㆍ나・다･라∙마⋅바‧사•아", "가·나·다·라·마·바·사·아"),
        ("1〜5 1～5 1∼5", "1~5 1~5 1~5"),
        ("3∶4=6：8", "3:4=6:8"),
        ("90º 90˚ 90∘ 90°", "90° 90° 90° 90°"),
        ("20℃ 20°C 20˚Ｃ 20º\u200bC", "20℃ 20℃ 20℃ 20℃"),
        ("▢◻☐⬜□", "□□□□□"),
        ("◯〇○", "○○○"),
        ("▵△", "△△"),
        ("➡ ⟶ →", "→ → →"),
        ("“그래,” ‘응’", "\"그래,\" '응'"),
        ("⟨보기⟩ \u2329보기\u232a 〈보기〉", "〈보기〉 〈보기〉 〈보기〉"),
        ("（１）Ａ＋Ｂ＜９", "(1)A+B<9"),
        ("⑴ ⒇ ㈀ ㈎ ㈛ ➀ ➉", "(1) (20) (ㄱ) (가) (하) ① ⑩"),
        ("한\u3000칸\u00a0두\u2009칸", "한 칸 두 칸"),
        ("\ufeff나\u200b무\u200d", "나무"),
        ("\u1100\u1161\u11a8 \u1100 \u1161 \u11a8", "각 ㄱ ㅏ ㄱ"),
    ],
)
def test_look_alikes_have_one_form(written: str, form: str) -> None:
    assert canonical(written) == form


@settings(deadline=None, max_examples=500)
@given(TRICKY)
def test_the_canonical_form_is_composed_and_stable(text: str) -> None:
    form = canonical(text)
    assert unicodedata.is_normalized("NFC", form)
    assert canonical(form) == form
    assert canonical(unicodedata.normalize("NFD", text)) == form


@settings(deadline=None)
@given(st.text(st.sampled_from(KEPT)).filter(lambda text: "°C" not in text))
def test_canonical_text_is_never_changed(text: str) -> None:
    assert canonical(text) == text


def test_every_form_in_the_table_is_canonical() -> None:
    assert not {form for form in CANONICAL.values() if canonical(form) != form}


def test_the_table_is_sorted_and_has_only_characters_that_nfc_keeps() -> None:
    assert list(CANONICAL) == sorted(CANONICAL)
    assert not [sign for sign in CANONICAL if not unicodedata.is_normalized("NFC", sign)]
    assert json.loads(json.dumps(CANONICAL)) == CANONICAL


def test_no_composed_character_is_a_look_alike() -> None:
    """Otherwise the final normalisation could create a look-alike."""
    assert not [sign for sign in CANONICAL if unicodedata.normalize("NFD", sign) != sign]


def test_squared_wide_narrow_and_small_signs_agree_with_unicode() -> None:
    def fold(text: str) -> str:
        return unicodedata.normalize("NFKC", text).lower()

    kinds = ("<square>", "<wide>", "<narrow>", "<small>")
    checked = [sign for sign in CANONICAL if unicodedata.decomposition(sign[0]).startswith(kinds)]
    dash_for_a_dash = "\ufe58"
    differing = [sign for sign in checked if fold(sign) != fold(CANONICAL[sign])]
    assert len(checked) > 120
    assert differing == [dash_for_a_dash, "･"]  # NFKC keeps a dash, and the katakana dot


def test_every_full_width_form_of_an_ascii_character_becomes_that_character() -> None:
    twins = [char for char in EVERY_CHARACTER if unicodedata.decomposition(char).startswith("<wide>")]
    of_ascii = {char: unicodedata.normalize("NFKC", char) for char in twins}
    assert len([form for form in of_ascii.values() if "!" <= form <= "~"]) == 94
    assert all(canonical(char) == form for char, form in of_ascii.items() if form.isascii())


def test_every_space_of_unicode_becomes_a_plain_space() -> None:
    spaces = [char for char in EVERY_CHARACTER if unicodedata.category(char) == "Zs"]
    assert len(spaces) >= 17
    assert {canonical(f"가{space}나") for space in spaces} == {"가 나"}


@pytest.mark.parametrize(
    ("first", "last", "kind"),
    [(0x1100, 0x1112, "CHOSEONG"), (0x1161, 0x1175, "JUNGSEONG"), (0x11A8, 0x11C2, "JONGSEONG")],
)
def test_a_single_jamo_becomes_the_letter_of_its_name(first: int, last: int, kind: str) -> None:
    for jamo in map(chr, range(first, last + 1)):
        name = unicodedata.name(jamo).removeprefix(f"HANGUL {kind} ")
        assert unicodedata.name(canonical(jamo)) == f"HANGUL LETTER {name}"


def test_numbers_in_brackets_and_circles_keep_their_number() -> None:
    numbered = [sign for sign in CANONICAL if unicodedata.category(sign[0]) == "No"]
    assert len(numbered) == 30
    for sign in numbered:
        assert int(unicodedata.normalize("NFKC", CANONICAL[sign]).strip("()")) == unicodedata.numeric(sign)

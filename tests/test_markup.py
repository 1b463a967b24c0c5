import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.errors import LabelError
from ocr_ray.text.hangul import nfc
from ocr_ray.text.markup import to_markup, to_text

WRITTEN_BOTH_WAYS = [
    ("탁자 7개", "탁자 $7$개"),
    ("3 × 8 = 24", r"$3 \times 8 = 24$"),
    ("3×8=24", r"$3\times8=24$"),
    ("3 × 8=24", r"$3 \times 8=24$"),
    ("3× 8", r"$3\times{} 8$"),
    ("3 ×8", r"$3 \times8$"),
    ("× 8", r"$\times{} 8$"),
    ("8 ×", r"$8 \times$"),
    ("23÷4=5…3", r"$23\div4=5\cdots3$"),
    ("23 ÷ 4 = 5 … 3", r"$23 \div 4 = 5 \cdots 3$"),
    ("□ ÷ 4", r"$\square \div 4$"),
    ("□+8", r"$\square+8$"),
    ("0.25=25%", r"$0.25=25\%$"),
    ("3:4=6:8", "$3:4=6:8$"),
    ("9 < 12, 7>3", "$9 < 12$, $7>3$"),
    ("(24-3)×2", r"$(24-3)\times2$"),
    ("각도 45° + 30°", r"각도 $45^\circ + 30^\circ$"),
    ("12 cm² 5m", "$12$ cm² $5$m"),
    ("학교 3 × 8 = 나무 7개", r"학교 $3 \times 8 =$ 나무 $7$개"),
    ("3월부터 KTX3호", "$3$월부터 KTX$3$호"),
    ("안녕… (가) - 나.", "안녕… (가) - 나."),
    ("1,000원", "$1,000$원"),
    ("7.", "$7$."),
    ("5 × ☆", r"$5 \times ☆$"),
    ("{24-(3+5)}×2", r"$\{24-(3+5)\}\times2$"),
    ("42병 (사과) 3", "$42$병 (사과) $3$"),
    ("③ 42 (사과) 3", "③ $42$ (사과) $3$"),
    ("(각 ㄱㄴㄷ) = 41°", r"(각 ㄱㄴㄷ) $= 41^\circ$"),
    ("3× (나", r"$3\times$ (나"),
    ("식 ____ 답 3개", "식 ____ 답 $3$개"),
    ("㉠ 36, ① 7, 가 → 나", "㉠ $36$, ① $7$, 가 → 나"),
    ("1~5, 25 ℃, 점 ㅁ", "$1$~$5$, $25$ ℃, 점 ㅁ"),
]


@pytest.mark.parametrize(("text", "markup"), WRITTEN_BOTH_WAYS)
def test_a_printed_text_is_written_as_markup(text: str, markup: str) -> None:
    assert to_markup(text) == markup


@pytest.mark.parametrize(("text", "markup"), WRITTEN_BOTH_WAYS)
def test_markup_prints_the_text_that_it_was_written_from(text: str, markup: str) -> None:
    assert to_text(markup) == text


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        (
            '"학생들이 탁자 $7$개에 똑같이 나누어 앉으려고 합니다. 탁자 한',
            '"학생들이 탁자 7개에 똑같이 나누어 앉으려고 합니다. 탁자 한',
        ),
        (
            "개에 $6$ 명씩 앉았다면 학생은 모두 몇 명인지 $ㅁ$를 사용하여 나",
            "개에 6 명씩 앉았다면 학생은 모두 몇 명인지 □를 사용하여 나",
        ),
        (r"다음 계산에서 $3 \times 8=24$의 4를 써야 할 곳", "다음 계산에서 3 × 8=24의 4를 써야 할 곳"),
        (r"$54 \times 80$", "54 × 80"),
        (r"$3\times 8$", "3×8"),
        (r"$3~\times 8$", "3 × 8"),
        (r"$\frac{3}{4}$", "3/4"),
        (r"$2\frac{3}{4}$", "2 3/4"),
        (r"$2 \frac{3}{4}$", "2 3/4"),
        (r"${2}{\dfrac{3}{4}}$", "2 3/4"),
        (r"$\frac34$", "3/4"),
        (r"$\frac{\square}{4}+1$", "□/4+1"),
        (r"$90^\circ$ $90^{\circ}$ $90\circ$", "90° 90° 90°"),
        (r"$5 \mathrm{~cm}^2$", "5 cm²"),
        (r"$5\,\text{cm}^{3}$", "5 cm³"),
        (r"$\left( 3+4 \right)\times 2$", "( 3+4 )×2"),
        (r"$\left. 3 \right|$", "3 |"),
        (r"$1, 2, \cdots, 9$", "1, 2, …, 9"),
        (r"$1\ldots9$", "1…9"),
        (r"$\bigcirc \triangle \square$", "○ △ □"),
        (r"$3 \lt 4$ $4 \gt 3$", "3 < 4 4 > 3"),
        (r"$\{3\}$", "{3}"),
        ("$ㅁ+ㅁ=6$", "□+□=6"),
        (r"$\text{ㄱㅁ}$", "ㄱㅁ"),
        ("ㅁ를 고르세요", "ㅁ를 고르세요"),
        (r"정가의 20\% 할인, \$5", "정가의 20% 할인, $5"),
        ("  여러\n 줄\t$3$  개 ", "여러 줄 3 개"),
        ("$$", ""),
        ("", ""),
    ],
)
def test_labels_print_what_stands_on_the_page(markup: str, text: str) -> None:
    assert to_text(markup) == text


@pytest.mark.parametrize(
    ("markup", "detail"),
    [
        (r"$\begin{array}{l}3\end{array}$", r"\begin"),
        (r"$\sqrt{4}$", r"\sqrt"),
        (r"$3 \\ 4$", r"\\"),
        (r"\times 3", r"\times"),
        (r"끝 \ ", "\\ "),
        ("탁자 $7개", "$ without its partner"),
        ("$3$ $4", "$ without its partner"),
        ("${3$", "{ without its partner"),
        ("$3}$", "}"),
        ("$x_1$", "_"),
        ("$2^{10}$", "^{10}"),
        ("$2^$", "^ without what it applies to"),
        (r"$\frac{3}$", r"\frac without what it applies to"),
        (r"$\frac{1+2}{3}$", r"\frac"),
        (r"$\frac{\frac{1}{2}}{3}$", r"\frac"),
    ],
)
def test_what_has_no_printed_form_is_a_reject_that_names_it(markup: str, detail: str) -> None:
    with pytest.raises(LabelError, match="unsupported_markup") as caught:
        to_text(markup)
    assert (caught.value.reason, caught.value.detail) == ("unsupported_markup", detail)


@pytest.mark.parametrize("text", ["5$", "3\\4"])
def test_a_printed_dollar_or_backslash_is_the_mistake_of_the_caller(text: str) -> None:
    with pytest.raises(ValueError, match=f"neither \\$ nor a backslash, got {re.escape(repr(text))}"):
        to_markup(text)


@settings(deadline=None)
@given(st.text("0123456789+-×÷=□○△☆()<>:%.,…°²³/?!~^_{}#&→℃·①〈가나다ㅁ㉠abc ", max_size=30))
def test_markup_of_any_single_spaced_text_prints_that_text(drawn: str) -> None:
    text = " ".join(drawn.split())
    assert to_text(to_markup(text)) == text


@settings(deadline=None)
@given(st.text(r"$\{}^_~ 3가ㅁtimesfrac,.", max_size=20))
def test_any_label_is_printed_composed_with_single_spaces_or_is_a_reject(markup: str) -> None:
    try:
        text = to_text(markup)
    except LabelError:
        return
    assert text == nfc(" ".join(text.split()))


@pytest.mark.parametrize("markup", ["$" + "{" * 5_000 + "}" * 5_000 + "$", "$" + "^" * 5_000 + "2$"])
def test_endless_nesting_is_refused_like_any_unknown_command(markup: str) -> None:
    with pytest.raises(LabelError, match="unsupported_markup"):
        to_text(markup)

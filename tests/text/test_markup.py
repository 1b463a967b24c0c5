import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.errors import LabelError
from ocr_ray.text.canonical import canonical
from ocr_ray.text.hangul import nfc
from ocr_ray.text.markup import count_lone_mieum, split_markup, to_markup, to_text

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
    ("R&D 3&4", "R&D $3$&$4$"),
    ("글자 &lt; 와 <table>", "글자 &amp;lt; 와 &lt;table&gt;"),
    ("25° C", r"$25^\circ$ C"),
    ("줄 <br> 끝", "줄 &lt;br&gt; 끝"),
]


@pytest.mark.parametrize(("text", "markup"), WRITTEN_BOTH_WAYS)
def test_a_printed_text_becomes_markup(text: str, markup: str) -> None:
    assert to_markup(text) == markup


@pytest.mark.parametrize(("text", "markup"), WRITTEN_BOTH_WAYS)
def test_markup_gives_back_the_text_that_it_was_made_from(text: str, markup: str) -> None:
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
        (r"$\square\frac{\square}{4}$", "□ □/4"),
        (r"$\frac{ㅁ}{4}$", "□/4"),
        (r"2$\frac{3}{4}$", "2 3/4"),
        (r"$2$$\frac{3}{4}$", "2 3/4"),
        (r"$\frac{1}{2}\frac{3}{4}$", "1/2 3/4"),
        (r"$3 \div \frac{3}{4}$개", "3 ÷ 3/4개"),
        (r"$(\frac{3}{4})$", "(3/4)"),
        (r"높이 $\frac{3}{4}$", "높이 3/4"),
        (r"$90^\circ$ $90^{\circ}$ $90\circ$", "90° 90° 90°"),
        (r"$5 \mathrm{~cm}^2$", "5 cm²"),
        (r"$5\,\text{cm}^{3}$", "5 cm³"),
        (r"$\left( 3+4 \right)\times 2$", "( 3+4 )×2"),
        (r"$\left. 3 \right|$", "3 |"),
        (r"$1, 2, \cdots, 9$", "1, 2, …, 9"),
        (r"$1\ldots9$", "1…9"),
        (r"$x_1+x_{2}^2$", "x₁+x₂²"),
        (r"$a^1 b^4 c^n$", "a¹ b⁴ cⁿ"),
        (r"식 \_\_\_ $\_\_$", "식 ___ __"),
        (r"$20\%$", "20%"),
        (r"$3 \! 4\quad5$", "3 4 5"),
        (r"$\left\{3\right\}$", "{3}"),
        (r"$\mathrm{cm}^{2}$", "cm²"),
        (r"$1{,}000$원", "1,000원"),
        ("3&nbsp;&nbsp;&lt;&nbsp;4&#215;2", "3 < 4×2"),
        ("$3 &lt; 4$", "3 < 4"),
        ("&lt;보기&gt; <보기> <b>", "<보기> <보기> <b>"),
        ("가<br>나<br/>다<br />라\r\n마", "가 나 다 라 마"),
        ("$3 < a > 2$", "3 < a > 2"),
        (r"$\bigcirc \triangle \square$", "○ △ □"),
        (r"$3 \lt 4$ $4 \gt 3$", "3 < 4 4 > 3"),
        (r"$\{3\}$", "{3}"),
        ("$ㅁ+ㅁ=6$", "□+□=6"),
        (r"$\text{ㄱㅁ}$", "ㄱㅁ"),
        ("$ㄱ, ㄴ, ㄷ, ㄹ, ㅁ$", "ㄱ, ㄴ, ㄷ, ㄹ, ㅁ"),
        ("$3ㅁ$ $ㅁㅁ$ $ㅁ개$", "3□ ㅁㅁ ㅁ개"),
        ("ㄱ $ㅁ$ ㄹ", "ㄱ □ ㄹ"),
        ("ㅁ를 고르세요", "ㅁ를 고르세요"),
        (r"정가의 20\% 할인, \$5", "정가의 20% 할인, $5"),
        ("  여러\n 줄\t$3$  개 ", "여러 줄 3 개"),
        ("$$", ""),
        ("", ""),
    ],
)
def test_labels_give_the_text_printed_on_the_page(markup: str, text: str) -> None:
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
        ("$x_5$", "_{5}"),
        (r"$2^{\frac{1}{2}}$", "^{1/2}"),
        ("$x_{12}$", "_{12}"),
        ("$x_$", "_ without what it applies to"),
        ("$3 & 4$", "&"),
        ("$2^{10}$", "^{10}"),
        ("<table><tr><td>3</td></tr></table>", "<table>"),
        ('가<td class="x">', "<td>"),
        ("</div>", "<div>"),
        ("&foo;", "&foo;"),
        ("$&foo;$", "&foo;"),
        ("가\0나", "U+0000"),
        ("$3\x7f$", "U+007F"),
        ("가\ufffd", "U+FFFD"),
        ("$" + "\\" + "a" * 99 + "$", "\\" + "a" * 39),
        ("ᄒᆞᆫ글", "old Hangul or private use"),
        ("3월 나ᇙ", "old Hangul or private use"),
        ("나〮무", "old Hangul or private use"),
        ("나\ue1a2무", "old Hangul or private use"),
        ("$2^$", "^ without what it applies to"),
        (r"$\frac{3}$", r"\frac without what it applies to"),
        (r"$\frac{1+2}{3}$", r"\frac"),
        (r"$\frac{\frac{1}{2}}{3}$", r"\frac"),
    ],
)
def test_markup_without_a_printed_form_is_rejected_by_name(markup: str, detail: str) -> None:
    with pytest.raises(LabelError, match="unsupported_markup") as caught:
        to_text(markup)
    assert (caught.value.reason, caught.value.detail) == ("unsupported_markup", detail)


@pytest.mark.parametrize("text", ["5$", "3\\4"])
def test_a_printed_dollar_or_backslash_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=f"neither \\$ nor a backslash, got {re.escape(repr(text))}"):
        to_markup(text)


@pytest.mark.parametrize(
    "markup", [r"$25^\circ C$", r"$25^{\circ}\mathrm{C}$", r"$25^{\circ} \mathrm{~C}$", "$25℃$", "25ºC"]
)
def test_degrees_celsius_are_one_sign_in_canonical_form(markup: str) -> None:
    assert canonical(to_text(markup)) == "25℃"


@pytest.mark.parametrize("sign", "¹²³⁴ⁿ₁₂₃₄")
def test_superscripts_and_subscripts_are_those_of_ks_x_1001(sign: str) -> None:
    assert sign.encode("euc_kr")
    assert canonical(sign) == sign


@pytest.mark.parametrize(
    ("markup", "count"),
    [
        ("$ㅁ$를 사용하여", 1),
        ("$ㅁ+ㅁ=6$, $ㅁ$", 3),
        (r"$\frac{ㅁ}{4}$", 1),
        ("ㅁ를 고르세요", 0),
        (r"$\text{ㄱㅁ}$ $ㄱ, ㅁ$", 0),
        (r"$\square$ □", 0),
        ("", 0),
    ],
)
def test_every_mieum_read_as_a_box_is_counted(markup: str, count: int) -> None:
    assert count_lone_mieum(markup) == count


@settings(deadline=None)
@given(st.text("ㅁㄱ□$3+ ", max_size=15))
def test_printed_boxes_are_written_boxes_plus_those_counted(markup: str) -> None:
    try:
        text = to_text(markup)
    except LabelError:
        return
    assert text.count("□") == markup.count("□") + count_lone_mieum(markup)
    assert text.count("ㅁ") == markup.count("ㅁ") - count_lone_mieum(markup)


@pytest.mark.parametrize(
    ("markup", "lines"),
    [
        ("㉠ $3$\n㉡ $4$", ["㉠ $3$", "㉡ $4$"]),
        ("㉠\r\n\n ㉡ <br> ㉢<br/>㉣\r", ["㉠", "㉡", "㉢", "㉣"]),
        ("한 줄", ["한 줄"]),
        (r"$3 \neq 4$", [r"$3 \neq 4$"]),
        ("$3\n4$", ["$3", "4$"]),
        (" \n<br>", []),
        ("", []),
    ],
)
def test_a_label_of_several_lines_is_split_at_its_breaks(markup: str, lines: list[str]) -> None:
    assert split_markup(markup) == lines


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("나\t무", "나 무"),
        ("나\u200b\u2060무", "나무"),
        ("나무\ufe0e\U000e0101", "나무"),
        ("\u202e나\u061c무\u202c", "나무"),
        ("점 ﾡ과 $ￂ$", "점 ㄱ과 ㅏ"),
        ("\u1102\u200b\u1161무", "나무"),
    ],
    ids=["tab", "zero width", "variation", "bidi", "half width", "inside a syllable"],
)
def test_invisible_characters_of_a_label_are_not_printed(markup: str, text: str) -> None:
    assert to_text(markup) == text


@settings(deadline=None)
@given(st.lists(st.sampled_from(["탁자 $7$개", r"$3 \times 8=24$", "㉠ <보기>"]), max_size=4))
def test_lines_printed_separately_give_the_words_of_the_whole(lines: list[str]) -> None:
    markup = "\n".join(lines)
    assert " ".join(map(to_text, split_markup(markup))) == to_text(markup)


@settings(deadline=None)
@given(
    st.text('<>/&;#abtrdlgnspv "=39', max_size=12)
    | st.sampled_from(["<br>", "<table>", "</td>", "&lt;", "&amp;lt;", "&#39;", '<p class="3">', "<li 3>4<"])
)
def test_markup_of_a_text_that_looks_like_html_gives_that_text(drawn: str) -> None:
    text = " ".join(drawn.split())
    assert to_text(to_markup(text)) == text


@settings(deadline=None)
@given(st.text("0123456789+-×÷=□○△☆()<>:%.,…°²³/?!~^_{}#&→℃·①〈가나다ㅁ㉠abc ", max_size=30))
def test_markup_of_any_single_spaced_text_gives_that_text(drawn: str) -> None:
    text = " ".join(drawn.split())
    assert to_text(to_markup(text)) == text


@settings(deadline=None)
@given(st.text(r"$\{}^_~ 3가ㅁtimesfrac,.", max_size=20))
def test_any_label_gives_composed_text_with_single_spaces_or_is_rejected(markup: str) -> None:
    try:
        text = to_text(markup)
    except LabelError:
        return
    assert text == nfc(" ".join(text.split()))


@pytest.mark.parametrize("markup", ["$" + "{" * 5_000 + "}" * 5_000 + "$", "$" + "^" * 5_000 + "2$"])
def test_deep_nesting_is_rejected_like_any_unknown_command(markup: str) -> None:
    with pytest.raises(LabelError, match="unsupported_markup"):
        to_text(markup)

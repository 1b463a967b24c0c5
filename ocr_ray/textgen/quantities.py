"""What stands between the words of a maths problem: numbers and what they count, symbols, points, blanks."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import accumulate, product

from ocr_ray.textgen.arithmetic.expressions import draw_number
from ocr_ray.textgen.arithmetic.operations import Random
from ocr_ray.textgen.exact_length import Bag, Way, choose

_COUNTERS = """
개 명 권 마리 자루 송이 장 대 번 살 원 켤레 그루 상자 봉지 접시 컵 병 조각 쪽 줄 칸 층 바퀴 묶음
시간 일 년 주일 도 배 점 등 번째 가지 사람
"""
COUNTERS = tuple(_COUNTERS.split())
"""What is counted behind a number: `7개`."""
UNITS = ("mm", "cm", "m", "km", "cm²", "m²", "km²", "cm³", "m³", "g", "kg", "t", "mL", "L")
"""What is measured behind a number: `12 cm`."""

_MARKS: dict[str, tuple[str, ...]] = {
    "N": ("#", "##", "###"),
    "D": ("#", "##"),
    "U": UNITS,
    "K": COUNTERS,
    "H": tuple(map(str, range(1, 13))),
    "T": ("#", "$@"),
    "X": tuple("+-×÷"),
    "Q": tuple("=<>○"),
    "Y": tuple("123456789"),
    "C": tuple("①②③④⑤"),
    "G": tuple("㉠㉡㉢㉣㉤㉥"),
    "M": tuple("㉮㉯㉰㉱"),
    "J": tuple("ㄱㄴㄷㄹㅁㅂ"),
    "S": tuple("□○△☆"),
    "P": tuple("가나다라마"),
}
"""What a capital letter of a template stands for. All its readings are patterns, as likely as each other."""
_RISING = "YCGMJSP"
"""Letters that stand for ever later ones of theirs where they come several times: `㉠, ㉢`."""

# In a pattern, a run of # is a number of as many digits, @ any digit, $ one from 1 to 5.
_TEMPLATES: tuple[tuple[float, str], ...] = (
    # Numbers
    (7.0, "N|N|####|#.#|#.@#|##.#|0.#|0.@#"),
    (2.4, "1,000"),
    (2.4, "#,000|##,000|#,@@@|##,@@@|###,@@@|#,@@0,000"),
    (1.6, "N, N|D, D, D|#, #, #, #"),
    (1.6, "D, D, D, …|#, #, …|D, D, …|…"),
    (1.2, "#.|##."),
    # What they count and measure
    (9.0, "NK|N K"),
    (1.0, "몇 K|#,@@0원|##,@00원"),
    (15.0, "NU|N U"),
    (3.0, "# m ## cm|#m ##cm|# km ### m|# L ###mL|# L ### mL|# kg ### g|#kg ###g|# cm # mm|# t ### kg"),
    (3.6, "H시|H 시|H시 T분|H 시 T 분|오전 H시|오후 H시 T분"),
    (2.4, "T분|T 분|T분 T초|T 분 T 초|T초|T 초|#시간 T분"),
    (1.2, "#월|#월 #일|#월 1@일|20$@년 #월|#학년|#학년 #반|#모둠"),
    # Choices, boxes and blanks
    (6.5, "C|C N|C N|C NK|C N U|C #XD"),
    (1.4, "(1)"),
    (2.4, "(Y)|(Y)|(D)|(P)"),
    (2.6, "( )|( ) K|( )U|(D U)|(N K)"),
    (1.8, "〈보기〉"),
    (2.0, "식 ____"),
    (1.4, "답 ____개"),
    (2.0, "답 ____|답 ____K|답 ____ U"),
    # What stands for a number, a thing, a point
    (8.0, "G|G N|G N|G, G|G+G=N|G × G|G = D|G: D|G - G"),
    (5.5, "M|M, M|M D|M Q M|M ÷ M|M = D|M: D U"),
    (4.0, "J, J|J, J, J|J. D|점 J"),
    (4.0, "선분 JJ|직선 JJ|변 JJ|각 JJJ|삼각형 JJJ|사각형 JJJJ|(각 JJJ) = ##°"),
    (7.5, "S|S X S|D X S|S X D = D|S = D|S + S = D|S - S|S × D|SK"),
    (1.8, "P, P|P → P|P Q P|P X P"),
    # Signs between and behind numbers
    (2.2, "D Q D|N Q N|DXD|D X D|N X D|D < S < N"),
    (2.4, "{ D }|{ D }|{D-(#+#)}×#|{ (D + #) × # }|D-{ D - # }|#×{D+#}"),
    (2.2, "Y:Y|Y : Y|D : D|D:D|Y:Y:Y"),
    (2.2, "Y~Y|Y ~ Y|#~1#|1#~3#|##~1##|Y~YK"),
    (2.2, "##°|90°|180°|1$#°|##°+##°|##° - ##°"),
    (1.8, "D ℃|D℃|-# ℃"),
    (2.0, "D%|D %|##.#%"),
    (2.0, "→|D → D|D→D|G → G|P→P|D → D → D"),
)
"""How often, and how: templates, of which each is as likely as the others beside it."""

_RUN = re.compile(r"#+|[@$]|[^#@$]+")
_WORD = re.compile(r"[가-힣A-Za-z]+")


def _list_readings(template: str) -> Iterator[str]:
    """Yield the patterns that a template stands for."""
    for reading in product(*(_MARKS.get(letter, (letter,)) for letter in template)):
        taken = list(zip(template, reading, strict=True))
        if all(
            [sign for letter, sign in taken if letter == rising]
            == sorted({sign for letter, sign in taken if letter == rising}, key=_MARKS[rising].index)
            for rising in set(_RISING).intersection(template)
        ):
            yield "".join(reading)


def _list_patterns() -> Iterator[tuple[str, float]]:
    """Yield every pattern with its share."""
    for share, templates in _TEMPLATES:
        for template in templates.split("|"):
            readings = list(_list_readings(template))
            for pattern in readings:
                yield pattern, share / len(templates.split("|")) / len(readings)


_PATTERNS = tuple(_list_patterns())
_ALL = " ".join(pattern for pattern, _ in _PATTERNS)
CHARACTERS = frozenset(_ALL).union("0123456789") - frozenset("#@$")
"""Every character that a figure may hold."""
WORDS = frozenset(_WORD.findall(_ALL))
"""Every word that a figure may hold, such as `개`, `cm` and `보기`."""


@lru_cache(maxsize=4)
def make_figures(characters: frozenset[str]) -> Bag:
    """Return the figures that need no character outside the set, which holds the digits."""
    return Bag(
        Way(len(pattern), share, partial(_write, _cut(pattern)))
        for pattern, share in _list_printable(characters)
    )


def make_focused_figures(
    characters: frozenset[str], signs: Mapping[str, float], digits: Mapping[tuple[str, ...], float]
) -> Bag:
    """Return figures of which some are taken for what they hold, the others as often as ever to each other.

    `signs` are the shares of figures that are to hold a sign; `digits` of those with numbers in which half of
    the digits are of a set, such as `68`.
    """
    usual = list(_list_printable(characters))
    shares_held = {sign: sum(share for pattern, share in usual if sign in pattern) for sign in signs}
    signs = {sign: share / shares_held[sign] for sign, share in signs.items() if shares_held[sign]}
    focused = [share * sum(signs[sign] for sign in signs if sign in pattern) for pattern, share in usual]
    digits_share = sum(digits.values())
    numbers = [(pattern, share) for pattern, share in usual if _is_any_number(pattern)]
    write_digits = partial(_write_digits, tuple(digits), tuple(accumulate(digits.values())))
    left = (1 - sum(focused) - digits_share) / sum(share for _, share in usual)
    of_numbers = digits_share / sum(share for _, share in numbers)
    ways = [
        Way(len(pattern), share * left + more, partial(_write, _cut(pattern)))
        for (pattern, share), more in zip(usual, focused, strict=True)
    ]
    ways += [
        Way(len(pattern), share * of_numbers, partial(write_digits, _cut(pattern)))
        for pattern, share in numbers
    ]
    return Bag(ways)


def _list_printable(characters: frozenset[str]) -> Iterator[tuple[str, float]]:
    """Yield the patterns that need no character outside the set, with their shares."""
    for pattern, share in _PATTERNS:
        if characters.issuperset(pattern.translate({ord(slot): None for slot in "#@$"})):
            yield pattern, share


def _is_any_number(pattern: str) -> bool:
    """Return whether all digits of a figure are free, unlike those of months and hours."""
    return "#" in pattern and not any(char in "@$" or char.isdigit() for char in pattern)


def _cut(pattern: str) -> tuple[str, ...]:
    return tuple(_RUN.findall(pattern))


def _write_digits(
    sets: Sequence[tuple[str, ...]], shares_so_far: Sequence[float], runs: tuple[str, ...], random: Random
) -> str:
    """Return a figure of which each digit is, at evens, one of a set; a number still begins with no 0."""
    digits = sets[choose(shares_so_far, random)]
    text = ""
    for char in _write(runs, random):
        if char.isdecimal() and random() < 0.5:
            other = digits[int(random() * len(digits))]
            char = other if other != "0" or text[-1:].isdecimal() else char
        text += char
    return text


def _write(runs: tuple[str, ...], random: Random) -> str:
    text = ""
    for run in runs:
        if run == "#":
            text += "123456789"[int(random() * 9)]
        elif run[0] == "#":
            text += draw_number(random, len(run))
        elif run == "@":
            text += "0123456789"[int(random() * 10)]
        elif run == "$":
            text += "12345"[int(random() * 5)]
        else:
            text += run
    return text

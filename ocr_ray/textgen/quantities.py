"""Quantities as in maths problems: numbers with counters and units, symbols, points and blanks."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import accumulate, product

from ocr_ray.textgen.exact_length import Option, WeightedChoice, choose
from ocr_ray.textgen.random_numbers import Random, draw_number

_COUNTERS = """
개 명 권 마리 자루 송이 장 대 번 살 원 켤레 그루 상자 봉지 접시 컵 병 조각 쪽 줄 칸 층 바퀴 묶음
시간 일 년 주일 도 배 점 등 번째 가지 사람
"""
COUNTERS = tuple(_COUNTERS.split())
"""Counters that follow a number, as in `7개`."""
UNITS = ("mm", "cm", "m", "km", "cm²", "m²", "km²", "cm³", "m³", "g", "kg", "t", "mL", "L")
"""Units that follow a number, as in `12 cm`."""

_REPLACEMENTS: dict[str, tuple[str, ...]] = {
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
"""Replacements of a capital letter in a template; the resulting patterns are equally likely."""
_RISING = "YCGMJSP"
"""Letters whose replacements in one template rise from left to right, as in `㉠, ㉢`."""

# In a pattern, a run of # is a number of that many digits, @ is any digit, $ is a digit from 1 to 5.
_TEMPLATES: tuple[tuple[float, str], ...] = (
    # Numbers
    (7.0, "N|N|####|#.#|#.@#|##.#|0.#|0.@#"),
    (2.4, "1,000"),
    (2.4, "#,000|##,000|#,@@@|##,@@@|###,@@@|#,@@0,000"),
    (1.6, "N, N|D, D, D|#, #, #, #"),
    (1.6, "D, D, D, …|#, #, …|D, D, …|…"),
    (1.2, "#.|##."),
    # Numbers with counters and units
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
    # Symbols for numbers, things and points
    (8.0, "G|G N|G N|G, G|G+G=N|G × G|G = D|G: D|G - G"),
    (5.5, "M|M, M|M D|M Q M|M ÷ M|M = D|M: D U"),
    (4.0, "J, J|J, J, J|J. D|점 J"),
    (4.0, "선분 JJ|직선 JJ|변 JJ|각 JJJ|삼각형 JJJ|사각형 JJJJ|(각 JJJ) = ##°"),
    (7.5, "S|S X S|D X S|S X D = D|S = D|S + S = D|S - S|S × D|SK"),
    (1.8, "P, P|P → P|P Q P|P X P"),
    # Signs between and after numbers
    (2.2, "D Q D|N Q N|DXD|D X D|N X D|D < S < N"),
    (2.4, "{ D }|{ D }|{D-(#+#)}×#|{ (D + #) × # }|D-{ D - # }|#×{D+#}"),
    (2.2, "Y:Y|Y : Y|D : D|D:D|Y:Y:Y"),
    (2.2, "Y~Y|Y ~ Y|#~1#|1#~3#|##~1##|Y~YK"),
    (2.2, "##°|90°|180°|1$#°|##°+##°|##° - ##°"),
    (1.8, "D ℃|D℃|-# ℃"),
    (2.0, "D%|D %|##.#%"),
    (2.0, "→|D → D|D→D|G → G|P→P|D → D → D"),
)
"""Relative frequency and templates, separated by `|` and equally likely."""

_RUN = re.compile(r"#+|[@$]|[^#@$]+")
_WORD = re.compile(r"[가-힣A-Za-z]+")


def _expand_template(template: str) -> Iterator[str]:
    """Yield the patterns of a template."""
    for replacements in product(*(_REPLACEMENTS.get(letter, (letter,)) for letter in template)):
        pairs = list(zip(template, replacements, strict=True))
        if all(
            [sign for letter, sign in pairs if letter == rising]
            == sorted({sign for letter, sign in pairs if letter == rising}, key=_REPLACEMENTS[rising].index)
            for rising in set(_RISING).intersection(template)
        ):
            yield "".join(replacements)


def _list_patterns() -> Iterator[tuple[str, float]]:
    """Yield every pattern with its relative frequency."""
    for weight, templates in _TEMPLATES:
        for template in templates.split("|"):
            patterns = list(_expand_template(template))
            for pattern in patterns:
                yield pattern, weight / len(templates.split("|")) / len(patterns)


_PATTERNS = tuple(_list_patterns())
_ALL = " ".join(pattern for pattern, _ in _PATTERNS)
CHARACTERS = frozenset(_ALL).union("0123456789") - frozenset("#@$")
"""Every character that a quantity can contain."""
WORDS = frozenset(_WORD.findall(_ALL))
"""Every word that a quantity can contain, such as `개`, `cm` and `보기`."""


@lru_cache(maxsize=4)
def make_quantities(characters: frozenset[str]) -> WeightedChoice:
    """Return the quantities that are made of the given characters, which include the digits."""
    return WeightedChoice(
        Option(len(pattern), weight, partial(_fill, _split_runs(pattern)))
        for pattern, weight in _list_printable(characters)
    )


def make_focused_quantities(
    characters: frozenset[str], signs: Mapping[str, float], digits: Mapping[tuple[str, ...], float]
) -> WeightedChoice:
    """Return quantities that contain the given signs and digits more often than usual.

    `signs` gives the share of quantities chosen for a sign, `digits` the share of those chosen for a set
    of digits, such as `68`, in which half of the digits are from the set. The rest keep their relative
    frequencies.
    """
    usual = list(_list_printable(characters))
    totals = {sign: sum(weight for pattern, weight in usual if sign in pattern) for sign in signs}
    factors = {sign: share / totals[sign] for sign, share in signs.items() if totals[sign]}
    focused = [
        weight * sum(factors[sign] for sign in factors if sign in pattern) for pattern, weight in usual
    ]
    digits_share = sum(digits.values())
    numbers = [(pattern, weight) for pattern, weight in usual if _has_free_digits(pattern)]
    fill_digits = partial(_fill_digits, tuple(digits), tuple(accumulate(digits.values())))
    usual_factor = (1 - sum(focused) - digits_share) / sum(weight for _, weight in usual)
    number_factor = digits_share / sum(weight for _, weight in numbers)
    options = [
        Option(len(pattern), weight * usual_factor + more, partial(_fill, _split_runs(pattern)))
        for (pattern, weight), more in zip(usual, focused, strict=True)
    ]
    options += [
        Option(len(pattern), weight * number_factor, partial(fill_digits, _split_runs(pattern)))
        for pattern, weight in numbers
    ]
    return WeightedChoice(options)


def _list_printable(characters: frozenset[str]) -> Iterator[tuple[str, float]]:
    """Yield the patterns that are made of the given characters, with their relative frequencies."""
    for pattern, weight in _PATTERNS:
        if characters.issuperset(pattern.translate({ord(slot): None for slot in "#@$"})):
            yield pattern, weight


def _has_free_digits(pattern: str) -> bool:
    """Return whether a pattern has digits and all of them are free, unlike those of months and hours."""
    return "#" in pattern and not any(char in "@$" or char.isdigit() for char in pattern)


def _split_runs(pattern: str) -> tuple[str, ...]:
    return tuple(_RUN.findall(pattern))


def _fill_digits(
    sets: Sequence[tuple[str, ...]], cumulative: Sequence[float], runs: tuple[str, ...], random: Random
) -> str:
    """Return a quantity whose digits are, half of them at random, from one of the sets; without leading 0."""
    digits = sets[choose(cumulative, random)]
    text = ""
    for char in _fill(runs, random):
        if char.isdecimal() and random() < 0.5:
            other = digits[int(random() * len(digits))]
            char = other if other != "0" or text[-1:].isdecimal() else char
        text += char
    return text


def _fill(runs: tuple[str, ...], random: Random) -> str:
    """Return a pattern with random digits in its slots."""
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

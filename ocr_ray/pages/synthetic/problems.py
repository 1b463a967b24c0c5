"""Elementary maths problems of grades 3 to 6 for synthetic pages: templates with random numbers and nouns."""

from dataclasses import dataclass

import numpy as np

NAMES = ("재형", "민준", "서연", "지민", "도윤", "수빈", "예준", "채원", "하람", "은솔")
"""All end in a consonant, as the particles in the templates require."""
THINGS = ("사과", "구슬 주머니", "지우개", "딸기", "쿠키", "단추", "종이배", "고구마", "색종이 고리", "배지")
"""All end in a vowel and are counted with 개."""
PLACES = ("학교", "도서관 휴게소", "체육 센터", "박물관 가게", "문구 코너", "과일 가게", "꽃 가게", "놀이터")
"""All end in a vowel."""
SHAPES = ("삼각형", "사각형", "오각형", "육각형", "팔각형")
CHOICE_SIGNS = ("①", "②", "③", "④", "⑤")


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticProblem:
    """A maths problem in AI Hub's markup, with maths in `$…$`."""

    grade: int
    term: int
    unit: int
    topic: int
    topic_name: str
    parts: tuple[str, ...]
    """The question and, for some problems, the choices; each starts a new line."""
    has_figure: bool

    @property
    def markup(self) -> str:
        return " ".join(self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Template:
    course: tuple[int, int, int]
    """Grade, term and unit."""
    topic_name: str
    question: str
    """Has `{a} {b} {c}` for numbers and `{name} {other} {thing} {place} {shape}` for nouns."""
    ranges: tuple[tuple[int, int], ...] = ()
    """The first and last value of each number."""
    choice: str = ""
    """Text of each of the five choices, with `{n}` for its number; empty: no choices."""
    has_figure: bool = False


def make_problem(rng: np.random.Generator) -> SyntheticProblem:
    """Return a problem of a random template."""
    topic = int(rng.integers(len(_TEMPLATES)))
    template = _TEMPLATES[topic]
    numbers = [int(rng.integers(first, last + 1)) for first, last in template.ranges]
    name, other = (NAMES[i] for i in rng.permutation(len(NAMES))[:2])
    question = template.question.format(
        **dict(zip("abc", numbers, strict=False)),
        name=name,
        other=other,
        thing=_pick(rng, THINGS),
        place=_pick(rng, PLACES),
        shape=_pick(rng, SHAPES),
    )
    grade, term, unit = template.course
    return SyntheticProblem(
        grade=grade,
        term=term,
        unit=unit,
        topic=topic + 1,
        topic_name=template.topic_name,
        parts=(question, _make_choices(rng, template.choice)) if template.choice else (question,),
        has_figure=template.has_figure,
    )


def _pick(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def _make_choices(rng: np.random.Generator, choice: str) -> str:
    first, step = int(rng.integers(12, 400)), int(rng.integers(1, 30))
    return " ".join(
        f"{sign} {choice.format(n=first + rank * step)}" for rank, sign in enumerate(CHOICE_SIGNS)
    )


_TEMPLATES = (
    _Template(
        course=(3, 1, 1),
        topic_name="덧셈과 뺄셈",
        question=(
            "{name}이네 {place}에는 {thing}가 ${a}$개 있었습니다. 오늘 ${b}$개를 더 가져왔다면 "
            "{thing}는 모두 몇 개인지 구해 보세요."
        ),
        ranges=((105, 599), (101, 399)),
    ),
    _Template(
        course=(3, 1, 1),
        topic_name="덧셈과 뺄셈",
        question="다음을 계산해 보세요. ${a} + {b}$",
        ranges=((105, 599), (101, 399)),
    ),
    _Template(
        course=(3, 1, 1),
        topic_name="덧셈과 뺄셈",
        question=r"$\square$ 안에 알맞은 수를 고르세요. $\square - {a} = {b}$",
        ranges=((105, 499), (101, 399)),
        choice="${n}$",
    ),
    _Template(
        course=(3, 1, 1),
        topic_name="덧셈과 뺄셈",
        question=(
            "{name}이는 {thing}를 ${a}$개 모았고, {other}이는 {name}이보다 ${b}$개 더 적게 "
            "모았습니다. 두 사람이 모은 {thing}는 모두 몇 개일까요?"
        ),
        ranges=((301, 899), (101, 299)),
    ),
    _Template(
        course=(3, 1, 3),
        topic_name="나눗셈",
        question=(
            "{thing} ${a}$개를 ${b}$명에게 똑같이 나누어 주려고 합니다. 한 명에게 몇 개씩 줄 수 "
            r"있는지 $\square$를 사용하여 나눗셈식으로 나타내고 답을 구해 보세요."
        ),
        ranges=((24, 72), (2, 9)),
    ),
    _Template(
        course=(3, 1, 3),
        topic_name="나눗셈",
        question=(
            "학생들이 탁자 ${a}$개에 똑같이 나누어 앉으려고 합니다. 탁자 한 개에 ${b}$명씩 "
            r"앉았다면 학생은 모두 몇 명인지 $\square$를 사용하여 나눗셈식으로 나타내고 전체 학생 "
            "수를 구해 보세요."
        ),
        ranges=((3, 9), (2, 8)),
    ),
    _Template(
        course=(3, 1, 3),
        topic_name="나눗셈",
        question=(
            r"몫이 가장 큰 나눗셈식은 어느 것인지 기호를 써 보세요. ㉠ ${a} \div {b}$ ㉡ ${c} \div "
            "{b}$"
        ),
        ranges=((40, 80), (2, 8), (40, 80)),
    ),
    _Template(
        course=(3, 1, 4),
        topic_name="곱셈",
        question=r"빈칸에 알맞은 수를 써넣으세요. ${a} \times {b} = \square$",
        ranges=((12, 49), (2, 9)),
    ),
    _Template(
        course=(3, 1, 4),
        topic_name="곱셈",
        question=(
            "{name}이는 하루에 줄넘기를 ${a}$번씩 합니다. {name}이가 ${b}$주일 동안 한 줄넘기는 "
            "모두 몇 번인지 고르세요."
        ),
        ranges=((20, 80), (2, 6)),
        choice="${n}$번",
    ),
    _Template(
        course=(3, 1, 5),
        topic_name="길이와 시간",
        question=(
            "{name}이네 집에서 {place}까지의 거리는 ${a}$ m이고, {place}에서 {other}이네 집까지의 "
            "거리는 ${b}$ m입니다. 두 거리의 합은 몇 km 몇 m일까요?"
        ),
        ranges=((510, 990), (520, 980)),
    ),
    _Template(
        course=(3, 2, 1),
        topic_name="곱셈",
        question=(
            r"다음 계산에서 잘못된 곳을 찾아 바르게 계산하고, 그 까닭을 써 보세요. ${a} \times {b} "
            "= {c}$"
        ),
        ranges=((123, 399), (3, 9), (1000, 3000)),
    ),
    _Template(
        course=(3, 2, 3),
        topic_name="원",
        question="오른쪽 그림을 보고 지름이 ${a}$ cm인 원의 반지름은 몇 cm인지 구해 보세요.",
        ranges=((4, 40),),
        has_figure=True,
    ),
    _Template(
        course=(4, 1, 1),
        topic_name="큰 수",
        question="${a}$에서 천의 자리 숫자가 나타내는 값은 얼마일까요?",
        ranges=((12345, 98765),),
    ),
    _Template(
        course=(4, 1, 3),
        topic_name="곱셈과 나눗셈",
        question=(
            "{place}에서 한 상자에 ${a}$개씩 들어 있는 {thing}를 ${b}$상자 샀습니다. 산 {thing}는 "
            "모두 몇 개인지 식을 쓰고 답을 구해 보세요."
        ),
        ranges=((112, 480), (12, 48)),
    ),
    _Template(
        course=(4, 1, 3),
        topic_name="곱셈과 나눗셈",
        question=r"${a} \div {b}$의 몫과 나머지를 차례로 구해 보세요.",
        ranges=((201, 899), (11, 79)),
    ),
    _Template(
        course=(4, 2, 3),
        topic_name="소수의 덧셈과 뺄셈",
        question=(
            "물통에 물이 ${a}.{b}$ L 들어 있습니다. 이 중에서 $1.{c}$ L를 사용했다면 남은 물은 몇 "
            "L인지 구해 보세요."
        ),
        ranges=((3, 9), (10, 95), (11, 89)),
    ),
    _Template(
        course=(4, 2, 6),
        topic_name="다각형",
        question=(
            "한 변의 길이가 ${a}$ cm인 정{shape}이 있습니다. 이 도형의 모든 변의 길이의 합은 몇 cm일까요?"
        ),
        ranges=((3, 19),),
        choice="${n}$ cm",
        has_figure=True,
    ),
    _Template(
        course=(5, 1, 1),
        topic_name="자연수의 혼합 계산",
        question=r"계산 순서를 나타내고 계산해 보세요. ${a} - ({b} + 2) \times {c} \div 2$",
        ranges=((60, 99), (3, 9), (2, 6)),
    ),
    _Template(
        course=(5, 1, 1),
        topic_name="자연수의 혼합 계산",
        question=(
            "{name}이는 ${a}$원으로 한 개에 ${b}$원인 {thing}를 ${c}$개 샀습니다. 남은 돈이 "
            "얼마인지 하나의 식으로 나타내어 구하고, 알맞은 것을 고르세요."
        ),
        ranges=((5000, 9000), (250, 850), (2, 5)),
        choice="${n}$원",
    ),
    _Template(
        course=(5, 1, 2),
        topic_name="약수와 배수",
        question="${a}$의 약수를 모두 구하고, 약수가 모두 몇 개인지 써 보세요.",
        ranges=((12, 60),),
    ),
    _Template(
        course=(5, 2, 4),
        topic_name="소수의 곱셈",
        question=(
            "가로가 $0.{a}$ m, 세로가 ${b}.{c}$ m인 직사각형 모양의 종이가 있습니다. 이 종이의 "
            "넓이는 몇 m²인지 구해 보세요."
        ),
        ranges=((11, 95), (1, 4), (1, 9)),
        has_figure=True,
    ),
    _Template(
        course=(6, 1, 4),
        topic_name="비와 비율",
        question=(
            "{name}이네 반 학생 ${a}$명 중에서 ${b}$명이 안경을 썼습니다. 전체 학생 수에 대한 "
            "안경을 쓴 학생 수의 비율은 몇 %일까요?"
        ),
        ranges=((20, 40), (4, 18)),
        choice="${n}$ %",
    ),
    _Template(
        course=(6, 2, 3),
        topic_name="공간과 입체",
        question=(
            "쌓기나무 ${a}$개로 만든 모양을 위, 앞, 옆에서 본 것입니다. 쌓기나무를 ${b}$개 더 "
            "쌓는다면 모두 몇 개가 되는지 구해 보세요."
        ),
        ranges=((6, 12), (2, 8)),
        has_figure=True,
    ),
    _Template(
        course=(6, 2, 4),
        topic_name="비례식과 비례배분",
        question=(
            r"비례식의 성질을 이용하여 $\square$ 안에 알맞은 수를 구해 보세요. ${a} : {b} = \square "
            ": {c}$"
        ),
        ranges=((2, 9), (2, 9), (12, 81)),
    ),
    _Template(
        course=(6, 2, 4),
        topic_name="비례식과 비례배분",
        question=(
            "{thing} ${a}$개를 {name}이와 {other}이가 ${b} : {c}$로 나누어 가지려고 합니다. "
            "{name}이가 갖는 {thing}는 몇 개일까요?"
        ),
        ranges=((24, 96), (2, 5), (2, 7)),
    ),
)

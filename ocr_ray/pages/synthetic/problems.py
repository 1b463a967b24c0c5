"""Elementary maths problems of grades 3 to 6 for synthetic pages: templates with random numbers and nouns."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np

from ocr_ray.storage.strict_json import parse_json

NAMES = ("재형", "민준", "서연", "지민", "도윤", "수빈", "예준", "채원", "하람", "은솔")
"""All end in a consonant, as the particles in the templates require."""
THINGS = ("사과", "구슬 주머니", "지우개", "딸기", "쿠키", "단추", "종이배", "고구마", "색종이 고리", "배지")
"""All end in a vowel and are counted with 개."""
PLACES = ("학교", "도서관 휴게소", "체육 센터", "박물관 가게", "문구 코너", "과일 가게", "꽃 가게", "놀이터")
"""All end in a vowel."""
SHAPES = ("삼각형", "사각형", "오각형", "육각형", "팔각형")
CHOICE_SIGNS = ("①", "②", "③", "④", "⑤")

Templates = Literal["all", "train", "held_out"]
"""Which templates: train and held_out have none in common."""
HELD_OUT_STEP = 4
"""Every fourth template is held out, from the first: 7 of 25."""


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
    course: Sequence[int]
    """Grade, term and unit."""
    topic_name: str
    question: str
    """Has `{a} {b} {c}` for numbers and `{name} {other} {thing} {place} {shape}` for nouns."""
    ranges: Sequence[Sequence[int]] = ()
    """The first and last value of each number."""
    choice: str = ""
    """Text of each of the five choices, with `{n}` for its number; empty: no choices."""
    has_figure: bool = False


def make_problem(rng: np.random.Generator, templates: Templates = "all") -> SyntheticProblem:
    """Return a problem of a random template. Its topic is the number of the template, from 1."""
    topics = list_topics(templates)
    topic = topics[int(rng.integers(len(topics)))]
    template = _read_templates()[topic - 1]
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
        topic=topic,
        topic_name=template.topic_name,
        parts=(question, _make_choices(rng, template.choice)) if template.choice else (question,),
        has_figure=template.has_figure,
    )


def list_topics(templates: Templates) -> list[int]:
    """Return the topics of the problems that are made of some templates."""
    topics = range(1, len(_read_templates()) + 1)
    held_out = topics[::HELD_OUT_STEP]
    chosen = {"all": topics, "train": sorted({*topics} - {*held_out}), "held_out": held_out}
    return list(chosen[templates])


def _pick(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def _make_choices(rng: np.random.Generator, choice: str) -> str:
    first, step = int(rng.integers(12, 400)), int(rng.integers(1, 30))
    return " ".join(
        f"{sign} {choice.format(n=first + rank * step)}" for rank, sign in enumerate(CHOICE_SIGNS)
    )


@cache
def _read_templates() -> tuple[_Template, ...]:
    """Return the templates of `problems.jsonl`, one a line."""
    lines = resources.files("ocr_ray.pages.synthetic").joinpath("problems.jsonl").read_text(encoding="utf-8")
    return tuple(_Template(**parse_json(line)) for line in lines.splitlines())

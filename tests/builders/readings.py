"""Lines with their predictions, and fake models with known faults."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ocr_ray.evaluation.alignment import align
from ocr_ray.evaluation.readings import Reading
from ocr_ray.randomness import keyed_generator

# A problem cut into three boxes, and the predictions of a model that depended on context.
EXAMPLE_PAIRS = [
    (
        "학생들이 탁자 $7$개에 똑같이 나누어 앉으려고 합니다. 탁자 한",
        "학생들이 탁자 $7$ 개에 똑같이 나누어 앉으려고 합니다. 탁자 한 개에",
    ),
    (
        "개에 $6$ 명씩 앉았다면 학생은 모두 몇 명인지 $ㅁ$를 사용하여 나",
        "$재형$ $6$ 명이와 $7$ 중 직각삼각형 $2$를",
    ),
    ("눗셈식으로 나타내고 전체 학생 수를 구해 보세요.", "눗셈식으로 나타내고, $4$를 구해 보세요."),
]
EXAMPLE_PROBLEM = (
    "학생들이 탁자 $7$개에 똑같이 나누어 앉으려고 합니다. 탁자 한 개에 $6$ 명씩 앉았다면 학생은 모두 "
    "몇 명인지 $ㅁ$를 사용하여 나눗셈식으로 나타내고 전체 학생 수를 구해 보세요."
)

FakeModel = Callable[[str], str]
"""Returns the prediction for a line from its reference."""


def make_reading(reference: str, prediction: str, **facts: Any) -> Reading:
    values = {"dataset": "crops", "line_id": "0", "source": "page", **facts}
    return Reading(alignment=align(reference, prediction), **values)


def make_page(page_id: str, pairs: Iterable[tuple[str, str]]) -> list[Reading]:
    """Return the boxes of a page in reading order from pairs of reference and prediction."""
    return [
        make_reading(*pair, line_id=f"{page_id}#{order}", page_id=page_id, page_order=order)
        for order, pair in enumerate(pairs)
    ]


def read_example() -> list[Reading]:
    return make_page("page", EXAMPLE_PAIRS)


def read_with(model: FakeModel, references: Iterable[str], **facts: Any) -> list[Reading]:
    return [
        make_reading(reference, model(reference), line_id=str(number), **facts)
        for number, reference in enumerate(references)
    ]


def make_references(count: int, words: Sequence[str], seed: int = 0) -> list[str]:
    """Return lines of 4 to 8 of the words."""
    rng = keyed_generator(seed, "truths", 0)
    return [" ".join(rng.choice(words, int(rng.integers(4, 9)))) for _ in range(count)]

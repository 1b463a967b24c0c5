"""What the model never saw in training, counted by hand."""

from builders.readings import make_reading

from ocr_ray.evaluation.analysis.holdout import Holdout, find_topic
from ocr_ray.evaluation.analysis.seen_words import SeenWords
from ocr_ray.evaluation.analysis.slices import SliceInputs
from ocr_ray.evaluation.analysis.whole_problems import ProblemText
from ocr_ray.text.numbers import find_long_numbers, mask_numbers

TRAINED = ["사과는 1,000원, 12개", "둘레 345"]
PAGES = {"P3_1_01_00002_00007": "사과 7개는 몇 원?", "P3_1_01_00009_00008": "원의 둘레?"}
LINES = [
    make_reading("사과는 1000원", "", font="바탕"),
    make_reading("(둘레) 999 + 999", "", font="굴림"),
    make_reading("새우 12", "", dataset="crops", page_id="P3_1_01_00002_00007"),
    make_reading("새우 새", "", dataset="crops", page_id="P3_1_01_00009_00008"),
    make_reading("=", ""),
]


def describe(**known: object) -> dict[str, object]:
    problems = {"crops": {page: ProblemText(text, True) for page, text in PAGES.items()}}
    holdout = Holdout(SliceInputs(problems=problems, **known))  # type: ignore[arg-type]
    holdout.add(LINES[:2])
    holdout.add(LINES[2:])
    return holdout.describe()


def row(lines: int, unseen: int | None, different: int | None) -> dict[str, float | None]:
    share = None if unseen is None else unseen / lines
    return {
        "lines": lines,
        "lines_with_unseen": unseen,
        "unseen_share": share,
        "different_unseen": different,
    }


def test_lines_with_something_that_training_never_had_are_counted() -> None:
    assert describe(
        training_words=SeenWords(TRAINED),
        training_numbers=SeenWords(TRAINED, find_words=find_long_numbers),
        training_fonts={"바탕"},
        training_problems={mask_numbers("사과 123개는  몇 원?")},
        training_topics={"P3_1_01_00009"},
        training_datasets=("/data/lines",),
        base_model="tiny",
    ) == {
        "training_data": "/data/lines",
        "base_model": "tiny",
        "fonts": row(2, 1, 1),
        "words": row(4, 2, 2),  # 새우 and 새; 둘레 is seen in brackets, 1000원 is a number
        "numbers": row(2, 1, 1),  # 999
        "problems": row(2, 1, 1),
        "topics": row(2, 1, 1),
    }


def test_what_is_not_known_of_the_training_is_said() -> None:
    unknown = describe()
    assert unknown["training_data"] == unknown["base_model"] == "unknown"
    assert unknown["words"] == row(4, None, None)
    assert unknown["topics"] == row(2, None, None)


def test_a_topic_is_that_of_a_page_id_of_71716() -> None:
    assert find_topic("P3_1_01_00002_00007") == "P3_1_01_00002"
    assert find_topic("S3_초등_3_000001") is None

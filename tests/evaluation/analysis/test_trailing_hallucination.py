import pytest
from builders.readings import make_page, make_reading, make_references, read_example

from ocr_ray.evaluation.analysis.trailing_hallucination import (
    TrailingHallucination,
    TrailingHallucinationCounts,
    is_spill,
)
from ocr_ray.evaluation.readings import Reading


def count(*parts: list[Reading]) -> TrailingHallucinationCounts:
    metric = TrailingHallucination()
    for part in parts:
        metric.add(part)
    return metric.counts()


def test_one_box_of_the_example_spills_into_the_next_as_counted_by_hand() -> None:
    counts = count(read_example())
    assert counts == TrailingHallucinationCounts(
        lines=3,
        characters=36 + 39 + 27,
        overread_lines=1,
        overread_characters=3,  # ` 개에`
        followed_lines=1,
        spill_lines=1,
        spill_characters=3,
    )
    report = counts.describe()
    assert (report["overread_rate"], report["spill_rate"]) == (pytest.approx(1 / 3), 1.0)


@pytest.mark.parametrize(
    ("tail", "next_box", "spills"),
    [
        (" 개에", "개에 $6$ 명씩", True),
        ("개에 $6", "개에 $6$ 명씩", True),
        ("개에$6$", "개에 $6$ 명씩", True),
        (" 개에 둘", "개에", True),  # the whole box and more
        (" 명씩", "개에 $6$ 명씩", False),
        (" ", "개에", False),
        ("개에", "", False),
    ],
)
def test_spill_is_the_start_of_the_next_box(tail: str, next_box: str, spills: bool) -> None:
    assert is_spill(tail, next_box) == spills


def test_a_model_that_continues_the_sentence_spills_and_one_that_invents_an_ending_does_not() -> None:
    texts = make_references(20, ["사과", "직각", "나머지", "둘레", "길이"])
    next_texts = [*texts[1:], "끝이다"]
    continued = [(text, f"{text} {following[:4]}") for text, following in zip(texts, next_texts, strict=True)]
    invented = [(text, f"{text}#구하시오") for text in texts]
    for pairs, rates in [
        (continued, (1.0, 1.0)),
        (invented, (1.0, 0.0)),
        (list(zip(texts, texts, strict=True)), (0.0, None)),
    ]:
        report = count(make_page("a", pairs)).describe()
        assert (report["overread_rate"], report["spill_rate"]) == rates


def test_the_next_box_belongs_to_the_same_page_and_can_come_in_any_part() -> None:
    first, second = make_page("a", [("탁자 한", "탁자 한 개에"), ("개에 6명", "개에 6명")])
    (other,) = make_page("b", [("개에", "개에")])
    assert count([first], [second]) == count([second], [first]) == count([first, second])
    assert count([first, second]).spill_lines == 1
    assert count([first, other]).followed_lines == 0
    rendered = make_reading("탁자 한", "탁자 한 개에", source="words")
    assert count([rendered, second]).followed_lines == 0


def test_no_lines_give_no_rates() -> None:
    report = count().describe()
    assert {report[name] for name in ("overread_rate", "overread_per_character", "spill_rate")} == {None}

import pytest
from builders.readings import make_reading, make_truths, read_brief

from ocr_ray.evaluation.analysis.trailing_hallucination import OverreadCounts, Overreads, begins_box
from ocr_ray.evaluation.readings import Reading


def count(*parts: list[Reading]) -> OverreadCounts:
    overreads = Overreads()
    for part in parts:
        overreads.add(part)
    return overreads.counts()


def make_page(page_id: str, texts: list[str], predictions: list[str]) -> list[Reading]:
    return [
        make_reading(truth, prediction, line_id=f"{page_id}#{order}", page_id=page_id, page_order=order)
        for order, (truth, prediction) in enumerate(zip(texts, predictions, strict=True))
    ]


def test_the_brief_reads_on_once_into_the_next_box_as_counted_by_hand() -> None:
    counts = count(read_brief())
    assert counts == OverreadCounts(
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
    ("overread", "box", "begins"),
    [
        (" 개에", "개에 $6$ 명씩", True),
        ("개에 $6", "개에 $6$ 명씩", True),
        ("개에$6$", "개에 $6$ 명씩", True),
        (" 개에 둘", "개에", True),  # on through the whole box
        (" 명씩", "개에 $6$ 명씩", False),
        (" ", "개에", False),
        ("개에", "", False),
    ],
)
def test_spill_is_how_the_next_box_begins(overread: str, box: str, begins: bool) -> None:
    assert begins_box(overread, box) == begins


def test_a_reader_that_reads_on_is_exposed_and_one_that_invents_an_end_does_not_spill() -> None:
    texts = make_truths(20, ["사과", "직각", "나머지", "둘레", "길이"])
    ahead = [f"{here} {behind[:4]}" for here, behind in zip(texts, [*texts[1:], "끝이다"], strict=True)]
    invented = [f"{here}#구하시오" for here in texts]
    reading_on = count(make_page("a", texts, ahead)).describe()
    assert (reading_on["overread_rate"], reading_on["spill_rate"]) == (1.0, 1.0)
    inventing = count(make_page("a", texts, invented)).describe()
    assert (inventing["overread_rate"], inventing["spill_rate"]) == (1.0, 0.0)
    perfect = count(make_page("a", texts, texts)).describe()
    assert (perfect["overread_rate"], perfect["spill_rate"]) == (0.0, None)


def test_the_next_box_is_that_of_the_same_page_wherever_its_part_comes() -> None:
    first, second = make_page("a", ["탁자 한", "개에 6명"], ["탁자 한 개에", "개에 6명"])
    (other,) = make_page("b", ["개에"], ["개에"])
    assert count([first], [second]) == count([second], [first]) == count([first, second])
    assert count([first, second]).spill_lines == 1
    assert count([first, other]).followed_lines == 0
    rendered = make_reading("탁자 한", "탁자 한 개에", source="words")
    assert count([rendered, second]).followed_lines == 0


def test_no_lines_give_no_rates() -> None:
    report = count().describe()
    assert {report[name] for name in ("overread_rate", "overread_per_character", "spill_rate")} == {None}

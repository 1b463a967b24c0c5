from builders.readings import make_reading, make_references, read_with
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.evaluation.analysis.collapse import Collapse
from ocr_ray.evaluation.readings import Reading

WORDS = ["다음은", "사과", "직각삼각형", "나머지", "둘레", "길이가", "몇", "명", "구해"]
TEXT = st.text(alphabet="가나 ", max_size=4)
LINES = st.lists(st.builds(make_reading, reference=TEXT, prediction=TEXT), max_size=10)


def collect(*parts: list[Reading]) -> Collapse:
    collapse = Collapse()
    for part in parts:
        collapse.add(part)
    return collapse


@settings(deadline=None)
@given(lines=LINES, cut=st.integers(0, 10))
def test_counts_are_the_same_for_any_parts(lines: list[Reading], cut: int) -> None:
    assert collect(lines[cut:], lines[:cut]).describe() == collect(lines).describe()


@settings(deadline=None)
@given(lines=LINES)
def test_repeats_are_those_of_comparing_every_two_lines(lines: list[Reading]) -> None:
    repeats = sum(
        line.prediction != line.reference
        and any(
            other.reference != line.reference and line.prediction in (other.reference, other.prediction)
            for other in lines
        )
        for line in lines
    )
    assert collect(lines).describe()["repeats"] == repeats


def test_a_collapsed_model_has_common_openings_and_few_distinct_texts_and_a_perfect_one_has_not() -> None:
    references = make_references(60, WORDS)
    collapsed = collect(
        read_with(lambda text: ("다음은 " if len(text) % 5 else "길이가 ") + "얼마입니까?", references)
    ).describe()
    perfect = collect(read_with(str, references)).describe()
    assert collapsed["opening_share"] > 0.7
    assert collapsed["openings"][0]["opening"] == "다음은"
    assert collapsed["openings"][0]["truth_lines"] < 20
    assert collapsed["distinct_predictions"] == 2
    assert collapsed["text_share"] > 0.7 > perfect["text_share"] == perfect["truth_text_share"]
    assert collapsed["distinct_ratio"] == 2 / len(set(references)) < 0.05
    assert collapsed["repeat_rate"] == 1.0
    assert perfect["opening_share"] == perfect["truth_opening_share"] < 0.4
    assert (perfect["distinct_ratio"], perfect["repeats"]) == (1.0, 0)


def test_equal_lines_that_were_read_correctly_are_no_repeats() -> None:
    same = [make_reading("구하세요", "구하세요") for _ in range(3)]
    assert collect(same).describe()["repeats"] == 0
    invented = make_reading("둘레", "구하세요")
    assert collect([*same, invented]).describe()["repeats"] == 1  # only the wrong line


def test_no_lines_give_no_rates() -> None:
    report = Collapse().describe()
    assert (report["lines"], report["openings"], report["repeats"]) == (0, [], 0)
    rates = ("opening_share", "truth_opening_share", "distinct_ratio", "repeat_rate")
    assert {report[name] for name in rates} == {None}

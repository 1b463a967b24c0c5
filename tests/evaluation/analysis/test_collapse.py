from builders.readings import make_reading, make_truths, read_with
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.evaluation.analysis.collapse import Collapse
from ocr_ray.evaluation.readings import Reading

WORDS = ["다음은", "사과", "직각삼각형", "나머지", "둘레", "길이가", "몇", "명", "구해"]
TEXT = st.text(alphabet="가나 ", max_size=4)
LINES = st.lists(st.builds(make_reading, truth=TEXT, prediction=TEXT), max_size=10)


def collect(*parts: list[Reading]) -> Collapse:
    collapse = Collapse()
    for part in parts:
        collapse.add(part)
    return collapse


@settings(deadline=None)
@given(lines=LINES, cut=st.integers(0, 10))
def test_any_partition_of_the_lines_tells_the_same(lines: list[Reading], cut: int) -> None:
    merged = collect(lines[:cut])
    merged.merge(collect(lines[cut:]))
    parts = collect(lines[cut:], lines[:cut])
    assert merged.describe() == parts.describe() == collect(lines).describe()


@settings(deadline=None)
@given(lines=LINES)
def test_repeats_are_those_found_by_comparing_every_two_lines(lines: list[Reading]) -> None:
    repeats = sum(
        line.prediction != line.truth
        and any(
            other.truth != line.truth and line.prediction in (other.truth, other.prediction)
            for other in lines
        )
        for line in lines
    )
    assert collect(lines).describe()["repeats"] == repeats


def test_a_collapsed_reader_is_exposed_by_its_openings_and_a_perfect_one_is_not() -> None:
    truths = make_truths(60, WORDS)
    collapsed = collect(
        read_with(lambda truth: ("다음은 " if len(truth) % 5 else "길이가 ") + "얼마입니까?", truths)
    ).describe()
    perfect = collect(read_with(str, truths)).describe()
    assert collapsed["opening_share"] > 0.7
    assert collapsed["openings"][0]["opening"] == "다음은"
    assert collapsed["openings"][0]["truth_lines"] < 20
    assert collapsed["distinct_predictions"] == 2
    assert collapsed["distinct_ratio"] == 2 / len(set(truths)) < 0.05
    assert collapsed["repeat_rate"] == 1.0
    assert perfect["opening_share"] == perfect["truth_opening_share"] < 0.4
    assert (perfect["distinct_ratio"], perfect["repeats"]) == (1.0, 0)


def test_lines_that_say_the_same_and_were_read_right_repeat_nothing() -> None:
    same = [make_reading("구하세요", "구하세요") for _ in range(3)]
    assert collect(same).describe()["repeats"] == 0
    invented = make_reading("둘레", "구하세요")
    assert collect([*same, invented]).describe()["repeats"] == 1  # the one that was not shown it


def test_over_no_lines_nothing_is_said() -> None:
    report = Collapse().describe()
    assert (report["lines"], report["openings"], report["repeats"]) == (0, [], 0)
    rates = ("opening_share", "truth_opening_share", "distinct_ratio", "repeat_rate")
    assert {report[name] for name in rates} == {None}

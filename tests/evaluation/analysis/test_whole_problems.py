from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders.readings import EXAMPLE_PAIRS, EXAMPLE_PROBLEM, make_reading, read_example

from ocr_ray.evaluation.analysis.whole_problems import JoinedProblems, ProblemText, join_boxes, read_problems
from ocr_ray.evaluation.readings import Reading
from ocr_ray.metrics import count_errors
from ocr_ray.storage.location import locate


def make_boxes(page_id: str, pairs: dict[int, tuple[str, str]], dataset: str = "crops") -> list[Reading]:
    return [
        make_reading(*pair, dataset=dataset, page_id=page_id, page_order=order)
        for order, pair in pairs.items()
    ]


def join(problems: dict[str, ProblemText], *parts: list[Reading]) -> JoinedProblems:
    joined = JoinedProblems({"crops": problems})
    for part in parts:
        joined.add(part)
    return joined


def test_the_joined_example_has_one_extra_space_where_a_box_cuts_a_word() -> None:
    (problem,) = list(join({"page": ProblemText(EXAMPLE_PROBLEM, True)}, read_example()[::-1]).join())
    assert problem.prediction == " ".join(prediction for _, prediction in EXAMPLE_PAIRS)
    assert problem.joined_reference == " ".join(reference for reference, _ in EXAMPLE_PAIRS)
    report = join({"page": ProblemText(EXAMPLE_PROBLEM, True)}, read_example()).describe()
    # The boxes cut one word into `나` and `눗셈식으로`.
    assert report["of_truths"]["counts"]["character_insertions"] == 1
    assert report["of_truths"]["cer"] == pytest.approx(1 / len(EXAMPLE_PROBLEM))
    assert report["of_truths"]["cer_without_spaces"] == 0.0
    assert report["cer"] == pytest.approx(count_errors(EXAMPLE_PROBLEM, problem.prediction).cer)
    assert report["cer"] > 0.3
    assert report["found"]["boxes"] == 3


def test_a_perfect_model_has_no_errors_if_boxes_end_between_words() -> None:
    problems = {"a": ProblemText("가 나 다", True), "b": ProblemText("라", False)}
    lines = make_boxes("a", {0: ("가", "가"), 1: ("나 다", "나 다")}) + make_boxes("b", {0: ("라", "라")})
    report = join(problems, lines[2:], lines[1:2], lines[:1]).describe()
    assert (report["lines"], report["cer"], report["exact_match"]) == (2, 0.0, 1.0)
    assert set(report["found"].values()) == {0, 2, 3}  # nothing missing, two problems, three boxes


def test_missing_boxes_are_counted_and_their_text_is_an_error() -> None:
    problems = {
        "a": ProblemText("가나 다라 마바", True),
        "b": ProblemText("사아", True),
        "c": ProblemText(None, True),
    }
    lines = make_boxes("a", {0: ("가나", "가나"), 2: ("마바", "마바")}) + make_boxes("c", {1: ("자", "자")})
    report = join(problems, lines).describe()
    assert report["found"] == {
        "problems": 1,
        "problems_unread": 1,
        "problems_unprintable": 1,
        "boxes": 3,
        "boxes_missing": 2,
    }
    assert report["lines"] == 1
    assert report["counts"]["character_deletions"] == 3  # ` 다라`
    assert report["of_truths"] == {name: report[name] for name in report["of_truths"]}


def test_lines_without_a_problem_text_are_ignored() -> None:
    others = [
        *make_boxes("x", {0: ("가", "가")}),
        *make_boxes("a", {0: ("나", "나")}, dataset="lines"),
        make_reading("다", "다", source="spliced"),
    ]
    report = join({"a": ProblemText("가", True)}, others).describe()
    assert (report["lines"], report["cer"], report["found"]["problems_unread"]) == (0, None, 1)


def test_an_empty_prediction_leaves_no_double_space() -> None:
    assert join_boxes(["가 ", "", " 나"]) == "가 나"


def test_problems_are_those_of_the_split_in_the_reference_column(tmp_path: Path) -> None:
    rows = [
        {"page_id": "a", "split": "validation", "schema": "71716", "markup": "$7$개", "text": "7개"},
        {"page_id": "b", "split": "train", "schema": "71716", "markup": "가", "text": "가"},
        {"page_id": "c", "split": "validation", "schema": "71859", "markup": "$3㎠$", "text": "3㎠"},
        {"page_id": "d", "split": "validation", "schema": "71716", "markup": "$\\x$", "text": None},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pages.parquet")
    dataset = locate(str(tmp_path))
    assert read_problems(dataset, "validation", "text") == {
        "a": ProblemText("7개", True),
        "c": ProblemText("3cm²", False),
        "d": ProblemText(None, True),
    }
    assert read_problems(dataset, "validation", "markup")["a"] == ProblemText("$7$개", True)
    assert read_problems(dataset / "lines", "validation", "text") == {}

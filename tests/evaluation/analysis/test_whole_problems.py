from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders.readings import BRIEF_PAIRS, BRIEF_PROBLEM, make_reading, read_brief

from ocr_ray.evaluation.analysis.whole_problems import JoinedProblems, Problem, join_boxes, read_problems
from ocr_ray.evaluation.readings import Reading
from ocr_ray.metrics import count_errors
from ocr_ray.storage.location import locate


def make_boxes(page_id: str, pairs: dict[int, tuple[str, str]], dataset: str = "crops") -> list[Reading]:
    return [
        make_reading(*pair, dataset=dataset, page_id=page_id, page_order=order)
        for order, pair in pairs.items()
    ]


def join(problems: dict[str, Problem], *parts: list[Reading]) -> JoinedProblems:
    joined = JoinedProblems({"crops": problems})
    for part in parts:
        joined.add(part)
    return joined


def test_the_brief_joined_loses_what_its_boxes_lose_and_one_space_more() -> None:
    (problem,) = list(join({"page": Problem(BRIEF_PROBLEM, True)}, read_brief()[::-1]).join())
    assert problem.prediction == " ".join(prediction for _, prediction in BRIEF_PAIRS)
    assert problem.joined_truth == " ".join(truth for truth, _ in BRIEF_PAIRS)
    report = join({"page": Problem(BRIEF_PROBLEM, True)}, read_brief()).describe()
    # `나` and `눗셈식으로` are one word, which a box cuts in two.
    assert report["of_truths"]["counts"]["character_insertions"] == 1
    assert report["of_truths"]["cer"] == pytest.approx(1 / len(BRIEF_PROBLEM))
    assert report["of_truths"]["cer_without_spaces"] == 0.0
    assert report["cer"] == pytest.approx(count_errors(BRIEF_PROBLEM, problem.prediction).cer)
    assert report["cer"] > 0.3
    assert report["found"]["boxes"] == 3


def test_a_perfect_reader_loses_nothing_where_boxes_end_between_words() -> None:
    problems = {"a": Problem("가 나 다", True), "b": Problem("라", False)}
    lines = make_boxes("a", {0: ("가", "가"), 1: ("나 다", "나 다")}) + make_boxes("b", {0: ("라", "라")})
    report = join(problems, lines[2:], lines[1:2], lines[:1]).describe()
    assert (report["lines"], report["cer"], report["exact_match"]) == (2, 0.0, 1.0)
    assert set(report["found"].values()) == {0, 2, 3}  # nothing missing, two problems, three boxes


def test_boxes_that_are_missing_are_counted_and_their_text_is_an_error() -> None:
    problems = {"a": Problem("가나 다라 마바", True), "b": Problem("사아", True), "c": Problem(None, True)}
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


def test_lines_that_belong_to_no_known_problem_are_passed_over() -> None:
    others = [
        *make_boxes("x", {0: ("가", "가")}),
        *make_boxes("a", {0: ("나", "나")}, dataset="lines"),
        make_reading("다", "다", source="spliced"),
    ]
    report = join({"a": Problem("가", True)}, others).describe()
    assert (report["lines"], report["cer"], report["found"]["problems_unread"]) == (0, None, 1)


def test_a_prediction_of_nothing_leaves_no_double_space() -> None:
    assert join_boxes(["가 ", "", " 나"]) == "가 나"


def test_problems_are_those_of_the_split_in_the_column_of_the_truth(tmp_path: Path) -> None:
    rows = [
        {"page_id": "a", "split": "validation", "schema": "71716", "markup": "$7$개", "text": "7개"},
        {"page_id": "b", "split": "train", "schema": "71716", "markup": "가", "text": "가"},
        {"page_id": "c", "split": "validation", "schema": "71859", "markup": "$3㎠$", "text": "3㎠"},
        {"page_id": "d", "split": "validation", "schema": "71716", "markup": "$\\x$", "text": None},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pages.parquet")
    place = locate(str(tmp_path))
    assert read_problems(place, "validation", "text") == {
        "a": Problem("7개", True),
        "c": Problem("3cm²", False),
        "d": Problem(None, True),
    }
    assert read_problems(place, "validation", "markup")["a"] == Problem("$7$개", True)
    assert read_problems(place / "lines", "validation", "text") == {}

import re
from functools import cache

import pytest
from builders.readings import make_reading, read_with
from harness.calculation import is_true as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.evaluation.analysis.arithmetic import ArithmeticCounts, count_arithmetic
from ocr_ray.evaluation.analysis.equations import find_equations, is_true
from ocr_ray.evaluation.readings import Reading
from ocr_ray.randomness import keyed_generator
from ocr_ray.textgen.arithmetic.expressions import ArithmeticConfig, Expression, draw_expression


@cache
def draw_expressions(count: int = 1500) -> list[Expression]:
    random = keyed_generator(3, "expressions", 0).random
    return [draw_expression(random, ArithmeticConfig(false_share=0.5)) for _ in range(count)]


def test_every_equation_of_the_grammar_is_found_whole_and_evaluated_as_it_was_made() -> None:
    expected = {"true": True, "false": False, "open": None}
    for expression in draw_expressions():
        equations = [equation.text for equation in find_equations(expression.text)]
        if re.search("[=<>]", expression.text):
            assert equations == [expression.text]
            assert is_true(expression.text) is expected[expression.status], expression
        else:
            assert equations == []


@settings(deadline=None)
@given(index=st.integers(0, 1499), position=st.integers(0, 40), digit=st.sampled_from("0123456789"))
def test_with_any_digit_changed_the_value_is_that_of_an_independent_calculation(
    index: int, position: int, digit: str
) -> None:
    expression = draw_expressions()[index]
    changed = expression.text[:position] + digit + expression.text[position + 1 :]
    if expression.status == "open" or not expression.text[position : position + 1].isdigit():
        return
    try:
        expected = oracle(changed.replace(" ", ""))
    except (AssertionError, ZeroDivisionError, ValueError):
        return  # makes no sense, or an intermediate result is negative
    if not re.search(r"\d,\d{3}\d|…", changed):
        assert is_true(changed) is expected


@pytest.mark.parametrize(
    ("equation", "holds"),
    [
        ("3 + 4 = 7", True),
        ("3+4=8", False),
        ("2-5=0", False),
        ("2+3×4=14", True),
        ("(2+3)×4=20", True),
        ("{24-(3+5)}×2=32", True),
        ("23÷4=5…3", True),
        ("23÷4=4…7", False),  # the remainder is not below the divisor
        ("20÷4=5…0", False),
        ("23÷0=5…3", None),
        ("5÷0=0", None),
        ("0.5×0.4=0.2", True),
        ("1,200+34=1,234", True),
        ("3:4=6:8", True),
        ("3<4", True),
        ("4<3", False),
        ("1<2<3", True),
        ("1<2<2", False),
        ("3 km 200 m=3200 m", True),
        ("3 km=3000 cm", False),
        ("8 cm×5 cm=40 cm²", True),
        ("8 cm×5 cm=40 cm", None),
        ("25%=0.25", True),
        ("2시간 30분=150분", True),
        ("90°-30°=60°", True),
        ("3+□=7", None),
        ("3+4=", None),
        ("=7", None),
        ("3+)=7", None),
        ("(3+4=7", None),
        ("3 4=34", None),
        ("1,23=123", None),
        ("12,345,678=12345678", True),
        ("", None),
        ("7", None),
    ],
)
def test_an_equation_is_true_false_or_undecided(equation: str, holds: bool | None) -> None:
    assert is_true(equation) is holds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 + 4 = 7, 5 < 6", ["3 + 4 = 7", "5 < 6"]),
        ("사과 3+4=7 개", ["3+4=7"]),
        ("3 × □ = 24를 구하세요.", ["3 × □ = 24"]),
        ("1,000+1=1,001.", ["1,000+1=1,001"]),
        ("3 + 4", []),
        ("가=나", []),
        ("탁자 7개", []),
        ("3 km=3000 m이다", ["3 km=3000 m"]),
        ("x=3 max", ["=3"]),
    ],
)
def test_equations_are_found_among_words(text: str, expected: list[str]) -> None:
    equations = list(find_equations(text))
    assert [equation.text for equation in equations] == expected
    assert [text[equation.start : equation.stop] for equation in equations] == expected


def count(*pairs: tuple[str, str]) -> ArithmeticCounts:
    return count_arithmetic([make_reading(*pair, source="arithmetic") for pair in pairs])


def test_a_line_counted_by_hand() -> None:
    counts = count(("100 + 99 = 199, 3+4=8", "100 + 9 = 199, 3-4=7"))
    assert counts == ArithmeticCounts(
        digits=11,
        digit_hits=9,  # one 9 is missing, the 8 was read as 7
        operators=4,
        operator_hits=3,
        equations=2,
        equations_exact=0,
        repeated_runs=3,  # 00, 99, 99
        repeated_runs_read=2,
        true_equations=1,
        true_equations_exact=0,
        false_equations=1,
        false_equations_exact=0,
        solved=0,  # 3-4=7 is false as well
    )


@pytest.mark.parametrize(
    ("reference", "prediction", "runs", "read"),
    [
        ("199.00", "19.00", 2, 1),  # donut's receipts
        ("40799932", "4079932", 1, 0),
        ("100", "1000", 1, 0),
        ("100", "100", 1, 1),
        ("1000원", "1000원", 1, 1),
        ("5 5", "5 5", 0, 0),
    ],
)
def test_a_repeated_digit_is_read_if_it_has_as_many_digits(
    reference: str, prediction: str, runs: int, read: int
) -> None:
    counts = count((reference, prediction))
    assert (counts.repeated_runs, counts.repeated_runs_read) == (runs, read)


@pytest.mark.parametrize(
    ("prediction", "exact"),
    [
        ("3×8=24, 5", 1),
        ("3×8=24, 6", 1),
        ("3×8=24", 1),
        ("3×8=245, 5", 0),
        ("13×8=24, 5", 0),
        ("3 ×8=24, 5", 0),
        ("3+8=24, 5", 0),
        ("", 0),
    ],
)
def test_an_equation_is_exact_without_a_change_inside_or_an_insertion_right_after(
    prediction: str, exact: int
) -> None:
    assert count(("3×8=24, 5", prediction)).equations_exact == exact


def solve(text: str) -> str:
    """Return an equation of whole numbers with the correct result, whatever is printed."""
    match = re.fullmatch(r"(\d+)( ?)([-+×])( ?)(\d+)( ?)=( ?)(\d+)", text)
    if not match:
        return text
    a, b = int(match[1]), int(match[5])
    result = {"+": a + b, "-": a - b, "×": a * b}[match[3]]
    return text[: match.start(8)] + str(result)


def list_sums(offset: int) -> list[str]:
    return [f"{a} + {b} = {a + b + offset}" for a in range(3, 40, 5) for b in range(2, 60, 7)]


def test_only_a_model_that_calculates_has_a_solving_rate() -> None:
    labels = list_sums(0) + list_sums(1)
    solver = count_arithmetic(read_with(solve, labels)).describe()
    assert (solver["solving_rate"], solver["false_equation_exact_match"]) == (1.0, 0.0)
    assert solver["true_equation_exact_match"] == 1.0
    exact = count_arithmetic(read_with(str, labels)).describe()
    assert (exact["solving_rate"], exact["false_equation_exact_match"]) == (0.0, 1.0)
    blurred = count_arithmetic(read_with(lambda text: text.replace("3", "8"), labels)).describe()
    assert blurred["solving_rate"] < 0.1


def test_without_false_equations_there_is_no_solving_rate() -> None:
    report = count_arithmetic(read_with(solve, list_sums(0))).describe()
    assert report["solving_rate"] is None
    assert ArithmeticCounts.zero().describe()["digit_accuracy"] is None


@settings(deadline=None)
@given(
    lines=st.lists(
        st.builds(
            make_reading,
            reference=st.sampled_from(["3+4=7", "3+4=8, 11<2", "1 000", "가 7×7=49"]),
            prediction=st.text(alphabet="0134789+=, 가", max_size=12),
        ),
        max_size=6,
    ),
    cut=st.integers(0, 6),
)
def test_counts_are_the_same_for_any_parts(lines: list[Reading], cut: int) -> None:
    assert count_arithmetic(lines[:cut]) + count_arithmetic(lines[cut:]) == count_arithmetic(lines)

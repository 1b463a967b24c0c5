"""Arithmetic: are digits, operators and equations read correctly, and are results read or calculated?

A model that calculates results predicts a true equation where a false one is printed. The datasets contain
false equations to expose this.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ocr_ray.evaluation.alignment import Alignment
from ocr_ray.evaluation.analysis.equations import find_equations, is_true
from ocr_ray.evaluation.readings import Reading
from ocr_ray.metrics import Sums, divide
from ocr_ray.text.characters import DIGIT, OPERATOR, classify

_REPEATED_DIGIT = re.compile(r"([0-9])\1+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArithmeticCounts(Sums):
    """Sums over lines; the fields are keys of report.json. Totals count the references."""

    digits: int
    digit_hits: int
    operators: int
    operator_hits: int
    equations: int
    """Equations and comparisons, also with a blank."""
    equations_exact: int
    """Read character by character, spaces too, with no insertion inside or right after."""
    repeated_runs: int
    """Runs of one digit two or more times, such as `99` and `00` in `199.00`."""
    repeated_runs_read: int
    """Read with as many digits as are printed."""
    true_equations: int
    true_equations_exact: int
    false_equations: int
    """The other equations have a blank or make no sense."""
    false_equations_exact: int
    solved: int
    """False equations for which the model wrote a true one."""

    def describe(self) -> dict[str, Any]:
        """Return the rates and the counts they come from."""
        return {
            "digit_accuracy": divide(self.digit_hits, self.digits),
            "operator_accuracy": divide(self.operator_hits, self.operators),
            "equation_exact_match": divide(self.equations_exact, self.equations),
            "repeated_run_recall": divide(self.repeated_runs_read, self.repeated_runs),
            "true_equation_exact_match": divide(self.true_equations_exact, self.true_equations),
            "false_equation_exact_match": divide(self.false_equations_exact, self.false_equations),
            "solving_rate": divide(self.solved, self.false_equations),
            "counts": asdict(self),
        }


class Arithmetic:
    """Counts the arithmetic of printed lines, from any source."""

    def __init__(self) -> None:
        self._counts = ArithmeticCounts.zero()

    def add(self, lines: Sequence[Reading]) -> None:
        """Count the lines of a part."""
        self._counts += count_arithmetic(lines)

    def describe(self) -> dict[str, Any]:
        """Return the rates and the counts they come from."""
        return self._counts.describe()


def count_arithmetic(lines: Iterable[Reading]) -> ArithmeticCounts:
    """Return the sums over printed lines."""
    return sum((_count_line(line.alignment) for line in lines), ArithmeticCounts.zero())


def _count_line(alignment: Alignment) -> ArithmeticCounts:
    characters = [
        (classify(step.reference), step.kind == "equal") for step in alignment.steps if step.reference
    ]
    runs = [
        alignment.prediction_for(*run.span()) == run[0]
        for run in _REPEATED_DIGIT.finditer(alignment.reference)
    ]
    equations = [
        (is_true(equation.text), equation.text, alignment.prediction_for(equation.start, equation.stop))
        for equation in find_equations(alignment.reference)
    ]
    return ArithmeticCounts(
        digits=sum(kind == DIGIT for kind, _ in characters),
        digit_hits=sum(is_hit for kind, is_hit in characters if kind == DIGIT),
        operators=sum(kind == OPERATOR for kind, _ in characters),
        operator_hits=sum(is_hit for kind, is_hit in characters if kind == OPERATOR),
        equations=len(equations),
        equations_exact=_count_exact(equations, (True, False, None)),
        repeated_runs=len(runs),
        repeated_runs_read=sum(runs),
        true_equations=sum(holds is True for holds, _, _ in equations),
        true_equations_exact=_count_exact(equations, (True,)),
        false_equations=sum(holds is False for holds, _, _ in equations),
        false_equations_exact=_count_exact(equations, (False,)),
        solved=sum(holds is False and is_true(read.strip()) is True for holds, _, read in equations),
    )


def _count_exact(equations: Sequence[tuple[bool | None, str, str]], holding: Sequence[bool | None]) -> int:
    return sum(text == read for holds, text, read in equations if holds in holding)

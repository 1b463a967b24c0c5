"""Arithmetic: whether numbers and signs are read, and whether they are read or worked out.

A model that works out results reads true equations where false ones are printed. Lines are made with false
equations so that this shows.
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

_RUN_OF_DIGITS = re.compile(r"([0-9])\1+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArithmeticCounts(Sums):
    """What the truths have of arithmetic, and what of it was read."""

    digits: int
    digit_hits: int
    operators: int
    operator_hits: int
    equations: int
    """Equations and comparisons, those with something left out too."""
    equations_exact: int
    """Read sign for sign, spaces too, with nothing put in or right behind."""
    repeated_runs: int
    """Runs of one digit two or more times, as `99` in `199.00` and the `00` behind it."""
    repeated_runs_read: int
    """With as many digits as are printed."""
    true_equations: int
    true_equations_exact: int
    false_equations: int
    """Whose label is false; the others are open, or cannot be judged."""
    false_equations_exact: int
    solved: int
    """False equations for which a true one was read."""

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


def count_arithmetic(lines: Iterable[Reading]) -> ArithmeticCounts:
    """Return the sums over lines of print, of any source."""
    return sum((_count_line(line.alignment) for line in lines), ArithmeticCounts.zero())


def _count_line(alignment: Alignment) -> ArithmeticCounts:
    kinds = [(classify(step.truth), step.kind == "equal") for step in alignment.steps if step.truth]
    runs = [alignment.read_of(*run.span()) == run[0] for run in _RUN_OF_DIGITS.finditer(alignment.truth)]
    equations = [
        (is_true(equation.text), alignment.read_of(equation.start, equation.stop), equation.text)
        for equation in find_equations(alignment.truth)
    ]
    return ArithmeticCounts(
        digits=sum(kind == DIGIT for kind, _ in kinds),
        digit_hits=sum(is_hit for kind, is_hit in kinds if kind == DIGIT),
        operators=sum(kind == OPERATOR for kind, _ in kinds),
        operator_hits=sum(is_hit for kind, is_hit in kinds if kind == OPERATOR),
        equations=len(equations),
        equations_exact=_count_exact(equations, (True, False, None)),
        repeated_runs=len(runs),
        repeated_runs_read=sum(runs),
        true_equations=sum(truth is True for truth, _, _ in equations),
        true_equations_exact=_count_exact(equations, (True,)),
        false_equations=sum(truth is False for truth, _, _ in equations),
        false_equations_exact=_count_exact(equations, (False,)),
        solved=sum(truth is False and is_true(read.strip()) is True for truth, read, _ in equations),
    )


def _count_exact(equations: Sequence[tuple[bool | None, str, str]], truths: Sequence[bool | None]) -> int:
    return sum(read == text for truth, read, text in equations if truth in truths)

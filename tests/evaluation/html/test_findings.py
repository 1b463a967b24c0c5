"""What the report says in words."""

import re
from typing import Any

import pytest

from ocr_ray.evaluation.html.findings import MAX_FINDINGS, list_findings, show_short

OVERALL = {"lines": 1_000, "cer": 0.08, "exact_match": 0.5, "intervals": {"cer": [0.07, 0.094]}}
CLEAR = {"first_errors": 20, "first_characters": 1_000, "last_errors": 180, "last_characters": 1_000}
FEW = {"first_errors": 1, "first_characters": 100, "last_errors": 3, "last_characters": 100}
LEVEL = {"first_errors": 20, "first_characters": 1_000, "last_errors": 21, "last_characters": 1_000}
ORDER = {"own_errors": 3, "own_characters": 80, "spliced_errors": 24, "spliced_characters": 80}


def thirds(counts: dict[str, int]) -> dict[str, Any]:
    return {"context_dependence": {"counts": counts}}


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (
            {},
            "8 % of the characters are wrong (CER, 95 % interval 7 % to 9.4 %). Without an error: 50 % of "
            "1,000 lines.",
        ),
        (
            thirds(CLEAR),
            "Reads the first third of a line at 2 % CER and the last at 18 %: it depends on context.",
        ),
        (thirds(LEVEL), "2.1 %: no sign that it depends on context."),
        (thirds(FEW), "too few errors to tell whether it depends on context."),
        (
            thirds(ORDER),
            "Reads words at 3.8 % CER in their own sentence and at 30 % in shuffled order: it completes "
            "sentences that it knows.",
        ),
        (
            {"collapse": {"text_share": 0.99, "truth_text_share": 0.01}},
            "99.0 % of the lines are read as the same text: collapsed.",
        ),
        (
            {
                "collapse": {
                    **{"text_share": 0.1, "opening_share": 0.5, "truth_opening_share": 0.05},
                    "openings": [{"opening": "다음은"}],
                }
            },
            "50 % of the predictions begin with “다음은”, the most common opening of the references is that "
            "of 5 %: partly collapsed.",
        ),
        (
            {"arithmetic": {"solving_rate": 0.25}},
            "a true equation for 25 % of the false ones in print: it calculates.",
        ),
        (
            {"error_kinds": {"run_on": 120, "missing_tail": 30}},
            "Writes on after the end of 12 % of the lines, stops early in 3 %.",
        ),
        (
            {"by_source": {"page": {"lines": 40, "cer": 0.3, "intervals": {"cer": [0.2, 0.4]}}}},
            "Weakest by source: page, 30 % CER on 40 lines.",
        ),
        ({"confusions": [{"truth": "이", "read": "미", "count": 1_234}]}, "“이” read as “미”, 1,234 times."),
        ({"confusions": [{"truth": " ", "read": "", "count": 2}]}, "“␣” left out, 2 times."),
        ({"confusions": [{"truth": "", "read": "x", "count": 2}]}, "“x” inserted, 2 times."),
        ({"flagged": {"reached_limit_rate": 0.05}}, "5 % of the predictions ended at the length limit"),
    ],
)
def test_a_finding_is_a_sentence_of_the_figures(report: dict[str, Any], sentence: str) -> None:
    findings = list_findings({"overall": OVERALL, **report})
    assert sentence in findings[-1]
    assert len(findings) == 1 + bool(report)


def test_a_model_that_cannot_read_is_not_said_to_depend_on_context_or_not() -> None:
    findings = list_findings({"overall": {"lines": 9, "cer": 0.9}, **thirds(CLEAR)})
    assert findings[0] == "90 % of the characters are wrong (CER)."
    assert findings[1:] == ["So many characters are wrong that reading cannot be told from guessing yet."]


@pytest.mark.parametrize(
    "report",
    [
        {"collapse": {"text_share": 0.3, "truth_text_share": 0.2}},
        {"by_source": {"page": {"lines": 40, "cer": 0.3, "intervals": {"cer": [0.05, 0.4]}}}},
        {"by_source": {"page": {"lines": 4, "cer": 0.9, "intervals": {"cer": [0.8, 1.0]}}}},
        {"error_kinds": {"run_on": 1, "missing_tail": 0}, "arithmetic": {"solving_rate": None}},
        thirds({}),
        thirds({**ORDER, "spliced_errors": 4}),
    ],
    ids=["lines are alike", "wide interval", "few lines", "rare", "no thirds", "order makes no difference"],
)
def test_what_the_figures_do_not_show_is_not_said(report: dict[str, Any]) -> None:
    assert len(list_findings({"overall": OVERALL, **report})) == 1
    assert list_findings(report) == []


def test_there_are_at_most_five_and_the_gravest_come_first() -> None:
    report = {
        **{"overall": OVERALL, **thirds({**CLEAR, **ORDER})},
        "collapse": {"text_share": 0.5, "truth_text_share": 0.01},
        "error_kinds": {"run_on": 120},
        "arithmetic": {"solving_rate": 0.5},
        "confusions": [{"truth": "이", "read": "미", "count": 9}],
    }
    findings = list_findings(report)
    assert len(findings) == MAX_FINDINGS
    assert [re.findall(r"wrong|collapsed|third|shuffled|calculates", text)[0] for text in findings] == [
        *("wrong", "collapsed", "third", "shuffled", "calculates")
    ]


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0, "0 %"), (0.00123, "0.12 %"), (0.02, "2 %"), (0.0949, "9.5 %"), (0.0999, "10 %"), (0.994, "99.4 %")],
)
def test_a_share_is_short(share: float, shown: str) -> None:
    assert show_short(share) == shown
    assert show_short(1.0) == "100 %"
    assert show_short(1.31) == "131 %"

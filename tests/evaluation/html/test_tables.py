"""Figures, marks and bars of the report, each alone."""

from typing import Any

import pytest
from harness.html_page import Page

from ocr_ray.evaluation.html.charts import BAR_SIZE, draw_bar, find_scale
from ocr_ray.evaluation.html.comparison import show_mark
from ocr_ray.evaluation.html.tables import Cell, Head, draw_facts, draw_table, show_value


def test_a_cell_without_a_value_has_no_key() -> None:
    cells = Page(draw_table([Head("a"), Head("b")], [[Cell("–", None), Cell("0", 0)]])).all("td")
    assert [cell["data-sort"] for cell in cells] == ["", "0"]


def test_the_least_that_a_quotient_can_be_is_said_so() -> None:
    facts = {"last_over_first": 4.0, "last_over_first_at_least": True, "other": 1.5, "other_at_least": False}
    assert Page(draw_facts(facts)).text.split("\n")[:2] == ["last over firstat least 4", "other1.5"]


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("solving_rate", 0.25, "25.0 %"),
        ("cer", 0.0123, "1.23 %"),
        ("cer", 1.0, "100.0 %"),
        ("last_over_first", 0.25, "0.25"),
        ("lines", 1_234, "1,234"),
        ("is_x", True, "yes"),
        ("cer", None, "–"),
        ("names", ["a<", 2], "a&lt;, 2"),
        ("opening", "", "(empty)"),
        ("path", "x" * 600, "x" * 500 + "…"),
    ],
)
def test_a_figure_is_shown_by_what_it_is(name: str, value: Any, shown: str) -> None:
    assert show_value(name, value) == shown


@pytest.mark.parametrize(
    ("rate", "found", "words"),
    [
        ("cer", {"difference": -0.02, "p_value": 0.002}, ["better ★", "−2.00", "p 0.002"]),
        ("cer", {"difference": 0.02, "p_value": 0.002}, ["worse ★", "+2.00"]),
        ("exact_match", {"difference": 0.02, "p_value": 0.049}, ["better ★"]),
        ("cer", {"difference": -0.02, "p_value": 0.05}, ["better<"]),
        ("cer", {"difference": -0.02, "p_value": 0.01, "q_value": 0.06}, ["better<", "p 0.01, q 0.06"]),
        ("cer", {"difference": -0.02, "p_value": None}, ["better<"]),
        ("cer", {"difference": 0.0, "p_value": 1.0}, ["same<"]),
        ("cer", {"difference": None, "p_value": None}, ["–"]),
    ],
)
def test_a_star_stands_where_a_difference_is_hardly_chance(
    rate: str, found: dict[str, Any], words: list[str]
) -> None:
    mark = show_mark(rate, found)
    assert all(word in mark for word in words), mark
    assert ("★" in mark) == ("★" in words[0])


def test_bars_are_as_long_as_their_rates_and_never_longer_than_the_axis() -> None:
    assert find_scale([0.2, None, 0.4]) == 0.4
    assert find_scale([3.0]) == 1.0
    assert find_scale([]) == 0.0
    width = BAR_SIZE[0] - 2
    for rate, expected in ((0.0, 1), (0.2, 1 + width / 2), (0.4, 1 + width), (0.9, 1 + width)):
        (bar,) = Page(draw_bar(rate, [0.1, 0.3], scale=0.4)).all("rect")
        assert float(bar["width"]) == pytest.approx(expected, abs=0.05)
    assert not Page(draw_bar(None, None, scale=0.0)).all("rect")
    assert float(Page(draw_bar(0.0, None, scale=0.0)).all("rect")[0]["width"]) == 1

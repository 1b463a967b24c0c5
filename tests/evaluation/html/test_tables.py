"""Values, marks and bars of the report."""

from typing import Any

import pytest
from harness.html_page import Page

from ocr_ray.evaluation.html.charts import BAR_SIZE_PX, find_scale, make_bar
from ocr_ray.evaluation.html.page import make_difference, report_html
from ocr_ray.evaluation.html.tables import make_blocks, show_value


def test_a_cell_without_a_value_has_no_sort_key() -> None:
    page = Page(report_html({"rows": [{"a": None, "b": 0, "c": "x"}]}))
    assert [cell["data-sort"] for cell in page.all("td")] == ["", "0", "x"]
    assert page.classes("td") == page.classes("th") == ["number", "number", "text"]
    assert page.sections["Rows"].split() == ["a", "b", "c", "–", "0", "x"]


def test_a_ratio_that_is_a_lower_bound_says_at_least() -> None:
    data = {"x_over_y": 4.0, "x_over_y_at_least": True, "other": 1.5, "other_at_least": False}
    (block,) = make_blocks(data)
    assert block.values == [("x over y", ["at least 4"]), ("other", ["1.5"])]
    assert Page(report_html({"new": data})).sections["New"].split() == [
        "x",
        "over",
        "y",
        "at",
        "least",
        "4",
        "other",
        "1.5",
    ]


def test_bars_are_as_long_as_their_rates_and_never_longer_than_the_axis() -> None:
    assert find_scale([0.2, None, 0.4]) == 0.4
    assert find_scale([3.0]) == 1.0
    assert find_scale([]) == 0.0
    width = BAR_SIZE_PX[0] - 2
    for rate, expected in ((0.0, 1), (0.2, 1 + width / 2), (0.4, 1 + width), (0.9, 1 + width)):
        bar = make_bar(rate, [0.1, 0.3], scale=0.4)
        assert bar.rate == pytest.approx(expected, abs=0.05)
        assert bar.interval == pytest.approx((1 + width / 4, 1 + 3 * width / 4), abs=0.05)
    assert make_bar(None, scale=0.0).rate is None
    assert make_bar(0.0, scale=0.0).rate == 1


def test_a_bar_is_drawn_with_its_interval_or_left_out() -> None:
    entry = {"lines": 1, "cer": 0.2, "intervals": {"cer": [0.1, 0.4]}}
    page = Page(report_html({"by_x": {"a": entry, "b": {"lines": 0, "cer": None}}}))
    assert [svg["aria-label"] for svg in page.all("svg")] == ["20.00 %", "no value"]
    assert [rect["width"] for rect in page.all("rect")] == ["80.0"]
    assert [path["d"] for path in page.all("path")] == ["M40.5,8.0H159.0M40.5,5V11M159.0,5V11"]


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("solving_rate", 0.25, "25.0 %"),
        ("cer", 0.0123, "1.23 %"),
        ("cer", 1.0, "100.0 %"),
        ("last_over_first", 0.25, "0.25"),
        ("lines", 1_234, "1,234"),
        ("is_x", True, "yes"),
        ("cer", None, "– (no characters in the references)"),
        ("other", None, "–"),
        ("names", ["a<", 2], "a<, 2"),
        ("opening", "", "(empty)"),
        ("path", "x" * 600, "x" * 500 + "…"),
    ],
)
def test_a_figure_is_shown_by_what_it_is(name: str, value: Any, shown: str) -> None:
    assert show_value(name, value) == shown


@pytest.mark.parametrize(
    ("rate", "pair", "note", "text", "tooltip"),
    [
        ("cer", {"difference": -0.02, "p_value": 0.002}, "better ★", "−2.00", "p = 0.002"),
        ("cer", {"difference": 0.02, "p_value": 0.002}, "worse ★", "+2.00", "p = 0.002"),
        ("exact_match", {"difference": 0.02, "p_value": 0.049}, "better ★", "+2.00", "p = 0.049"),
        ("cer", {"difference": -0.02, "p_value": 0.05}, "better", "−2.00", "p = 0.05"),
        (
            *("cer", {"difference": -0.02, "p_value": 0.01, "q_value": 0.06}),
            *("better", "−2.00", "p = 0.01, q = 0.06"),
        ),
        ("cer", {"difference": -0.02, "p_value": None}, "better", "−2.00", ""),
        ("cer", {"difference": 0.0, "p_value": 1.0}, "same", "+0.00", "p = 1"),
        ("cer", {"difference": None, "p_value": None}, "", "–", ""),
    ],
)
def test_a_star_marks_a_significant_difference(
    rate: str, pair: dict[str, Any], note: str, text: str, tooltip: str
) -> None:
    cell = make_difference(rate, pair)
    assert (cell.note, cell.text, cell.tooltip) == (note, text, tooltip)
    assert ("significant" in cell.style) == ("★" in note)
    page = Page(report_html({"baseline": {"overall": {rate: pair}}, "overall": {rate: 0.5}}))
    spans = [{"class": cell.style, "title": tooltip}] if cell.style or tooltip else []
    assert page.all("span") == spans
    shown = page.sections["Overview"].split("percentage points")[0].split()
    assert [word for word in (*note.split(), text) if word not in shown] == []

"""The page of a report as a browser parses it: sections, escaping, pictures, and nothing from outside."""

import base64
import hashlib
import io
import re
from copy import deepcopy
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_report import make_example, make_report, make_rows
from PIL import Image

from ocr_ray.evaluation.alignment import align
from ocr_ray.evaluation.report_charts import BAR_SIZE, draw_bar, find_scale
from ocr_ray.evaluation.report_comparison import show_mark
from ocr_ray.evaluation.report_examples import (
    MAX_SIZE_PX,
    Example,
    Examples,
    draw_differences,
    draw_example,
    draw_image,
    list_ops,
    show_piece,
)
from ocr_ray.evaluation.report_html import report_html
from ocr_ray.evaluation.report_tables import Cell, Head, draw_facts, draw_table, show_percent, show_value

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">\'&amp;‮</td></section>'
TITLES = [
    "Headline",
    *("By dataset", "By source", "By font", "By length", "By aspect", "By starts mid word"),
    *("By ends mid word", "By box", "By has fraction", "By font seen", "By third", "By character class"),
    *("By word seen", "Context dependence", "Overread", "Arithmetic", "Collapse", "Printed", "Long lines"),
    *("Joined problems", "Calibration of confidence", "Commonest confusions", "Worst lines"),
    *("Lines drawn at random", "What was evaluated"),
]
SECTION_OF = {
    "overall": "Headline",
    "by_third": "By third",
    "overread": "Overread",
    "arithmetic": "Arithmetic",
    "collapse": "Collapse",
    "context_dependence": "Context dependence",
    "joined_problems": "Joined problems",
    "printed": "Printed",
    "long_lines": "Long lines",
    "calibration": "Calibration of confidence",
    "confusions": "Commonest confusions",
}
VOID = {"meta", "link", "br", "img"}


class Page(HTMLParser):
    """What a browser finds in a page: tags with their attributes, and the text of each section."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.titles: list[str] = []
        self.sections: dict[str, str] = {}
        self.text = ""
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text += data
        if self.open and self.open[-1] == "h2":
            self.titles.append(data)
        elif self.titles and "section" in self.open:
            self.sections[self.titles[-1]] = self.sections.get(self.titles[-1], "") + f"{data}\n"

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@cache
def full_report() -> tuple[dict[str, Any], Examples]:
    return make_report()


@cache
def full_source() -> str:
    return report_html(*full_report())


def only(report: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: report[key] for key in keys}


def plain(marked: str) -> str:
    """Return the text of marked differences: `␣` is a space there."""
    return Page(f"<p>{marked}</p>").text.replace("␣", " ")


def test_a_whole_report_has_every_section_once_and_in_order() -> None:
    page = Page(full_source())
    assert page.titles == TITLES
    links = [link["href"] for link in page.all("a")]
    assert links == [f"#{section['id']}" for section in page.all("section")]


@pytest.mark.parametrize("key", SECTION_OF)
def test_a_section_appears_where_its_data_is_and_nowhere_else(key: str) -> None:
    report, _ = full_report()
    without = {name: value for name, value in report.items() if name not in (key, "baseline")}
    assert Page(report_html(without)).titles == [
        title for title in TITLES if title not in (SECTION_OF[key], "Worst lines", "Lines drawn at random")
    ]
    assert Page(report_html(only(report, key))).titles == [SECTION_OF[key]]


@pytest.mark.parametrize(
    ("examples", "titles"),
    [
        (Examples(), []),
        (Examples(worst=[make_example(make_rows(1)[0])]), ["Worst lines"]),
        (Examples(random=[make_example(make_rows(1)[0])]), ["Lines drawn at random"]),
    ],
    ids=["none", "worst", "random"],
)
def test_lines_are_shown_where_there_are_any(examples: Examples, titles: list[str]) -> None:
    assert Page(report_html({}, examples)).titles == titles
    assert Page(report_html({"confusions": []}, examples)).titles == titles


def test_a_report_of_no_lines_is_a_page() -> None:
    entry = {"lines": 0, "cer": None, "exact_match": None, "intervals": {"cer": None}, "counts": {"lines": 0}}
    report = {"overall": entry, "by_font": {"바탕": entry}, "by_source": {}, "confusions": []}
    page = Page(report_html(report))
    assert page.titles == ["Headline", "By font"]
    assert "–" in page.sections["Headline"]


def test_every_figure_of_the_report_is_to_be_seen_and_a_new_key_too() -> None:
    report, examples = full_report()
    page = Page(
        report_html(report | {"new_findings": {"share_of_x": 0.123, "rows": [{"a": "unheard"}]}}, examples)
    )
    assert page.sections["New findings"].split() == ["share", "of", "x", "12.3", "%", "Rows", "a", "unheard"]
    assert show_percent(report["overall"]["cer"]) in page.sections["Headline"]
    assert show_percent(report["by_third"]["last"]["cer"]) in page.sections["By third"]
    assert f"{report['collapse']['distinct_predictions']:,}" in page.sections["Collapse"]
    assert show_percent(report["joined_problems"]["of_truths"]["wer"]) in page.sections["Joined problems"]
    for name, value in report["arithmetic"]["counts"].items():
        assert name.replace("_", " ") in page.sections["Arithmetic"]
        assert f"{value:,}" in page.sections["Arithmetic"]
    assert "lines_uris / crops_of_books" in page.sections["What was evaluated"]
    assert "5f" * 32 in page.sections["What was evaluated"]
    unknown = report["unknown_lines"]["by_font_seen"]
    assert f"{unknown:,} lines are in none of these" in page.sections["By font seen"]


def test_the_headline_has_its_intervals() -> None:
    low, high = full_report()[0]["overall"]["intervals"]["cer"]
    assert f"{100 * low:.2f}–{100 * high:.2f} %" in Page(full_source()).sections["Headline"]


def test_hostile_texts_are_shown_and_never_run() -> None:
    report = deepcopy(full_report()[0])
    report["config"] |= {"model_uri": HOSTILE, HOSTILE: HOSTILE}
    for part in (report, report["baseline"]):
        part["by_font"][HOSTILE] = part["by_font"].pop("바탕")
    report["collapse"]["openings"][0]["opening"] = HOSTILE
    report["confusions"].insert(0, {"truth": HOSTILE, "read": HOSTILE, "count": 1})
    report["baseline"]["config"]["model_uri"] = HOSTILE
    report |= {HOSTILE: {HOSTILE: HOSTILE}}
    names = ("truth", "prediction", "dataset", "line_id", "baseline_prediction")
    example = make_example(
        make_rows(1)[0], ops=((HOSTILE, ""), ("", HOSTILE)), **dict.fromkeys(names, HOSTILE)
    )
    source = report_html(
        report,
        Examples(
            worst=[example],
            random=[replace(example, ops=())],
            confusions={(HOSTILE, HOSTILE): [example]},
        ),
    )
    page = Page(source)
    assert len(page.all("script")) == 1
    assert {name for name, _ in page.tags} == {name for name, _ in Page(full_source()).tags}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    for title in ("By font", "Collapse", "Worst lines", "Lines drawn at random", "What was evaluated"):
        assert HOSTILE in page.sections[title].replace("U+202E", "‮")
    assert page.all("img")[0]["alt"] == HOSTILE


def test_nothing_is_fetched_and_no_script_runs_but_the_page_s_own() -> None:
    source = full_source()
    page = Page(source)
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "xlink:href", "poster"):
            if name in attributes:
                assert attributes[name].startswith(("data:", "#")), (tag, name)
        assert "style" not in attributes
    (script,) = re.findall(r"<script>(.*?)</script>", source, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", source, re.DOTALL)
    assert not re.search(r"url\(|@import|https?:|//\w", style + script)
    assert not re.search(r"fetch|XMLHttp|import|innerHTML", script)
    (policy,) = (meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert {link["href"] for link in page.all("link")} == {"data:,"}


def test_every_picture_is_inside_the_page_and_has_the_aspect_of_its_line() -> None:
    example = make_example(make_rows(1)[0], width_px=1440, height_px=48)
    (image,) = Page(draw_image(example)).all("img")
    with Image.open(
        io.BytesIO(base64.b64decode(image["src"].removeprefix("data:image/jpeg;base64,")))
    ) as found:
        assert found.size == (720, 24) == (int(image["width"]), int(image["height"]))
        assert found.mode == "L"
    images = Page(full_source()).all("img")
    assert len(images) > 100
    for image in images:
        assert image["src"].startswith("data:image/jpeg;base64,")
        assert int(image["width"]) <= MAX_SIZE_PX[0]
    assert len(full_source()) < 1_500_000


@pytest.mark.parametrize("content", [b"", b"GIF89a", make_example(make_rows(1)[0]).image_bytes[:300]])
def test_a_picture_that_cannot_be_opened_is_said_so(content: bytes) -> None:
    row = make_rows(1)[0]
    drawn = draw_example(make_example(row, image_bytes=content))
    assert "image cannot be opened" in drawn
    assert "<img" not in drawn
    assert row["dataset"] in drawn


def test_differences_of_a_line_are_marked_on_either_side() -> None:
    truth, reading = draw_differences(list_ops(align("탁자 한 개는", "탁지 한개는에")))
    assert truth == "탁<del>자</del> 한<del>␣</del>개는"
    assert reading == "탁<ins>지</ins> 한개는<ins>에</ins>"
    drawn = draw_example(make_example(make_rows(1)[0], truth="가", prediction="나", ops=()))
    assert "<del>" not in drawn
    assert "<ins>" not in drawn


@given(truth=st.text("가나 <&7", max_size=8), read=st.text("가나 <&7", max_size=8))
def test_differences_lose_and_add_nothing(truth: str, read: str) -> None:
    alignment = align(truth, read)
    ops = list_ops(alignment)
    assert "".join(piece for piece, _ in ops) == alignment.truth
    assert "".join(piece for _, piece in ops) == alignment.prediction
    marked = draw_differences(ops)
    assert tuple(map(plain, marked)) == (alignment.truth, alignment.prediction)
    assert ("<del>" in marked[0] or "<ins>" in marked[1]) == (not alignment.is_exact)


@pytest.mark.parametrize(
    ("piece", "shown"),
    [("", "<small>nothing</small>"), (" ", "␣"), ("\u200b", "U+200B"), ("\u202e", "U+202E"), ("<", "&lt;")],
)
def test_every_character_of_a_confusion_is_to_be_seen(piece: str, shown: str) -> None:
    assert show_piece(piece) == shown


def test_confusions_have_their_count_and_at_most_three_pictures() -> None:
    lines = [make_example(row) for row in make_rows(5)]
    confusions = [{"truth": "이", "read": "", "count": 1_234}, {"truth": "", "read": " ", "count": 2}]
    page = Page(report_html({"confusions": confusions * 20}, Examples(confusions={("이", ""): lines})))
    assert len(page.all("img")) == 15 * 3
    assert page.sections["Commonest confusions"].split()[4:8] == ["이", "nothing", "1,234", "nothing"]


def test_no_more_than_thirty_lines_are_shown() -> None:
    page = Page(report_html({}, Examples(worst=[make_example(make_rows(1)[0])] * 40)))
    assert len(page.all("figure")) == 30


def test_each_slice_is_a_row_sorted_by_what_its_cells_mean() -> None:
    family = full_report()[0]["by_length"]
    page = Page(report_html({"by_length": family}))
    keys = [cell["data-sort"] for cell in page.all("td")]
    names, lines = keys[::7], keys[6::7]
    assert names == list(family)
    assert lines == [str(entry["lines"]) for entry in family.values()]
    assert keys[2] == str(next(iter(family.values()))["cer"])
    assert len(page.all("th")) == len(page.all("button")) == 7


def test_a_cell_without_a_value_has_no_key() -> None:
    cells = Page(draw_table([Head("a"), Head("b")], [[Cell("–", None), Cell("0", 0)]])).all("td")
    assert [cell["data-sort"] for cell in cells] == ["", "0"]


def test_the_baseline_stands_beside_every_family_and_every_section_of_figures() -> None:
    report, examples = full_report()
    page = Page(report_html(report, examples))
    alone = Page(report_html({key: value for key, value in report.items() if key != "baseline"}, examples))
    for title in TITLES:
        if title not in ("Commonest confusions", "Worst lines", "Lines drawn at random"):
            assert "baseline" in page.sections[title].lower(), title
            assert "baseline" not in alone.sections[title].lower(), title
    assert "models/before" in page.sections["Headline"]
    assert "144 both, 0 only here, 0 other truth, 0 only baseline" in page.sections["Headline"]


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


def test_an_example_is_what_its_dataset_stored() -> None:
    example = Example(line_id="1", dataset="d", truth="가", prediction="나", image_bytes=b"")
    assert (example.confidence, example.ops, example.baseline_prediction) == (None, (), None)

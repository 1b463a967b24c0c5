"""The page of a report as a browser parses it: sections, escaping, images, and nothing loaded."""

import base64
import hashlib
import io
import re
from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from builders.report import make_example, make_report, make_rows
from harness.html_page import Page
from PIL import Image

from ocr_ray.evaluation.html.examples import MAX_SIZE_PX, Examples
from ocr_ray.evaluation.html.findings import list_findings
from ocr_ray.evaluation.html.page import NOTES, report_html
from ocr_ray.evaluation.html.summary import KIND_TITLES, RATES
from ocr_ray.evaluation.html.tables import show_name, show_percent

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">\'&amp;\u202e</td></section>'
TITLES = [
    *("Summary", "Never seen in training", "Typical errors", "Overview"),
    *("By dataset", "By source", "By font", "By length", "By aspect ratio", "Line starts mid-word"),
    *("Line ends mid-word", "By position on the page", "Line contains a fraction", "Font seen in training"),
    *("By third of the line", "By character class", "Word seen in training", "Context dependence"),
    *("Trailing hallucination", "Arithmetic", "Collapse", "Error kinds", "Incomplete predictions"),
    *("Markup as printed", "Long lines", "Whole problems", "Confidence calibration"),
    *("Most common confusions", "Worst lines", "Random lines", "Configuration and hashes"),
]
SECTION_OF = {
    "error_kinds": "Error kinds",
    "holdout": "Never seen in training",
    "by_third": "By third of the line",
    "overread": "Trailing hallucination",
    "arithmetic": "Arithmetic",
    "collapse": "Collapse",
    "flagged": "Incomplete predictions",
    "context_dependence": "Context dependence",
    "joined_problems": "Whole problems",
    "printed": "Markup as printed",
    "long_lines": "Long lines",
    "calibration": "Confidence calibration",
    "confusions": "Most common confusions",
}


@cache
def full_report() -> tuple[dict[str, Any], Examples]:
    return make_report()


@cache
def full_source() -> str:
    return report_html(*full_report())


OF_EXAMPLES = ("Typical errors", "Worst lines", "Random lines")


def only(report: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: report[key] for key in keys}


def test_a_whole_report_has_every_section_once_and_in_order() -> None:
    page = Page(full_source())
    assert page.titles == TITLES
    (contents,) = page.all("nav")
    assert contents == {"aria-label": "Contents"}
    ids = [f"#{section['id']}" for section in page.all("section")]
    assert [link["href"] for link in page.all("a") if "class" not in link] == ids
    groups = [link["href"] for link in page.all("a") if "class" in link]
    assert (len(groups), groups[0]) == (6, "#s0")
    assert set(groups) < set(ids)


@pytest.mark.parametrize("key", SECTION_OF)
def test_a_section_appears_where_its_data_is_and_nowhere_else(key: str) -> None:
    report, _ = full_report()
    without = {name: value for name, value in report.items() if name not in (key, "baseline")}
    assert Page(report_html(without)).titles == [
        title for title in TITLES if title not in (SECTION_OF[key], *OF_EXAMPLES)
    ]
    assert Page(report_html(only(report, key))).titles == [SECTION_OF[key]]


@pytest.mark.parametrize(
    ("examples", "titles"),
    [
        (Examples(), []),
        (Examples(worst=[make_example(make_rows(1)[0])]), ["Worst lines"]),
        (Examples(random=[make_example(make_rows(1)[0])]), ["Random lines"]),
        (Examples(kinds={"spacing": [make_example(make_rows(1)[0])]}), ["Typical errors"]),
    ],
    ids=["none", "worst", "random", "kinds"],
)
def test_lines_are_shown_where_there_are_any(examples: Examples, titles: list[str]) -> None:
    assert Page(report_html({}, examples)).titles == titles
    assert Page(report_html({"confusions": []}, examples)).titles == titles


def test_a_report_of_no_lines_is_a_page() -> None:
    entry = {"lines": 0, "cer": None, "exact_match": None, "intervals": {"cer": None}, "counts": {"lines": 0}}
    report = {"overall": entry, "by_font": {"바탕": entry}, "by_source": {}, "confusions": []}
    page = Page(report_html(report))
    assert page.titles == ["Summary", "Overview", "By font"]
    assert "no characters in the references" in page.sections["Summary"]
    assert "no characters in the references" in page.sections["By font"]
    nothing = Page(report_html({"by_x": {}, "unknown_lines": {"by_x": 7}, "by_y": {}}))
    assert nothing.sections["By x"].strip() == (
        "7 lines are in none of these slices: the data do not say which."
    )
    assert nothing.titles == ["By x"]
    sections = Page(report_html({"arithmetic": {"solving_rate": None}})).sections
    assert "– (no false equations in the references)" in sections["Arithmetic"]


def test_the_page_opens_with_model_data_date_and_headline_figures() -> None:
    report, examples = full_report()
    page = Page(full_source())
    summary = page.sections["Summary"]
    for text in (
        *("models/best_ocr", "144 lines of split validation: runs/lines, s3://bucket/crops"),
        *("2026-01-02 03:04:05 UTC", show_percent(report["overall"]["cer"]), "context dependence"),
        *list_findings(report),
    ):
        assert f"{text}\n" in summary
    titles = list(examples.kinds)
    assert len(titles) > 2
    shown = page.sections["Typical errors"]
    assert [shown.index(KIND_TITLES[kind]) for kind in titles] == sorted(
        shown.index(KIND_TITLES[kind]) for kind in titles
    )
    held = Page(report_html({"holdout": {"words_held_out": 1234}}))
    assert held.sections["Never seen in training"].split()[-4:] == ["words", "held", "out", "1,234"]


def test_every_value_of_the_report_is_shown_and_a_new_key_too() -> None:
    report, examples = full_report()
    page = Page(
        report_html(report | {"new_findings": {"share_of_x": 0.123, "rows": [{"a": "unheard"}]}}, examples)
    )
    assert page.sections["New findings"].split() == ["share", "of", "x", "12.3", "%", "Rows", "a", "unheard"]
    assert show_percent(report["overall"]["jamo_cer"]) in page.sections["Overview"]
    assert show_percent(report["by_third"]["last"]["cer"]) in page.sections["By third of the line"]
    assert f"{report['collapse']['distinct_predictions']:,}" in page.sections["Collapse"]
    assert show_percent(report["joined_problems"]["of_truths"]["wer"]) in page.sections["Whole problems"]
    for name, value in report["arithmetic"]["counts"].items():
        assert show_name(name) in page.sections["Arithmetic"]
        assert f"{value:,}" in page.sections["Arithmetic"]
    assert "lines_uris / crops_of_books" in page.sections["Configuration and hashes"]
    assert "5f" * 32 in page.sections["Configuration and hashes"]
    unknown = report["unknown_lines"]["by_font_seen"]
    assert f"{unknown:,} lines are in none of these slices" in page.sections["Font seen in training"]


def test_every_section_shows_its_captions_tables_and_charts() -> None:
    report, examples = full_report()
    baseline = report["baseline"]
    page = Page(full_source())
    overview = page.sections["Overview"]
    summary = page.sections["Summary"]
    assert all(text.count(title) == 1 for title in RATES.values() for text in (summary, overview))
    for text in (
        show_percent(report["overall"]["jamo_cer"]),
        f"{report['overall']['counts']['jamo_hits']:,}",
        "p below 0.05; for slices, a false discovery rate below 0.05",
    ):
        assert text in overview
    rates = [entry["cer"]["baseline"] for entry in baseline["by_third"].values()]
    assert max(rates) > max(entry["cer"] for entry in report["by_third"].values())
    assert f"section: CER from 0 to {show_percent(max(rates))}." in page.sections["By third of the line"]
    for rate in rates:
        assert show_percent(rate) in page.sections["By third of the line"]
    for key, note in NOTES.items():
        assert note in page.sections[SECTION_OF[key]]
    sides = (report["calibration"], baseline["figures"]["calibration"])
    assert len(page.all("circle")) == sum(entry["lines"] > 0 for side in sides for entry in side["bins"])
    assert show_percent(sides[1]["expected_calibration_error"]) in page.sections["Confidence calibration"]
    openings = baseline["figures"]["collapse"]["openings"]
    shown = page.sections["Collapse"].split("baseline")[-1]
    assert all(f"{row['opening']}\n" in shown for row in openings)
    worst = page.sections["Worst lines"]
    assert all(line.baseline_prediction in worst for line in examples.worst)
    assert all(f"confidence {show_percent(line.confidence)}" in worst for line in examples.worst)
    alone = Page(report_html(only(report, "calibration") | {"remark": "plain words"}))
    assert len(alone.all("circle")) == sum(entry["lines"] > 0 for entry in sides[0]["bins"])
    assert alone.sections["Remark"].split() == ["plain", "words"]


def test_the_headline_has_its_intervals() -> None:
    low, high = full_report()[0]["overall"]["intervals"]["cer"]
    assert f"{100 * low:.2f}–{100 * high:.2f} %" in Page(full_source()).sections["Summary"]


def test_hostile_texts_are_shown_and_never_run() -> None:
    report = deepcopy(full_report()[0])
    report["config"] |= {"model_uri": HOSTILE, HOSTILE: HOSTILE}
    for part in (report, report["baseline"]):
        part["by_font"][HOSTILE] = part["by_font"].pop("바탕")
    report["collapse"]["openings"][0]["opening"] = HOSTILE
    report["confusions"].insert(0, {"truth": HOSTILE, "read": HOSTILE, "count": 1})
    report["baseline"]["config"]["model_uri"] = HOSTILE
    report |= {HOSTILE: {HOSTILE: HOSTILE}}
    names = ("reference", "prediction", "dataset", "line_id", "baseline_prediction")
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
    for title in ("By font", "Collapse", "Worst lines", "Random lines", "Configuration and hashes"):
        assert HOSTILE in page.sections[title].replace("U+202E", "\u202e")
    assert [image["alt"] for image in page.all("img")] == [HOSTILE] * 3


def test_nothing_is_loaded_and_only_the_script_of_the_page_runs() -> None:
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


def test_every_image_is_inside_the_page_and_has_the_aspect_ratio_of_its_line() -> None:
    example = make_example(make_rows(1)[0], width_px=1440, height_px=48)
    (image,) = Page(report_html({}, Examples(worst=[example]))).all("img")
    with Image.open(
        io.BytesIO(base64.b64decode(image["src"].removeprefix("data:image/jpeg;base64,")))
    ) as decoded:
        assert decoded.size == (720, 24) == (int(image["width"]), int(image["height"]))
        assert decoded.mode == "L"
    images = Page(full_source()).all("img")
    assert len(images) > 100
    for image in images:
        assert image["src"].startswith("data:image/jpeg;base64,")
        assert int(image["width"]) <= MAX_SIZE_PX[0]
    assert len(full_source()) < 1_500_000


def test_confusions_have_their_count_and_at_most_three_images() -> None:
    lines = [make_example(row) for row in make_rows(5)]
    confusions = [{"truth": "이", "read": "", "count": 1_234}, {"truth": "", "read": " ", "count": 2}]
    page = Page(report_html({"confusions": confusions * 20}, Examples(confusions={("이", ""): lines})))
    assert len(page.all("img")) == 15 * 3
    assert page.sections["Most common confusions"].split()[4:8] == ["이", "nothing", "1,234", "nothing"]


def test_no_more_than_thirty_lines_are_shown() -> None:
    page = Page(report_html({}, Examples(worst=[make_example(make_rows(1)[0])] * 40)))
    assert len(page.all("figure")) == 30


def test_each_slice_is_a_row_with_the_values_to_sort_by() -> None:
    family = full_report()[0]["by_length"]
    page = Page(report_html({"by_length": family}))
    keys = [cell["data-sort"] for cell in page.all("td")]
    names, lines = keys[::7], keys[6::7]
    assert names == list(family)
    assert lines == [str(entry["lines"]) for entry in family.values()]
    assert keys[2] == str(next(iter(family.values()))["cer"])
    assert len(page.all("th")) == len(page.all("button")) == 7


def test_every_family_and_every_section_of_values_shows_the_baseline() -> None:
    report, examples = full_report()
    page = Page(report_html(report, examples))
    alone = Page(report_html({key: value for key, value in report.items() if key != "baseline"}, examples))
    for title in TITLES:
        if title not in ("Summary", "Most common confusions", *OF_EXAMPLES):
            assert "baseline" in page.sections[title].lower(), title
            assert "baseline" not in alone.sections[title].lower(), title
    assert "models/before" in page.sections["Overview"]
    assert "0 only in the baseline" in page.sections["Overview"]
    assert (
        "144 in both evaluations, 0 only in this one, 0 with another reference" in page.sections["Overview"]
    )

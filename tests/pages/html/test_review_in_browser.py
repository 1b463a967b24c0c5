"""The review page in Chromium: lines are corrected by keyboard, downloaded and applied; `make soak`."""

import json
import time
import zipfile
from pathlib import Path

import pytest
from builders.reviewed import Labelled, label_here
from harness.browser import browse

from ocr_ray.pages.corrections import correct_label, correct_line, parse_corrections
from ocr_ray.pages.html.review import review_html
from ocr_ray.pages.labels.read import read_label
from ocr_ray.text.markup import to_text

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def labelled(fonts, tmp_path_factory) -> Labelled:
    return label_here(tmp_path_factory.mktemp("labelled"), fonts[0].content, 4)


def wait_for(path: Path) -> bytes:
    end_s = time.monotonic() + 60
    while not path.is_file():
        assert time.monotonic() < end_s, path
        time.sleep(0.1)
    return path.read_bytes()


def test_lines_are_corrected_by_keyboard_kept_downloaded_and_applied(labelled: Labelled, tmp_path) -> None:
    path = tmp_path / "review.html"
    path.write_text(review_html(labelled.reviewed, labelled.dataset), encoding="utf-8")
    # The pages' order, and in it the reading order, is kept among lines of the same confidence.
    order = sorted(labelled.lines, key=lambda line: line.confidence or 0)
    new = ["새 글 $5", "3 × 8 = 24", "탁자 7개"]
    progress = "document.getElementById('progress').textContent"
    with browse(tmp_path) as browser:
        browser.download_to(tmp_path)
        browser.open(path.as_uri())
        for text in new:
            browser.evaluate("document.getElementById('reading').select()")
            browser.type(text)
            browser.press("Enter")
        browser.press("Escape")  # skips the fourth line
        browser.press("Enter")  # accepts the fifth
        assert browser.evaluate(progress) == f"4 of {len(order)} lines decided"
        browser.open("about:blank")
        browser.open(path.as_uri())
        assert browser.evaluate(progress) == f"4 of {len(order)} lines decided"
        assert browser.evaluate("document.getElementById('about').textContent").startswith(order[3].line_id)
        browser.evaluate("document.getElementById('reading').select()")
        browser.type("가\\나")
        browser.press("Enter")  # refused: it cannot be printed
        assert browser.evaluate("document.getElementById('reading').validationMessage")
        for button in ("corrections", "labels"):
            browser.evaluate(f"document.getElementById('{button}').click()")
        content = wait_for(tmp_path / "corrections.json")
        wait_for(tmp_path / "labels.zip")
        assert browser.console == []
    corrections = parse_corrections(content, "corrections.json")
    assert corrections.texts == {
        **{line.line_id: text for line, text in zip(order, new, strict=False)},
        order[4].line_id: None,
    }
    assert corrections.dataset == labelled.dataset.config_sha256
    with zipfile.ZipFile(tmp_path / "labels.zip") as archive:
        assert archive.testzip() is None
        downloaded = {name: archive.read(name) for name in archive.namelist()}
    assert sorted(downloaded) == sorted(f"{page.page_id}.json" for page in labelled.pages)
    for page in labelled.reviewed:
        pairs = [(line, correct_line(line, corrections, "text")) for line in page.lines]
        ours = read_label(correct_label(page.label_file, pairs), page.page_id)
        theirs = read_label(downloaded[f"{page.page_id}.json"], page.page_id)
        assert [to_text(box.markup) for box in theirs.boxes] == [to_text(box.markup) for box in ours.boxes]
        assert to_text(theirs.problem_markup) == to_text(ours.problem_markup)
        if all(line == now for line, now in pairs):
            written = json.loads(page.label_file.decode("utf-8-sig"))
            assert json.loads(downloaded[f"{page.page_id}.json"].decode("utf-8-sig")) == written


@pytest.mark.parametrize(("width_px", "dark"), [(1200, False), (390, True)])
def test_the_page_fits_its_window_and_every_picture_has_a_name(labelled, width_px, dark, tmp_path) -> None:
    path = tmp_path / "review.html"
    path.write_text(review_html(labelled.reviewed, labelled.dataset), encoding="utf-8")
    with browse(tmp_path) as browser:
        browser.open(path.as_uri(), width_px=width_px, dark=dark)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width_px
        assert browser.evaluate("[...document.images].every(each => each.alt && each.naturalWidth)")
        fits = "getComputedStyle(each).objectFit === 'fill'"  # stored as a square, drawn as a line
        assert browser.evaluate(f"[...document.images].every(each => {fits})")
        paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(13, 17, 23)" if dark else "rgb(255, 255, 255)")
        assert browser.console == []

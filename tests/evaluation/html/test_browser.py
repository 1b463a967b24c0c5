"""The report in Chromium at the width of a phone and of a desktop, light and dark; `make soak`."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from builders.report import make_report

from ocr_ray.evaluation.analysis.slices import LENGTHS
from ocr_ray.evaluation.html.page import report_html

pytestmark = pytest.mark.soak

WIDTHS_PX = (390, 1280)
LIGHT, DARK = "1", "0"
TIMEOUT_S = 120
PROBE = """
addEventListener("load", () => {
  const images = [...document.images], tables = [];
  for (const table of document.querySelectorAll("table:has(button)")) {
    const heads = [...table.tHead.rows[0].cells], title = table.closest("section").querySelector("h2");
    heads.forEach((head, column) => {
      const read = () => [...table.tBodies[0].rows].map(row => row.cells[column].dataset.sort);
      const click = () => { head.querySelector("button").click(); return head.getAttribute("aria-sort"); };
      tables.push({ section: title.textContent, head: head.textContent, before: read(),
        first: click(), up: read(), second: click(), down: read() });
    });
  }
  scrollTo(0, 1e6);
  const contents = document.querySelector("nav").getBoundingClientRect();
  parent.postMessage({
    isScrolled: scrollY > 5000,
    contents: [contents.top >= 0, contents.top < 100, contents.width > 200],
    width: innerWidth,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    images: images.length,
    broken: images.filter(image => !image.complete || !image.naturalWidth).length,
    paper: getComputedStyle(document.body).backgroundColor,
    tables,
  }, "*");
});
"""
"""Runs in a copy of the page: clicks every column head twice, and posts what it measured."""
FRAMES = """<!DOCTYPE html><meta charset="utf-8"><pre>[]</pre><script>
const results = [], out = document.querySelector("pre");
addEventListener("message", event => {
  results.push(event.data);
  out.textContent = JSON.stringify(results);
});
</script>"""
"""A page of frames: a window of headless Chromium cannot be narrower than 500 px."""


@cache
def report_page() -> str:
    return report_html(*make_report())


def add_probe(source: str) -> str:
    """Return the page with the probe added, to its security policy too."""
    digest = base64.b64encode(hashlib.sha256(PROBE.encode()).digest()).decode()
    source = source.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    return source.replace("</body>", f"<script>{PROBE}</script></body>", 1)


def browse(folder: Path, source: str, *, scheme: str = LIGHT) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the measurements at each width, and the lines of the console."""
    chromium = shutil.which("chromium")
    assert chromium, "the browser's tests need Chromium: apt-get install chromium"
    (folder / "page.html").write_text(add_probe(source), encoding="utf-8")
    frames = "".join(f'<iframe src="page.html" width="{width}" height="900"></iframe>' for width in WIDTHS_PX)
    (folder / "frames.html").write_text(FRAMES + frames, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]
    flags += [f"--user-data-dir={folder / 'profile'}", f"--blink-settings=preferredColorScheme={scheme}"]
    flags += ["--virtual-time-budget=20000", "--dump-dom", (folder / "frames.html").as_uri()]
    run = subprocess.run([chromium, *flags], capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    (results,) = re.findall(r"<pre>(.*?)</pre>", run.stdout, re.DOTALL)
    console = [line for line in run.stderr.splitlines() if "CONSOLE" in line]
    return sorted(json.loads(unescape(results)), key=lambda seen: seen["width"]), console


def read_numbers(keys: list[str]) -> list[float] | None:
    """Return the values of a column of numbers; None for a column of words."""
    try:
        return [float(key) for key in keys]
    except ValueError:
        return None


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_the_page_loads_whole_logs_nothing_and_fits_a_phone(tmp_path: Path, scheme: str) -> None:
    frames, console = browse(tmp_path, report_page(), scheme=scheme)
    assert console == []
    assert [seen["width"] for seen in frames] == list(WIDTHS_PX)
    for seen in frames:
        assert seen["images"] == report_page().count("<img ") > 100
        assert seen["broken"] == 0
        assert seen["overflow"] == 0
        assert seen["isScrolled"]
        assert seen["contents"] == [True, True, True], "the contents stay in view at the end of the page"
        assert seen["paper"] == ("rgb(255, 255, 255)" if scheme == LIGHT else "rgb(13, 17, 23)")


def test_a_click_on_any_head_sorts_its_table_and_a_second_click_reverses_it(tmp_path: Path) -> None:
    (seen, _), _ = browse(tmp_path, report_page())
    columns = seen["tables"]
    assert len(columns) > 100
    moved = 0
    for column in columns:
        assert (column["first"], column["second"]) == ("ascending", "descending")
        assert sorted(column["up"]) == sorted(column["before"]) == sorted(column["down"])
        num_empty = column["before"].count("")
        filled = [keys[: len(keys) - num_empty] for keys in (column["up"], column["down"])]
        assert "" not in filled[0] + filled[1], f"{column['head']}: cells without a value stand last"
        if numbers := read_numbers(filled[0]):
            assert numbers == sorted(numbers), column
            assert read_numbers(filled[1]) == sorted(numbers, reverse=True), column
        moved += column["up"] != column["before"]
    assert moved > 40
    lengths = [c["up"] for c in columns if (c["section"], c["head"]) == ("By length", "slice")]
    assert len(lengths) == 2  # the baseline's too
    for names in lengths:
        assert names == [name for name in LENGTHS if name in names]


def test_planted_faults_of_a_page_are_found(tmp_path: Path) -> None:
    bad = '<img src="https://example.invalid/a.png"><div style="width: 3000px">wide</div><script>1</script>'
    frames, console = browse(tmp_path, report_page().replace("</h1>", f"</h1>{bad}", 1))
    assert {seen["broken"] for seen in frames} == {1}
    assert all(seen["overflow"] > 1_000 for seen in frames)
    assert any("Content Security Policy" in line and "example.invalid" in line for line in console)
    assert any("script" in line for line in console)

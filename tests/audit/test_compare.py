"""Comparison of two small datasets of boxes with known sizes, greys and characters."""

import html
import io
import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import pytest
import tyro
from builders.stub_lines import make_line
from PIL import Image

from ocr_ray.audit.compare import (
    MEASURES,
    compare_lines,
    format_comparison,
    make_histogram,
    measure_text_height,
)
from ocr_ray.audit.compare_page import comparison_html
from ocr_ray.audit.nearer import find_nearer_flags, measure_distance
from ocr_ray.dataset.lines import TextLine
from ocr_ray.dataset.manifest import build_manifest
from ocr_ray.dataset.parts import write_part
from ocr_ray.dataset.plan import Plan, cut_parts
from ocr_ray.dataset.text_statistics import TextStatistics
from ocr_ray.errors import InputError
from ocr_ray.render.config import RenderConfig
from ocr_ray.render.style import StyleConfig
from ocr_ray.storage.location import Location, locate, write_json


def draw_box(text: str, *, width_px: int, ink: int, paper: int, number: int = 0) -> TextLine:
    """Return a line 40 px high, stored as a square of 80 px: a box of ink on the middle 20 of its 40 rows."""
    pixels = np.full((80, 80), paper, np.uint8)
    pixels[20:60, 8:72] = ink
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return replace(
        make_line(number),
        image_bytes=buffer.getvalue(),
        text=text,
        markup=text,
        width_px=width_px,
        height_px=40,
    )


def write_dataset(dataset: Location, lines: Sequence[TextLine], *, lines_per_part: int = 600) -> Location:
    """Write lines as a train split, and a different line as the validation split."""
    plan = Plan(
        config={"job": "stub"},
        parts=(*cut_parts("train", 0, len(lines), lines_per_part), *cut_parts("validation", 0, 1, 1)),
    )
    other = draw_box("훼" * 30, width_px=9, ink=120, paper=130)
    parts = [
        write_part(
            dataset,
            spec,
            plan.config_sha256,
            lines[spec.start : spec.stop] if spec.split == "train" else [other],
        )
        for spec in plan.parts
    ]
    texts = TextStatistics()
    for _, part_texts in parts:
        texts.merge(part_texts)
    manifest = build_manifest(plan, [stats for stats, _ in parts], texts=texts, versions={})
    write_json(dataset / "manifest.json", asdict(manifest))
    return dataset


@pytest.fixture(scope="module")
def datasets(tmp_path_factory) -> tuple[Location, Location]:
    """Real lines: 300 of `을을가` and 100 of `가3`. Synthetic: 1,300 of `가갸7` and `가갸가갸7`."""
    folder = locate(str(tmp_path_factory.mktemp("compared")))
    real = [draw_box("을을가" if n % 4 else "가3", width_px=200, ink=40, paper=255) for n in range(400)]
    synthetic = [
        draw_box("가갸7" if n % 2 else "가갸가갸7", width_px=400 if n % 2 else 120, ink=10, paper=200)
        for n in range(1300)
    ]
    return write_dataset(folder / "real", real), write_dataset(folder / "synthetic", synthetic)


@pytest.fixture(scope="module")
def comparison(datasets):
    return compare_lines(*datasets)


def test_only_the_train_split_is_measured(comparison) -> None:
    assert comparison["lines"] == {"real": 400, "synthetic": 1300}
    assert all(entry["character"] != "훼" for entry in comparison["over_represented"])


def test_measures_are_those_of_the_drawn_boxes(comparison) -> None:
    assert comparison["text_height_px"] == {"real": [20.0] * 5, "synthetic": [20.0] * 5}
    assert comparison["ink_grey"] == {"real": [40.0] * 5, "synthetic": [10.0] * 5}
    assert comparison["paper_grey"] == {"real": [255.0] * 5, "synthetic": [200.0] * 5}
    assert comparison["aspect"]["real"] == [5.0] * 5
    assert comparison["aspect"]["synthetic"][::4] == [3.0, 10.0]
    assert comparison["length"] == {"real": [2, 2.75, 3, 3, 3], "synthetic": [3, 3, 4, 5, 5]}


def test_shares_of_classes_and_characters_are_as_written(comparison) -> None:
    assert comparison["classes"]["hangul"] == {"real": round(10 / 11, 4), "synthetic": 0.75}
    assert comparison["classes"]["digit"] == {"real": round(1 / 11, 4), "synthetic": 0.25}
    over = [entry["character"] for entry in comparison["over_represented"]]
    under = [entry["character"] for entry in comparison["under_represented"]]
    assert (over, under) == (["갸", "7", "가"], ["을", "3"])
    assert comparison["under_represented"][0] == {"character": "을", "real": 0.54545, "synthetic": 0.0}


def test_characters_that_synthetic_lines_lack_are_listed(comparison) -> None:
    assert comparison["lacking"] == ["을", "3"]
    assert "lacking: 을 3" in format_comparison(comparison)


def test_a_dataset_does_not_differ_from_itself(datasets) -> None:
    for dataset in datasets:
        comparison = compare_lines(dataset, dataset)
        assert (
            comparison["over_represented"] == comparison["under_represented"] == comparison["lacking"] == []
        )
        assert all(sides["real"] == sides["synthetic"] for sides in comparison["classes"].values())


def test_at_most_2000_lines_are_measured_the_same_each_time(tmp_path) -> None:
    line = draw_box("가", width_px=50, ink=0, paper=255)
    lines = [replace(line, text=chr(ord("가") + n)) for n in range(4200)]
    dataset = write_dataset(locate(str(tmp_path)), lines, lines_per_part=2500)
    first, second = compare_lines(dataset, dataset), compare_lines(dataset, dataset)
    assert first == second
    assert 1800 <= first["lines"]["real"] <= 2000


def test_an_empty_train_split_is_refused(datasets, tmp_path) -> None:
    with pytest.raises(InputError, match=r"lines to compare must be in train/, .* has none"):
        compare_lines(write_dataset(locate(str(tmp_path)), []), datasets[0])


@pytest.mark.parametrize(
    ("rows", "height_px", "expected"),
    [
        ([255] * 10, 40, 0.0),
        ([255, 255, 0, 0, 0, 255, 255, 255, 255, 255], 40, 12.0),
        ([0, 255, 255, 60, 60, 60, 60, 255, 255, 0], 10, 6.0),  # rules at both edges
        ([255, 240, 245, 200, 90, 80, 250, 255, 235, 255], 10, 2.0),  # noise and a grey smudge
    ],
)
def test_text_height_counts_the_rows_with_ink(rows: list[int], height_px: int, expected: float) -> None:
    pixels = np.full((10, 100), 255, np.uint8)
    pixels[:, 30:60] = np.array(rows, np.uint8)[:, None]
    assert measure_text_height(pixels, height_px) == pytest.approx(expected)


def test_a_histogram_has_the_shares_of_each_dataset_in_the_same_bins() -> None:
    histogram = make_histogram({"real": [0.0, 0.1, 24.0, 24.0], "synthetic": [12.1] * 5})
    assert (len(histogram["edges"]), histogram["edges"][-1]) == (25, 24.0)
    assert [histogram["real"][0], histogram["real"][-1], sum(histogram["real"])] == [0.5, 0.5, 1.0]
    assert histogram["synthetic"] == [0.0] * 12 + [1.0] + [0.0] * 11
    assert make_histogram({"real": [7.0], "synthetic": [7.0]})["real"][0] == 1.0


def test_the_distance_of_two_samples_is_that_of_kolmogorov_and_smirnov() -> None:
    assert measure_distance([1, 2, 3, 4], [1, 2, 3, 4]) == 0
    assert measure_distance([1, 2], [3, 4, 5]) == 1
    assert measure_distance([1, 2, 3, 4], [3, 4, 5, 6]) == 0.5  # at 2: half of the first, none of the second


def test_flags_turn_what_was_measured_into_what_a_style_asks_for() -> None:
    styles = [{"text_height_px": height, "ink": 50, "paper": 240} for height in range(20, 60)]
    synthetic = {
        "length": [5.0, 9.0] * 20,
        "text_height_px": [0.8 * style["text_height_px"] for style in styles],
        "ink_grey": [60.0] * 40,  # the blur thins it
        "paper_grey": [240.0] * 40,
    }
    real = {
        "length": [5.0, 9.0] * 20,
        "text_height_px": np.linspace(8, 16, 101).tolist(),
        "ink_grey": [60.0] * 40,
        "paper_grey": [240.0] * 40,
    }
    # The 5 % and 95 % quantiles 8.4 and 15.6, as the height of the ink is 0.8 of that asked for.
    assert find_nearer_flags(real, synthetic, styles, real_uri="crops") == {"style.text-height-px": (10, 20)}
    darker = real | {
        "ink_grey": [30.0] * 40,
        "length": [3.0] * 40,
        "text_height_px": synthetic["text_height_px"],
    }
    assert find_nearer_flags(darker, synthetic, styles, real_uri="crops") == {
        "lengths-like": "crops",
        "style.ink": (20, 20),
        "style.paper": (240, 240),
    }
    dark = darker | {"length": synthetic["length"], "paper_grey": [35.0] * 40, "ink_grey": [200.0] * 40}
    flags = find_nearer_flags(dark, synthetic, styles, real_uri="crops")
    StyleConfig(ink=flags["style.ink"], paper=flags["style.paper"])  # raises ValueError if they do not fit
    assert find_nearer_flags(synthetic, synthetic, styles, real_uri="crops") == {}
    assert find_nearer_flags(real, synthetic, [], real_uri="crops") == {}  # no styles: crops


def test_the_page_shows_both_histograms_the_characters_and_a_command_that_runs(comparison, datasets) -> None:
    nearer = {"lengths-like": "/data/my crops", "style.text-height-px": (10, 20)}
    shown = comparison | {"nearer": nearer, "lacking": ["<", "을"]}
    flags = {"out-uri": "/data/lines", "num-lines": 500, "style": "plain"}
    page = comparison_html(shown, *datasets, flags)
    for side in ("real", "synthetic"):
        rects = re.findall(rf'<rect class="{side}" [^>]*height="([\d.]+)"', page)
        histograms = [comparison["histograms"][measure][side] for measure in MEASURES]
        assert len(rects) == sum(share > 0 for shares in histograms for share in shares)
        assert float(max(rects, key=float)) == 120.0
    assert "&lt; 을" in page
    assert "<script" not in page
    commands = [html.unescape(text) for text in re.findall("<pre>(.*?)</pre>", page)]
    assert commands[0] == "--lengths-like '/data/my crops' --style.text-height-px 10 20"
    program, job, *arguments = shlex.split(commands[1])
    assert (program, job) == ("ocr-ray", "render-lines")
    config = tyro.cli(RenderConfig, args=arguments)
    assert (config.out_uri, config.style, config.look.text_height_px) == (
        "/data/lines_nearer",
        "pages",
        (10, 20),
    )
    assert (config.num_lines, config.sources.lengths_like) == (500, "/data/my crops")


def test_a_comparison_is_formatted_as_a_table(comparison) -> None:
    table = format_comparison(comparison).splitlines()
    assert "real: 400 lines" in table[0]
    assert "synthetic: 1300 lines" in table[0]
    row = next(row for row in table if row.startswith("text_height_px"))
    assert row.split() == ["text_height_px", *["20.00"] * 10]
    assert len({len(row) for row in table[:7]}) == 1

import logging
import math
import tempfile
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
import ray
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.dataset.images import ImageConfig
from ocr_ray.dataset.lines import PartSpec
from ocr_ray.dataset.parts import write_part
from ocr_ray.dataset.plan import cut_parts
from ocr_ray.errors import InputError
from ocr_ray.render.config import RenderConfig
from ocr_ray.render.job import plan_rendering
from ocr_ray.render.lines import render_part
from ocr_ray.render.plan_config import PlanConfig
from ocr_ray.render.plan_job import (
    Pilot,
    count_puts,
    estimate,
    format_plans,
    plan_dataset,
    plan_lines,
    run_pilot,
)
from ocr_ray.storage.location import locate, write_bytes

PILOT = Pilot(lines=1000, rejects=0, lines_per_s=1000.0, bytes_per_line=20_000.0)


def test_the_defaults_give_the_numbers_for_trocr_small_korean() -> None:
    assert plan_lines(PlanConfig()) == {
        "contextual_lines": 6_015_224,
        "plans": [
            {"ratio": 0.3, "lines": 1_804_567, "lines_per_font": 601_523},
            {"ratio": 0.5, "lines": 3_007_612, "lines_per_font": 1_002_538},
        ],
        "starter_lines": [100_000, 300_000],
    }


def test_a_half_line_is_rounded_up() -> None:
    config = PlanConfig(pretraining_lines=5, labelled_lines=0, ratios=(0.1, 0.3, 0.5), fonts=1)
    assert [entry["lines"] for entry in plan_lines(config)["plans"]] == [1, 2, 3]


@settings(deadline=None)
@given(
    contextual=st.integers(50, 600_000_000),
    ratio=st.integers(1, 100).map(lambda percent: percent / 100),
    fonts=st.integers(1, 50),
)
def test_every_font_has_enough_lines_and_rounding_changes_at_most_half_a_line(
    contextual: int, ratio: float, fonts: int
) -> None:
    config = PlanConfig(pretraining_lines=contextual, labelled_lines=0, ratios=(ratio,), fonts=fonts)
    (entry,) = plan_lines(config)["plans"]
    assert abs(entry["lines"] - contextual * ratio) <= 0.5 + 1e-6
    assert 0 <= entry["lines_per_font"] * fonts - entry["lines"] < fonts


def test_numbers_of_lines_follow_the_ratios_with_their_own_ratio() -> None:
    config = PlanConfig(pretraining_lines=1000, labelled_lines=0, ratios=(0.5,), num_lines=(250, 100))
    plans = plan_lines(config)["plans"]
    assert [(entry["ratio"], entry["lines"]) for entry in plans] == [(0.5, 500), (0.25, 250), (0.1, 100)]


def test_an_estimate_agrees_with_a_calculation_by_hand() -> None:
    """99 training parts and one validation part, each of 1,000 lines, 20 MB and one second on a core.

    On 2 x 16 cores they take four rounds of a second, or five seconds at an efficiency of 0.8. A part is
    uploaded in two pieces of 10 MiB with two more requests; its rejects and the four other files take one.
    """
    config = PlanConfig(machines=2, cores_per_machine=16, efficiency=0.8, machine_price=3.6)
    parts = [*cut_parts("train", 0, 99_000, 1000), *cut_parts("validation", 700_000_000, 1000, 1000)]
    assert estimate(config, PILOT, parts) == pytest.approx(
        {
            "bytes": 2_000_000_000,
            "gigabytes": 2.0,
            "core_hours": 100 / 3600,
            "hours": 5 / 3600,
            "upload_mb_per_s": 200.0,
            "s3_put_requests": 100 * (4 + 1) + 4,
            "cost": 0.01,
        }
    )


def test_more_cores_than_parts_save_no_time() -> None:
    parts = cut_parts("train", 0, 10_000, 1000)
    hours = [
        estimate(PlanConfig(machines=1, cores_per_machine=cores), PILOT, parts)["hours"]
        for cores in (5, 9, 10, 1000)
    ]
    assert hours == pytest.approx([2 / 0.85 / 3600, 2 / 0.85 / 3600, 1 / 0.85 / 3600, 1 / 0.85 / 3600])


def test_no_cost_is_estimated_without_a_price() -> None:
    assert estimate(PlanConfig(), PILOT, cut_parts("train", 0, 10, 10))["cost"] is None


@pytest.mark.slow
@pytest.mark.parametrize("size_bytes", [0, 1, 10 * 2**20 - 1, 10 * 2**20, 10 * 2**20 + 1, 25_000_000])
def test_the_number_of_requests_agrees_with_the_pieces_that_s3_received(size_bytes: int, bucket: str) -> None:
    write_bytes(locate(f"{bucket}/planning/file"), bytes(size_bytes))
    tag = boto3.client("s3").head_object(Bucket=bucket.removeprefix("s3://"), Key="planning/file")["ETag"]
    _, in_pieces, number = tag.strip('"').rpartition("-")  # hash-number for a file uploaded in pieces
    assert count_puts(size_bytes) == (int(number) + 2 if in_pieces else 1)


@pytest.mark.parametrize("size", ["384", "native"])
def test_a_pilot_measures_the_same_part_that_a_dataset_has(size, tmp_path) -> None:
    image = ImageConfig(size=size)
    pilot = run_pilot(PlanConfig(image=image).render_config(5000), 40)
    assert pilot is not None
    assert pilot.lines == 40
    assert pilot.rejects == 0
    assert 0 < pilot.lines_per_s < math.inf
    plan, inputs = plan_rendering(RenderConfig(out_uri=str(tmp_path), num_lines=40, image=image))
    part = PartSpec(split="train", index=0, start=0, stop=40)
    write_part(locate(str(tmp_path)), part, plan.config_sha256, render_part(inputs, part))
    assert pilot.bytes_per_line * 40 == pytest.approx((tmp_path / part.path).stat().st_size)


def test_a_plan_counts_the_parts_of_a_dataset_and_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    was_running = ray.is_initialized()
    with caplog.at_level(logging.INFO):
        summary = plan_dataset(PlanConfig(num_lines=(100_001,), pilot_lines=20, machine_price=1.0))
    assert ray.is_initialized() == was_running
    assert list(tmp_path.iterdir()) == []
    plan, _ = plan_rendering(RenderConfig(out_uri=str(tmp_path), num_lines=100_001))
    assert [entry["parts"] for entry in summary["plans"]] == [442, 735, len(plan.parts)]
    assert all(entry["bytes"] > entry["lines"] and entry["cost"] > 0 for entry in summary["plans"])
    assert summary["pilot"]["lines"] == 20
    assert format_plans(summary) in caplog.text


@pytest.mark.parametrize(
    ("flags", "warned"), [({"pilot_lines": 0}, False), ({"font_names": ("없는 글꼴",)}, True)]
)
def test_without_a_pilot_there_are_still_counts(
    flags: dict[str, object], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    config = replace(PlanConfig(), **flags)  # type: ignore[arg-type]
    summary = plan_dataset(config)
    assert summary["pilot"] is None
    assert [(entry["lines"], entry["parts"]) for entry in summary["plans"]] == [
        (1_804_567, 442),
        (3_007_612, 735),
    ]
    assert ("no pilot, only counts: font '없는 글꼴' must be installed" in caplog.text) == warned
    assert format_plans(summary).splitlines()[0].split() == ["lines", "ratio", "per", "font", "parts"]


def test_a_missing_corpus_is_an_error_and_not_a_missing_pilot(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--corpus-uri must name an existing folder"):
        plan_dataset(PlanConfig(corpus_uri=str(tmp_path / "missing")))


def test_every_row_of_the_table_is_as_wide_as_its_heading() -> None:
    config = PlanConfig(num_lines=(7,))
    summary = plan_lines(config)
    for entry in summary["plans"]:
        entry |= estimate(config, PILOT, cut_parts("train", 0, entry["lines"], 4096))
    heading, *rows = format_plans(summary).splitlines()
    assert len(rows) == 3
    assert {len(row) for row in rows} == {len(heading)}
    assert "1,804,567" in rows[0]
    assert "cost" not in heading


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"pretraining_lines": -1}, "pretraining_lines must not be negative, got -1"),
        ({"labelled_lines": -5}, "labelled_lines must not be negative, got -5"),
        ({"pretraining_lines": 0, "labelled_lines": 0}, "must not both be 0"),
        ({"ratios": ()}, "ratios must be one or more shares"),
        ({"ratios": (0.3, 30.0)}, r"at most 1, got \(0.3, 30.0\)"),
        ({"ratios": (0.0,)}, "above 0"),
        ({"fonts": 0}, "fonts must be at least 1, got 0"),
        ({"num_lines": (1000, 0)}, "a dataset must have from 1 to 699999999 lines, got 0"),
        ({"num_lines": (700_000_000,)}, "from 1 to 699999999 lines, got 700000000"),
        ({"pretraining_lines": 2_000_000_000}, "change ratios, pretraining_lines or num_lines"),
        ({"pilot_lines": -1}, "pilot_lines must be from 0 to lines_per_part, 4096, got -1"),
        ({"pilot_lines": 11, "lines_per_part": 10}, "lines_per_part, 10, got 11"),
        ({"lines_per_part": 0}, "lines_per_part must be at least 1, got 0"),
        ({"machines": 0}, "machines must be at least 1, got 0"),
        ({"cores_per_machine": -2}, "cores_per_machine must be at least 1, got -2"),
        ({"efficiency": 0.0}, "efficiency must be above 0 and at most 1, got 0.0"),
        ({"efficiency": 85.0}, "efficiency must be above 0 and at most 1, got 85.0"),
        ({"efficiency": math.nan}, "efficiency must be above 0"),
        ({"machine_price": -0.1}, "machine_price must be 0 or more, got -0.1"),
        ({"machine_price": math.inf}, "machine_price must be 0 or more, got inf"),
    ],
)
def test_an_invalid_plan_is_rejected_with_the_name_of_its_flag(
    flags: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        PlanConfig(**flags)  # type: ignore[arg-type]

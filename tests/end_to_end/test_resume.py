"""A rendered dataset whose job was killed, or whose parts were damaged, completed by another run."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from harness.processes import assert_same_dataset, kill_tree, list_parts, start_job, wait_for

from ocr_ray.cli.flags import describe_flags
from ocr_ray.render.config import RenderConfig
from ocr_ray.render.job import render_lines

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]
NUM_PARTS = 39


@pytest.fixture(scope="module")
def undisturbed(fonts, tmp_path_factory) -> RenderConfig:
    """A dataset of one undisturbed run."""
    config = RenderConfig(
        out_uri=str(tmp_path_factory.mktemp("undisturbed") / "lines"),
        num_lines=624,
        seed=3,
        validation_share=0.02,
        lines_per_part=16,
        fonts=tuple(font.name for font in fonts),
    )
    assert render_lines(config)["parts_made"] == NUM_PARTS + 1
    return config


def test_a_killed_job_is_completed_to_the_same_dataset(undisturbed, tmp_path) -> None:
    config = replace(undisturbed, out_uri=str(tmp_path / "lines"), num_cpus=1)
    log_path = tmp_path / "log"
    job = start_job("render_lines", describe_flags(config), log_path)
    wait_for(lambda: len(list_parts(config.out_uri)) > 3, job, log_path)
    kill_tree(job.pid)
    assert not (tmp_path / "lines/manifest.json").exists()
    finished = list_parts(config.out_uri)
    assert 3 < len(finished) < NUM_PARTS
    summary = render_lines(config)
    assert (summary["parts_kept"], summary["parts_made"]) == (len(finished), NUM_PARTS + 1 - len(finished))
    assert_same_dataset(config.out_uri, undisturbed.out_uri)


def test_a_truncated_and_a_foreign_part_are_made_again(undisturbed, tmp_path) -> None:
    """The foreign part has the same name and numbers, but another seed."""
    config = replace(undisturbed, out_uri=str(tmp_path / "lines"))
    shutil.copytree(undisturbed.out_uri, config.out_uri)
    other = replace(config, out_uri=str(tmp_path / "other"), seed=4, num_lines=48)
    render_lines(other)
    train = Path(config.out_uri) / "train"
    shutil.copy(Path(other.out_uri) / "train/part-00001.parquet", train)
    truncated = train / "part-00017.parquet"
    truncated.write_bytes(truncated.read_bytes()[:-1000])
    summary = render_lines(config)
    assert (summary["parts_made"], summary["parts_kept"]) == (2, NUM_PARTS - 1)
    assert_same_dataset(config.out_uri, undisturbed.out_uri)

"""Render lines of random words and arithmetic into a Parquet dataset, on all CPUs of a machine or cluster."""

from ocr_ray.cli.run_job import run_job
from ocr_ray.render.config import RenderConfig
from ocr_ray.render.job import render_lines


def main() -> None:
    """Run the job."""
    run_job(RenderConfig, render_lines, description=__doc__)


if __name__ == "__main__":
    main()

"""Estimate how many context-free lines to render, with size, time and cost."""

from ocr_ray.cli.run_job import run_job
from ocr_ray.render.plan_config import PlanConfig
from ocr_ray.render.plan_job import plan_dataset


def main() -> None:
    """Run the job."""
    run_job(PlanConfig, plan_dataset, description=__doc__)


if __name__ == "__main__":
    main()

"""Drain the Ray node of a spot instance that will be taken away; cluster.yaml starts this on workers."""

from ocr_ray.aws.config import SpotConfig
from ocr_ray.aws.spot import watch_spot
from ocr_ray.cli.run_job import run_job


def main() -> None:
    """Run the job."""
    run_job(SpotConfig, watch_spot, description=__doc__)


if __name__ == "__main__":
    main()

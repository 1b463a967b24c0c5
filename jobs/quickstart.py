"""The whole road on a small scale: lines, pages, crops, a trained model, its evaluation."""

from ocr_ray.cli.run_job import run_job
from ocr_ray.quickstart.config import QuickstartConfig
from ocr_ray.quickstart.job import run_quickstart


def main() -> None:
    """Run the job."""
    run_job(QuickstartConfig, run_quickstart, description=__doc__)


if __name__ == "__main__":
    main()

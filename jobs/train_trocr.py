"""Fine-tune a TrOCR over data-parallel workers; run again, it goes on from the last checkpoint."""

from ocr_ray.cli.run_job import run_job
from ocr_ray.training.config import TrainJobConfig
from ocr_ray.training.job import train_trocr


def main() -> None:
    """Run the job."""
    run_job(TrainJobConfig, train_trocr, description=__doc__)


if __name__ == "__main__":
    main()

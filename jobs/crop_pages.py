"""Cut the labelled text lines out of AI Hub maths pages into Parquet parts, over all CPUs of a cluster."""

from ocr_ray.cli.run_job import run_job
from ocr_ray.pages.config import CropConfig
from ocr_ray.pages.crop_job import crop_pages


def main() -> None:
    """Run the job."""
    run_job(CropConfig, crop_pages, description=__doc__)


if __name__ == "__main__":
    main()

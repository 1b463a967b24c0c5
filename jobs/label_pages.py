"""Read the boxes of pages with a model into label files and Parquet parts, and show what to look at."""

from ocr_ray.cli.run_job import run_job
from ocr_ray.pages.config import LabelConfig
from ocr_ray.pages.label_job import label_pages


def main() -> None:
    """Run the job."""
    run_job(LabelConfig, label_pages, description=__doc__)


if __name__ == "__main__":
    main()

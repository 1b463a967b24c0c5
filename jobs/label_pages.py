"""Read the boxes of pages with a model into label files and Parquet parts, and show what to look at."""

from ocr_ray.cli import run_job
from ocr_ray.labelling import LabelConfig, label_pages


def main() -> None:
    """Run the job."""
    run_job(LabelConfig, label_pages, description=__doc__)


if __name__ == "__main__":
    main()

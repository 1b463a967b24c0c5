"""Crop the text lines of labelled pages into a Parquet dataset."""

from ocr_ray.cli.commands import run_named_job


def main() -> None:
    """Run the job."""
    run_named_job("crop_pages")


if __name__ == "__main__":
    main()

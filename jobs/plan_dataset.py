"""Estimate how many lines to render, and the time, storage and cost that they take."""

from ocr_ray.cli.commands import run_named_job


def main() -> None:
    """Run the job."""
    run_named_job("plan_dataset")


if __name__ == "__main__":
    main()

"""Make lines and crops, train a small model and evaluate it: end to end in minutes."""

from ocr_ray.cli.commands import run_named_job


def main() -> None:
    """Run the job."""
    run_named_job("quickstart")


if __name__ == "__main__":
    main()

"""Train models that differ only in the lines they are trained on, and compare them."""

from ocr_ray.cli.commands import run_named_job


def main() -> None:
    """Run the job."""
    run_named_job("experiment")


if __name__ == "__main__":
    main()

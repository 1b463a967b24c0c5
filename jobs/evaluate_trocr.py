"""Read a split with a model and report its errors."""

from ocr_ray.cli.commands import run_named_job


def main() -> None:
    """Run the job."""
    run_named_job("evaluate_trocr")


if __name__ == "__main__":
    main()

"""Show a local web page that reads images with a model."""

from ocr_ray.cli.commands import run_named_job


def main() -> None:
    """Run the job."""
    run_named_job("demo")


if __name__ == "__main__":
    main()

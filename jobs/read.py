"""Read the text of images with a model."""

from ocr_ray.cli.commands import run_named_job


def main() -> None:
    """Run the job."""
    run_named_job("read")


if __name__ == "__main__":
    main()

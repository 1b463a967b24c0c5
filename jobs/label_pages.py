"""Read the text boxes of pages with a model into labels, lines and a review page."""

from ocr_ray.cli.commands import run_named_job


def main() -> None:
    """Run the job."""
    run_named_job("label_pages")


if __name__ == "__main__":
    main()

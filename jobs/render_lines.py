"""Render lines of random words and arithmetic into a Parquet dataset."""

from ocr_ray.cli.commands import run_named_job


def main() -> None:
    """Run the job."""
    run_named_job("render_lines")


if __name__ == "__main__":
    main()

"""Check a dataset against its plan and manifest, and render some of its lines again."""

from ocr_ray.cli.commands import run_named_job


def main() -> None:
    """Run the job."""
    run_named_job("audit_lines")


if __name__ == "__main__":
    main()

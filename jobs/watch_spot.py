"""Wait for the interruption notice of this EC2 spot instance, then drain its Ray node."""

from ocr_ray.cli.commands import run_named_job


def main() -> None:
    """Run the job."""
    run_named_job("watch_spot")


if __name__ == "__main__":
    main()

"""Check a cluster file before `ray up`."""

from ocr_ray.cli.commands import run_named_job


def main() -> None:
    """Run the job."""
    run_named_job("check_cluster")


if __name__ == "__main__":
    main()

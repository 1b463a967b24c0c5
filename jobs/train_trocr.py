"""Fine-tune a TrOCR model on datasets of lines, data-parallel over CPUs or GPUs."""

from ocr_ray.cli.commands import run_named_job


def main() -> None:
    """Run the job."""
    run_named_job("train_trocr")


if __name__ == "__main__":
    main()

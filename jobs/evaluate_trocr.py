"""Read a split with a model and report its errors, overall and by dataset, source and font."""

from ocr_ray.cli.run_job import run_job
from ocr_ray.evaluation.config import EvaluationConfig
from ocr_ray.evaluation.job import evaluate_lines


def main() -> None:
    """Run the job."""
    run_job(EvaluationConfig, evaluate_lines, description=__doc__)


if __name__ == "__main__":
    main()

"""Check that a dataset is whole and what its plan says; exit with 1 and name every hole if it is not."""

from ocr_ray.audit.config import AuditConfig
from ocr_ray.audit.job import audit_lines
from ocr_ray.cli.run_job import run_job


def main() -> None:
    """Run the job."""
    run_job(AuditConfig, audit_lines, description=__doc__)


if __name__ == "__main__":
    main()

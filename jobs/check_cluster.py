"""Check cluster.yaml and the AWS account before `ray up` does; exit with 2 and name every fault."""

from ocr_ray.aws.config import CheckConfig
from ocr_ray.aws.job import check_cluster
from ocr_ray.cli.run_job import run_job


def main() -> None:
    """Run the job."""
    run_job(CheckConfig, check_cluster, description=__doc__)


if __name__ == "__main__":
    main()

"""Check cluster.yaml and the AWS account before `ray up` does; exit with 2 and name every fault."""

from ocr_ray.cli import run_job
from ocr_ray.clustering import CheckConfig, check_cluster


def main() -> None:
    """Run the job."""
    run_job(CheckConfig, check_cluster, description=__doc__)


if __name__ == "__main__":
    main()

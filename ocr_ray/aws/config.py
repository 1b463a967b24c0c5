"""The flags of check_cluster and watch_spot."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckConfig:
    """Check a cluster file before `ray up`, and list all faults together."""

    cluster: Path = Path("cluster.yaml")
    """The file to be given to `ray up`."""
    policies: Path = Path("deploy")
    """Folder of the IAM policies, which must name the same buckets and cluster."""
    constraints: Path = Path("constraints.txt")
    """File of the versions that nodes install, which must be those of this environment."""
    skip_aws: bool = False
    """Skip the checks that ask the AWS account: images, instance types, profiles, buckets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotConfig:
    """Wait for the interruption notice of this spot instance, then drain its Ray node."""

    gcs_address: str
    """Address of the cluster's head, HOST:PORT."""
    metadata_url: str = "http://169.254.169.254"
    """URL of the instance metadata service."""
    interval_s: float = 5.0
    """Seconds between two requests."""
    timeout_s: float = 3.0
    """Seconds after which a request to the metadata service or the head fails."""

    def __post_init__(self) -> None:
        if self.interval_s <= 0 or self.timeout_s <= 0:
            raise ValueError("interval_s and timeout_s must be more than 0")

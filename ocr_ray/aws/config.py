"""The flags of check_cluster and watch_spot."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckConfig:
    """Check a cluster file before `ray up`: all that is wrong is named at once."""

    cluster: Path = Path("cluster.yaml")
    """The file that `ray up` will be given."""
    policies: Path = Path("deploy")
    """The folder of the IAM policies, which must be for the same buckets and cluster."""
    constraints: Path = Path("constraints.txt")
    """The versions that nodes install, which must be those of this environment."""
    skip_aws: bool = False
    """Leave out what only the AWS account can tell: images, instance types, profiles, buckets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotConfig:
    """Wait for the notice that this spot instance will be taken away, then tell Ray."""

    gcs_address: str
    """Where the cluster's head listens, HOST:PORT."""
    metadata_url: str = "http://169.254.169.254"
    """The instance metadata service."""
    interval_s: float = 5.0
    """Seconds between two looks."""
    timeout_s: float = 3.0
    """Seconds that the metadata service or the head may take to answer."""

    def __post_init__(self) -> None:
        if self.interval_s <= 0 or self.timeout_s <= 0:
            raise ValueError("interval_s and timeout_s must be more than 0")

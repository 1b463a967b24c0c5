"""The flags of check_cluster and watch_spot."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckConfig:
    """Check a cluster file before `ray up`, and list all faults."""

    cluster: Path = Path("cluster.yaml")
    """The cluster file for `ray up`."""
    policies: Path = Path("deploy")
    """Folder of the IAM policies, for the same buckets and cluster, which allow no more than it needs."""
    constraints: Path = Path("constraints.txt")
    """File with the package versions that nodes install, next to torch.txt; both as installed here."""
    skip_aws: bool = False
    """Skip the checks in the AWS account: images, instance types, roles, security groups, buckets."""
    allow_public_ssh: bool = False
    """Accept that SSH can be reached from every address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotConfig:
    """Wait for the interruption notice of this spot instance, then drain its Ray node."""

    gcs_address: str
    """Address of the head node, HOST:PORT."""
    metadata_url: str = "http://169.254.169.254"
    """URL of the instance metadata service."""
    interval_s: float = 5.0
    """Seconds between requests to the metadata service."""
    timeout_s: float = 3.0
    """Timeout of a request to the metadata service or the head node, in seconds."""

    def __post_init__(self) -> None:
        host, _, port = self.gcs_address.rpartition(":")
        if not (host and port.isdecimal()):
            raise ValueError(f"gcs_address must be HOST:PORT, got {self.gcs_address!r}")
        url = urlsplit(self.metadata_url)
        if url.scheme not in ("http", "https") or not url.netloc:
            raise ValueError(f"metadata_url must be http://HOST[:PORT], got {self.metadata_url!r}")
        if self.interval_s <= 0 or self.timeout_s <= 0:
            raise ValueError("interval_s and timeout_s must be more than 0")

"""The IAM policies beside a cluster file, which must speak of the same buckets and the same cluster."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ocr_ray.aws.cluster_file import PLACEHOLDER, ClusterFile, Fault
from ocr_ray.errors import InputError

BUCKETS, HEAD, LAUNCHER = "buckets.json", "head.json", "launcher.json"
CLUSTER_TAG = "ray-cluster-name"
"""What Ray tags the nodes of a cluster with; only nodes with this tag may be started and ended."""


def check_policies(file: ClusterFile, folder: Path) -> Iterator[Fault]:
    """Yield where the policies leave out a folder of `metadata.uris`, or are for another cluster.

    Raises:
        InputError: a policy is missing or no policy.
    """
    allowed = [str(resource) for each in read_statements(folder / BUCKETS) for resource in each["Resource"]]
    if strange := [resource for resource in allowed if PLACEHOLDER in resource]:
        yield Fault(str(folder / BUCKETS), f"must name your buckets, still names {', '.join(strange)}")
    for uri in file.uris:
        place = uri.removeprefix("s3://")
        for resource in (f"arn:aws:s3:::{place.split('/')[0]}", f"arn:aws:s3:::{place}/*"):
            if resource not in allowed:
                yield Fault(
                    str(folder / BUCKETS), f"must allow {resource} for {uri}, allows {', '.join(allowed)}"
                )
    cluster = file.config.get("cluster_name")
    for name in (HEAD, LAUNCHER):
        for statement in read_statements(folder / name):
            for condition in statement.get("Condition", {}).values():
                tags = [tag for key, tag in condition.items() if key.endswith(f"/{CLUSTER_TAG}")]
                if tags and tags != [cluster]:
                    yield Fault(
                        str(folder / name),
                        f"{statement['Sid']} must be for cluster_name, {cluster!r}, is for {tags[0]!r}",
                    )


def read_statements(path: Path) -> list[dict[str, Any]]:
    """Return the statements of a policy, their resources as lists.

    Raises:
        InputError: there is no such policy.
    """
    try:
        statements = json.loads(path.read_text(encoding="utf-8"))["Statement"]
        return [
            {
                **each,
                "Resource": [each["Resource"]] if isinstance(each["Resource"], str) else each["Resource"],
            }
            for each in statements
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"--policies must hold IAM policies in JSON, {path} is none: {error!r}") from error

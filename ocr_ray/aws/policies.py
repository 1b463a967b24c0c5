"""Checks that the IAM policies name the same buckets and the same cluster as the cluster file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ocr_ray.aws.cluster_file import PLACEHOLDER, ClusterFile, Fault
from ocr_ray.errors import InputError

BUCKETS, HEAD, LAUNCHER = "buckets.json", "head.json", "launcher.json"
CLUSTER_TAG = "ray-cluster-name"
"""The tag that Ray gives to the nodes of a cluster; only tagged nodes can be started and terminated."""


def check_policies(file: ClusterFile, folder: Path) -> Iterator[Fault]:
    """Yield where the policies omit a folder of `metadata.uris`, or are for another cluster.

    Raises:
        InputError: a policy is missing or cannot be read.
    """
    allowed = [
        str(resource) for statement in read_statements(folder / BUCKETS) for resource in statement["Resource"]
    ]
    if unfilled := [resource for resource in allowed if PLACEHOLDER in resource]:
        yield Fault(str(folder / BUCKETS), f"must name your buckets, still names {', '.join(unfilled)}")
    for uri in file.uris:
        folder_key = uri.removeprefix("s3://")
        for resource in (f"arn:aws:s3:::{folder_key.split('/')[0]}", f"arn:aws:s3:::{folder_key}/*"):
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
    """Return the statements of a policy, with resources as lists.

    Raises:
        InputError: the file is missing or is not a policy.
    """
    try:
        statements = json.loads(path.read_text(encoding="utf-8"))["Statement"]
        return [
            {
                **statement,
                "Resource": [resource] if isinstance(resource := statement["Resource"], str) else resource,
            }
            for statement in statements
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"--policies must hold IAM policies in JSON, {path} is not one: {error!r}"
        ) from error

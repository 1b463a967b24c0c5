"""Checks of the policies in a folder: what they allow, and that they match the cluster file."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ocr_ray.aws.cluster_file import PLACEHOLDER, ClusterFile, Fault
from ocr_ray.aws.statements import (
    START,
    USE_FOLDERS,
    as_list,
    check_statement,
    check_trust,
    find_missing,
    list_grantees,
    read_statements,
)
from ocr_ray.errors import InputError

BUCKETS, DELETION, KEY, HEAD, LAUNCHER = (
    "buckets.json",
    "deletion.json",
    "kms.json",
    "head.json",
    "launcher.json",
)
TRUST = "trust.json"
NEEDED = {BUCKETS: USE_FOLDERS, DELETION: ("s3:DeleteObject",), HEAD: START, LAUNCHER: START}
"""The actions that a file must allow."""


def check_policies(file: ClusterFile, folder: Path) -> Iterator[Fault]:
    """Yield what the policies allow beyond what the cluster needs, and which folders they omit.

    Raises:
        InputError: a policy is missing or cannot be read.
    """
    worker, head, user = list_grantees(file)
    granted = {BUCKETS: worker, DELETION: head, HEAD: head, LAUNCHER: user}
    if (folder / KEY).exists() and PLACEHOLDER not in str(read_policy(folder / KEY)):
        granted[KEY] = worker  # a key of your own is optional
    for name, grantee in granted.items():
        path = folder / name
        statements = read_statements(read_policy(path))
        resources = [resource for statement in statements for resource in as_list(statement.get("Resource"))]
        if unfilled := [resource for resource in resources if PLACEHOLDER in resource]:
            yield Fault(
                str(path), f"must name your buckets, still names {', '.join(dict.fromkeys(unfilled))}"
            )
            continue
        for number, statement in enumerate(statements, start=1):
            for message in check_statement(statement, grantee, file):
                yield Fault(str(path), f"{statement.get('Sid', f'statement {number}')} {message}")
        for message in find_missing(statements, NEEDED.get(name, ())):
            yield Fault(str(path), message)
        if name in (BUCKETS, DELETION):
            yield from _find_omitted(file, path, resources)
    for message in check_trust(read_policy(folder / TRUST)):
        yield Fault(str(folder / TRUST), message)


def _find_omitted(file: ClusterFile, path: Path, allowed: list[str]) -> Iterator[Fault]:
    for uri in file.uris:
        folder = uri.removeprefix("s3://")
        bucket = [f"arn:aws:s3:::{folder.split('/')[0]}"] if path.name == BUCKETS else []
        for resource in (*bucket, f"arn:aws:s3:::{folder}/*"):
            if resource not in allowed:
                yield Fault(str(path), f"must allow {resource} for {uri}, allows {', '.join(allowed)}")


def read_policy(path: Path) -> Mapping[str, Any]:
    """Return the policy in a file.

    Raises:
        InputError: the file is missing or is not a policy.
    """
    try:
        document: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        read_statements(document)
    except OSError as error:
        raise InputError(
            f"--policies must be the folder of the policies, {path} cannot be read: {error.strerror}; "
            "the clone has them in deploy/"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"--policies must hold IAM policies in JSON, {path} is not one: {error}") from error
    return document

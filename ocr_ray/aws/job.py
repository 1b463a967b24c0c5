"""The job check_cluster: a cluster file, its policies and the account checked before `ray up`."""

import json
import logging
import platform
from collections.abc import Iterator
from importlib import resources
from typing import Any

from jsonschema import Draft7Validator

from ocr_ray.aws.account import check_account
from ocr_ray.aws.cluster_file import ClusterFile, Fault, read_cluster_file
from ocr_ray.aws.config import CheckConfig
from ocr_ray.aws.policies import check_policies
from ocr_ray.aws.rules import check_file, has_key
from ocr_ray.aws.versions import check_versions, installed_versions
from ocr_ray.errors import InputError

log = logging.getLogger(__name__)


def check_cluster(config: CheckConfig) -> dict[str, Any]:
    """Return a summary of a cluster file without faults.

    Raises:
        InputError: the file has faults; the message lists each with its field and what to do.
    """
    file = read_cluster_file(config.cluster)
    faults = [
        *check_schema(file),
        *check_file(file, allow_public_ssh=config.allow_public_ssh),
        *check_policies(file, config.policies),
        *check_versions(
            file,
            config.constraints,
            installed=installed_versions(),
            python=".".join(platform.python_version_tuple()[:2]),
        ),
    ]
    if not config.skip_aws:
        logging.getLogger("botocore").setLevel(logging.ERROR)  # what matters becomes a fault
        faults += check_account(file, allow_public_ssh=config.allow_public_ssh)
    warnings = [fault for fault in faults if fault.is_warning]
    for warning in warnings:
        log.warning("%s", warning)
    if faults := [fault for fault in faults if not fault.is_warning]:
        listed = "\n".join(f"  {fault}" for fault in faults)
        skipped = " (the account was not checked: --skip-aws)" if config.skip_aws else ""
        raise InputError(
            f"{config.cluster} is not ready for `ray up`, {len(faults)} to fix{skipped}:\n{listed}"
        )
    log.info("%s is ready for `ray up`", config.cluster)
    return {
        "cluster": str(config.cluster),
        "region": file.region,
        "head": file.head,
        "max_workers": {
            name: node.get("max_workers") for name, node in file.nodes.items() if name != file.head
        },
        "uris": file.uris,
        "warnings": list(map(str, warnings)),
        "account_checked": not config.skip_aws,
    }


def check_schema(file: ClusterFile) -> Iterator[Fault]:
    """Yield where a file violates the JSON schema that `ray up` validates it against."""
    schema = json.loads(resources.files("ray.autoscaler").joinpath("ray-schema.json").read_text("utf-8"))
    config = json.loads(
        json.dumps(file.config, default=str, skipkeys=True)
    )  # YAML also has dates and other keys
    for error in Draft7Validator(schema).iter_errors(config):
        field = ".".join(map(str, error.absolute_path)) or "the file"
        message = f"it has another {error.validator}" if has_key(error.message) else error.message
        yield Fault(field, f"Ray refuses it: {message}")

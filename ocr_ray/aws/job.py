"""A cluster file checked before it costs anything: by Ray, by itself, against environment and account."""

import logging
import platform
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

from ocr_ray.aws.account import check_account
from ocr_ray.aws.cluster_file import ClusterFile, Fault, read_cluster_file
from ocr_ray.aws.config import CheckConfig
from ocr_ray.aws.policies import check_policies
from ocr_ray.aws.rules import check_file
from ocr_ray.aws.versions import check_versions, installed_versions
from ocr_ray.errors import InputError

log = logging.getLogger(__name__)


def check_cluster(config: CheckConfig) -> dict[str, Any]:
    """Return a summary of a cluster file with which nothing is wrong.

    Raises:
        InputError: something is; each fault with its field and remedy.
    """
    file = read_cluster_file(config.cluster)
    faults = [
        *_ask_ray(file),
        *check_file(file),
        *check_policies(file, config.policies),
        *check_versions(
            file,
            config.constraints,
            installed=installed_versions(),
            python=".".join(platform.python_version_tuple()[:2]),
        ),
    ]
    if not config.skip_aws:
        logging.getLogger("botocore").setLevel(logging.WARNING)  # it tells where it found each setting
        faults += check_account(file)
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        left = " (the account was not asked: --skip-aws)" if config.skip_aws else ""
        raise InputError(
            f"{config.cluster} is not ready for `ray up`, {len(faults)} to be mended{left}:\n{listed}"
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
        "account_checked": not config.skip_aws,
    }


def _ask_ray(file: ClusterFile) -> Iterator[Fault]:
    """Yield what Ray's own validation refuses; it stops at the first fault."""
    if file.section("provider").get("type") != "aws":
        return  # for other providers Ray wants other fields
    try:
        validate_config(prepare_config(deepcopy(dict(file.config))))
    except ValidationError as error:
        yield Fault(".".join(map(str, error.absolute_path)) or "the file", f"Ray refuses it: {error.message}")
    except (ValueError, RuntimeError, KeyError, TypeError, AttributeError, AssertionError) as error:
        yield Fault("the file", f"Ray refuses it: {error!r}")

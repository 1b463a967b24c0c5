"""Rules for the statements of IAM policies: nobody may do more than the cluster needs.

A policy is checked for the one who gets it: a worker, the head node, or the user who runs `ray up`. Only what
statements allow is checked, because a Deny only takes away. AWS lists the actions, with the resources and
conditions of each: https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from ocr_ray.aws.cluster_file import ClusterFile

CLUSTER_TAG = "ray-cluster-name"
"""The tag that Ray gives to the nodes of a cluster; only tagged nodes can be started and terminated."""
USE_FOLDERS = ("s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload")
USE_KEY = ("kms:Decrypt", "kms:GenerateDataKey")
START = (
    "ec2:DescribeInstances",
    "ec2:RunInstances",
    "ec2:CreateTags",
    "ec2:TerminateInstances",
    "iam:PassRole",
)
RUN_ON = ("instance", "image", "volume", "network-interface", "subnet", "security-group", "key-pair")
"""The kinds of resources that ec2:RunInstances needs for each node."""
BY_WORKER = (*USE_FOLDERS, *USE_KEY)
BY_HEAD = (*BY_WORKER, "s3:DeleteObject", *START)
BY_USER = (
    *BY_HEAD,
    *("ssm:GetParameter", "s3:GetBucketPolicy", "s3:GetBucketVersioning", "ec2:CreateKeyPair"),
    *("ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress", "iam:GetInstanceProfile"),
    *("iam:GetRolePolicy", "iam:ListRolePolicies", "iam:ListAttachedRolePolicies"),
    *("iam:GetPolicy", "iam:GetPolicyVersion", "ec2:DescribeImages", "ec2:DescribeInstanceTypeOfferings"),
    *(
        "ec2:DescribeInstanceTypes",
        "ec2:DescribeKeyPairs",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets",
    ),
)
ON_NODES = ("ec2:CreateTags", "ec2:TerminateInstances")
ON_GROUPS = ("ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress")
IN_REGION = ("ec2:RunInstances", "ec2:CreateKeyPair", *ON_NODES, *ON_GROUPS)
EXACT = ("stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike", "bool")
"""Conditions that require a key to have one of the listed values; `…IfExists` does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grantee:
    """Who a policy is for, and what it needs."""

    name: str
    actions: tuple[str, ...]
    starts: tuple[str, ...] = ()
    """The node types that it starts."""
    needed: tuple[str, ...] = ()
    """The actions that its role must have."""


def list_grantees(file: ClusterFile) -> tuple[Grantee, Grantee, Grantee]:
    """Return the worker, the head node and the user of a cluster file."""
    workers = tuple(name for name in file.nodes if name != file.head)
    other = file.other_actions
    return (
        Grantee(name="a worker", actions=(*BY_WORKER, *other), needed=USE_FOLDERS),
        Grantee(
            name="the head node",
            actions=(*BY_HEAD, *other),
            starts=workers,
            needed=(*USE_FOLDERS, "s3:DeleteObject", *START),
        ),
        Grantee(name="your user", actions=(*BY_USER, *other), starts=(file.head,)),
    )


def check_statement(statement: Mapping[str, Any], grantee: Grantee, file: ClusterFile) -> Iterator[str]:
    """Yield what is wrong with a statement: what must hold, and what is there."""
    if statement.get("Effect") not in ("Allow", "Deny"):
        yield f"must have the Effect Allow or Deny, got {statement.get('Effect')}"
    if statement.get("Effect") != "Allow":
        return
    if not {"Action", "Resource"} <= set(statement):
        yield "must list its Action and Resource; NotAction and NotResource allow everything else"
        return
    actions, known = as_list(statement.get("Action")), {action.lower() for action in grantee.actions}
    for action in actions:
        if re.search(r"[*?]", action):
            yield f"must name each action, got {action}"
        elif action.lower() not in known:
            yield (
                f"must not allow {action}, which {grantee.name} does not need; "
                "metadata.other_actions lists those that you add on purpose"
            )
    allowed = {action.lower() for action in actions} & known
    if any(action.startswith("s3:") for action in allowed):
        yield from _check_folders(statement, file, lists="s3:listbucket" in allowed)
    if any(action.startswith("kms:") for action in allowed):
        for key in as_list(statement.get("Resource")):
            if re.search(r"[*?]", key):
                yield f"must name the key of the buckets, got {key}"
    if "iam:passrole" in allowed:
        yield from _check_passed_roles(statement, grantee, file)
    yield from _check_ec2(
        statement, {action for action in IN_REGION if action.lower() in allowed}, grantee, file
    )


def find_missing(statements: Iterable[Mapping[str, Any]], needed: Iterable[str]) -> Iterator[str]:
    """Yield what no statement allows of the actions that are needed."""
    allowed = [
        (action.lower(), as_list(statement.get("Resource")))
        for statement in statements
        if statement.get("Effect") == "Allow"
        for action in as_list(statement.get("Action"))
    ]
    missing = []
    for action in needed:
        matching = [resources for pattern, resources in allowed if fnmatchcase(action.lower(), pattern)]
        if not matching:
            missing.append(action)
        elif action == "ec2:RunInstances":
            text = " ".join(f":{resource}/" for resources in matching for resource in resources)
            missing += [f"{action} on {kind}/*" for kind in RUN_ON if not re.search(rf":({kind}|\*)/", text)]
    if missing:
        yield f"must allow {', '.join(missing)}"


def _check_folders(statement: Mapping[str, Any], file: ClusterFile, *, lists: bool) -> Iterator[str]:
    folders: dict[str, list[str]] = {}
    for uri in file.uris:
        bucket, _, folder = uri.removeprefix("s3://").partition("/")
        folders.setdefault(bucket, []).append(folder)
    for resource in as_list(statement.get("Resource")):
        bucket, _, key = re.sub(r"^arn:aws[\w-]*:s3:::", "", resource).partition("/")
        inside = [folder for folder in folders.get(bucket, ()) if not folder or key.startswith(f"{folder}/")]
        if not resource.startswith("arn:") or not (inside or (bucket in folders and not key)):
            yield f"must be limited to the folders of metadata.uris, got {resource}"
        elif lists and not key and "" not in folders[bucket]:
            prefixes = find_values(statement, "s3:prefix", exact=False)
            wrong = [
                prefix
                for prefix in prefixes
                if not any(prefix.startswith(f"{folder}/") for folder in folders[bucket])
            ]
            if wrong or not prefixes:
                needed = ", ".join(f"{folder}/*" for folder in folders[bucket])
                got = ", ".join(wrong) or "no condition"
                yield f"must limit the lists of {bucket} to the s3:prefix {needed}, got {got}"


def _check_passed_roles(statement: Mapping[str, Any], grantee: Grantee, file: ClusterFile) -> Iterator[str]:
    roles = {file.profile(node_type) for node_type in grantee.starts} - {""}
    for resource in as_list(statement.get("Resource")):
        match = re.fullmatch(r"arn:aws[\w-]*:iam::(?:\*|\d{12}):role/(?:[^*?]*/)?([^*?/]+)", resource)
        if match is None or match[1] not in roles:
            named = ", ".join(sorted(roles)) or "no role"
            yield (
                f"must let {grantee.name} pass only the roles of the nodes that it starts, {named}, "
                f"got {resource}"
            )
    yield from _require(statement, "iam:PassedToService", ["ec2.amazonaws.com"])


def _check_ec2(
    statement: Mapping[str, Any], actions: set[str], grantee: Grantee, file: ClusterFile
) -> Iterator[str]:
    if not actions:
        return
    yield from _require(statement, "aws:RequestedRegion", [file.region])
    cluster = [str(file.config.get("cluster_name"))]
    if actions & {*ON_NODES, *ON_GROUPS}:
        at_start = actions == {"ec2:CreateTags"} and find_values(statement, "ec2:CreateAction") == [
            "RunInstances"
        ]
        if not at_start:
            yield from _require_cluster(statement, ("aws:ResourceTag", "ec2:ResourceTag"), cluster)
    if "ec2:RunInstances" in actions:
        for resource in as_list(statement.get("Resource")):
            kind = re.sub(r"^arn:aws[\w-]*:ec2:[^:]*:[^:]*:", "", resource).partition("/")[0]
            if re.search(r"[*?]", kind) or not kind:
                yield f"must name the kinds of resources that it uses, such as instance/*, got {resource}"
            if kind == "instance":
                types = {str(file.node_config(name).get("InstanceType")) for name in grantee.starts}
                yield from _require_cluster(statement, ("aws:RequestTag",), cluster)
                yield from _require(statement, "ec2:InstanceType", types)
                yield from _require(statement, "ec2:MetadataHttpTokens", ["required"])
            elif kind == "volume":
                yield from _require(statement, "ec2:Encrypted", ["true"])
            elif kind == "image":
                owners = find_values(statement, "ec2:Owner")
                if not owners or any(re.search(r"[*?]", owner) for owner in owners):
                    yield f"must name the owners of images in ec2:Owner, got {', '.join(owners) or 'none'}"
            elif kind == "security-group":
                yield from _require_cluster(statement, ("aws:ResourceTag", "ec2:ResourceTag"), cluster)


def _require_cluster(statement: Mapping[str, Any], keys: Iterable[str], cluster: list[str]) -> Iterator[str]:
    """Yield that the statement is not limited to the cluster, unless it is by one of the keys."""
    found = [value for key in keys for value in find_values(statement, f"{key}/{CLUSTER_TAG}")]
    if found != cluster:
        got = f"is for {', '.join(map(repr, found))}" if found else "has no condition"
        yield f"must be for cluster_name, {cluster[0]!r}, by {next(iter(keys))}/{CLUSTER_TAG}; it {got}"


def _require(statement: Mapping[str, Any], key: str, values: Iterable[str]) -> Iterator[str]:
    found, needed = find_values(statement, key), sorted(set(values))
    if sorted(set(found)) != needed:
        yield f"must have the condition {key} {', '.join(needed)}, got {', '.join(found) or 'none'}"


def find_values(statement: Mapping[str, Any], key: str, *, exact: bool = True) -> list[str]:
    """Return the values of which the conditions require one for a key; none if it is not required.

    Without `exact` a condition also counts that holds for a request without the key.
    """
    conditions = statement.get("Condition")
    for operator, pairs in conditions.items() if isinstance(conditions, Mapping) else ():
        name = operator.lower() if exact else operator.lower().removesuffix("ifexists")
        if name in EXACT and isinstance(pairs, Mapping):
            for found, values in pairs.items():
                if found.lower() == key.lower():
                    return as_list(values)
    return []


def check_trust(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield who else than EC2 can assume a role with this trust policy."""
    for statement in read_statements(document):
        principal = statement.get("Principal")
        services = as_list(principal.get("Service")) if isinstance(principal, Mapping) else []
        only_ec2 = bool(services) and all(
            re.fullmatch(r"ec2\.amazonaws\.com(\.cn)?", name) for name in services
        )
        if statement.get("Effect") == "Allow" and not (only_ec2 and set(principal or ()) == {"Service"}):
            yield (
                f"must let only the service ec2.amazonaws.com assume the role, got {principal}; "
                "deploy/trust.json does"
            )


def read_statements(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the statements of a policy.

    Raises:
        ValueError: it has none, or one is not a mapping; the message says so.
    """
    statements = document.get("Statement") if isinstance(document, Mapping) else None
    statements = [statements] if isinstance(statements, Mapping) else statements
    if not isinstance(statements, list) or not all(isinstance(one, Mapping) for one in statements):
        raise ValueError('it must be {"Version": …, "Statement": [{…}, …]}')
    return statements


def as_list(value: Any) -> list[str]:
    """Return the strings at a key of a policy, which holds one or a list of them; `true` for true."""
    items = value if isinstance(value, list) else [] if value is None else [value]
    return [str(item).lower() if isinstance(item, bool) else str(item) for item in items]

"""Checks of the AWS account for what the cluster could be attacked through: roles, networks and buckets."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ocr_ray.aws.cluster_file import get_mapping
from ocr_ray.aws.requests import Account
from ocr_ray.aws.rules import find_open_sources
from ocr_ray.aws.statements import (
    CLUSTER_TAG,
    as_list,
    check_statement,
    check_trust,
    find_missing,
    find_values,
    list_grantees,
    read_statements,
)

README = "deploy/README.md has the commands"


def check_role(account: Account, role: Mapping[str, Any], *, is_head: bool) -> None:
    """Check who can assume a role, and that the policies it has allow what it needs and no more."""
    worker, head, _ = list_grantees(account.file)
    name, grantee = role["RoleName"], head if is_head else worker
    for message in check_trust(role["AssumeRolePolicyDocument"]):
        account.add(f"role {name}", message)
    num_faults, policies = len(account.faults), list(_read_policies(account, name))
    if len(account.faults) == num_faults:  # all could be read
        statements = [one for _, document in policies for one in read_statements(document)]
        for message in find_missing(statements, grantee.needed):
            account.add(f"role {name}", f"{message}; {README}")
    for policy, document in policies:
        for number, statement in enumerate(read_statements(document), start=1):
            for message in check_statement(statement, grantee, account.file):
                sid = statement.get("Sid", f"statement {number}")
                account.add(f"role {name}", f"{policy}: {sid} {message}")


def _read_policies(account: Account, role: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the name and document of each policy of a role."""
    field, remedy = f"role {role}", "your user needs deploy/launcher.json"
    inline = account.call(field, "iam", "list_role_policies", remedy=remedy, RoleName=role)
    for name in inline["PolicyNames"] if inline else ():
        answer = account.call(field, "iam", "get_role_policy", remedy=remedy, RoleName=role, PolicyName=name)
        if answer:
            yield name, answer["PolicyDocument"]
    attached = account.call(field, "iam", "list_attached_role_policies", remedy=remedy, RoleName=role)
    for policy in attached["AttachedPolicies"] if attached else ():
        arn = policy["PolicyArn"]
        about = account.call(field, "iam", "get_policy", remedy=remedy, PolicyArn=arn)
        version = about and account.call(
            field,
            "iam",
            "get_policy_version",
            remedy=remedy,
            PolicyArn=arn,
            VersionId=about["Policy"]["DefaultVersionId"],
        )
        if version:
            yield policy["PolicyName"], version["PolicyVersion"]["Document"]


def check_security_groups(account: Account, *, allow_public_ssh: bool) -> None:
    """Check that only nodes enter the nodes, and SSH from the addresses that the user names."""
    file = account.file
    ids = sorted({group for node_type in file.nodes for group in file.group_ids(node_type)})
    by_name = any(not file.group_ids(node_type) for node_type in file.nodes)
    name = str(get_mapping(file.section("provider"), "security_group").get("GroupName", ""))
    groups = []
    if ids:
        groups += _find_groups(account, f"security group {', '.join(ids)}", GroupIds=ids) or []
    if by_name and name:
        filters = [{"Name": "group-name", "Values": [name]}]
        named = _find_groups(account, f"security group {name}", Filters=filters)
        if named == [] and not allow_public_ssh:
            account.add(
                f"security group {name}",
                f"must exist, or Ray would create one that opens SSH to every address; {README}",
            )
        groups += named or []
    members = {group["GroupId"] for group in groups}
    for group in groups:
        _check_group(account, group, members, allow_public_ssh=allow_public_ssh)


def _find_groups(account: Account, field: str, **which: Any) -> list[dict[str, Any]] | None:
    answer = account.call(field, "ec2", "describe_security_groups", remedy=README, **which)
    return list(answer["SecurityGroups"]) if answer else None


def _check_group(
    account: Account, group: Mapping[str, Any], members: set[str], *, allow_public_ssh: bool
) -> None:
    field, cluster = f"security group {group['GroupName']}", str(account.file.config.get("cluster_name"))
    tags = {tag["Key"]: tag["Value"] for tag in group.get("Tags", ())}
    if tags.get(CLUSTER_TAG) != cluster:
        account.add(
            field,
            f"must have the tag {CLUSTER_TAG} {cluster}, got {tags.get(CLUSTER_TAG)}: policies require it; "
            "`aws ec2 create-tags` adds it",
        )
    entering: set[str] = set()
    for rule in group["IpPermissions"]:
        sources = {pair.get("GroupId", "") for pair in rule.get("UserIdGroupPairs", ())}
        if rule["IpProtocol"] == "-1":
            entering |= sources & members
        for source in (
            *sorted(sources - members),
            *find_open_sources(rule, allow_public_ssh=allow_public_ssh),
        ):
            account.add(
                field,
                f"must let only nodes enter, and SSH from addresses that you name, got {source}; {README}",
            )
    if not entering:
        account.add(field, f"must let the nodes reach each other on all ports, has no such rule; {README}")


def check_subnets(account: Account) -> None:
    """Check that subnets that are meant to be private give no public addresses to workers."""
    file = account.file
    if not file.section("provider").get("use_internal_ips"):
        return
    for node_type in file.nodes:
        ids = file.subnet_ids(node_type)
        if node_type == file.head or not ids:
            continue
        field = f"available_node_types.{node_type}.node_config.SubnetIds"
        answer = account.call(field, "ec2", "describe_subnets", remedy=README, SubnetIds=ids)
        for subnet in answer["Subnets"] if answer else ():
            if subnet["MapPublicIpOnLaunch"]:
                account.add(
                    field,
                    f"{subnet['SubnetId']} gives workers public addresses, which the security group protects",
                    is_warning=True,
                )


def check_bucket_settings(account: Account, bucket: str) -> None:
    """Check that a bucket refuses requests without TLS, is not public, and keeps what is overwritten."""
    field, remedy = f"s3://{bucket}", "your user needs deploy/launcher.json"
    answer = account.call(
        field, "s3", "get_bucket_policy", remedy=remedy, missing="NoSuchBucketPolicy", Bucket=bucket
    )
    if answer is not None:
        statements = _parse_policy(answer.get("Policy", ""))
        if not any(_refuses_plain_http(statement, bucket) for statement in statements):
            account.add(field, f"must refuse requests without TLS by deploy/bucket_policy.json; {README}")
        for statement in statements:
            is_public = _is_everyone(statement) or "NotPrincipal" in statement
            if statement.get("Effect") == "Allow" and is_public and not statement.get("Condition"):
                account.add(
                    field,
                    f"must not be public, {statement.get('Sid', 'a statement')} allows everyone; "
                    "remove it from the bucket's policy",
                )
    versioning = account.call(field, "s3", "get_bucket_versioning", remedy=remedy, Bucket=bucket)
    if versioning is not None and versioning.get("Status") != "Enabled":
        account.add(field, f"has no versioning: what a node overwrites is lost; {README}", is_warning=True)


def _parse_policy(text: str) -> list[Mapping[str, Any]]:
    return read_statements(json.loads(text)) if text else []


def _is_everyone(statement: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal")
    return "*" in as_list(principal.get("AWS") if isinstance(principal, Mapping) else principal)


def _refuses_plain_http(statement: Mapping[str, Any], bucket: str) -> bool:
    resources = {resource.rpartition(":")[2] for resource in as_list(statement.get("Resource"))}
    return (
        statement.get("Effect") == "Deny"
        and _is_everyone(statement)
        and bool({"s3:*", "*"} & set(as_list(statement.get("Action"))))
        and ({bucket, f"{bucket}/*"} <= resources or "*" in resources)
        and set(statement["Condition"] if isinstance(statement.get("Condition"), Mapping) else ()) == {"Bool"}
        and len(statement["Condition"]["Bool"]) == 1
        and find_values(statement, "aws:SecureTransport") == ["false"]
    )

"""IAM's decisions on requests, with the conditions and resources that moto does not look at.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest
from flask import has_request_context, request
from moto.iam import access_control
from moto.iam.access_control import IAMPolicyStatement, PermissionResult
from moto.s3.responses import ACTION_MAP

ACCOUNT = "123456789012"
Context = dict[str, str]


def is_allowed(statements: Iterable[dict], action: str, resource: str, context: Context) -> bool:
    """Return whether a statement allows a request and none denies it."""
    effects = {one["Effect"] for one in statements if applies(one, action, resource, context)}
    return effects == {"Allow"}


def applies(statement: dict, action: str, resource: str, context: Context) -> bool:
    return (
        any(matches(pattern.lower(), action.lower()) for pattern in as_list(statement["Action"]))
        and any(matches(pattern, resource) for pattern in as_list(statement.get("Resource", "*")))
        and all(
            holds(operator, values, context.get(key))
            for operator, pairs in statement.get("Condition", {}).items()
            for key, values in pairs.items()
        )
    )


def holds(operator: str, values: Any, value: str | None) -> bool:
    if value is None:
        return operator.endswith("IfExists")
    if operator.removesuffix("IfExists") in ("StringLike", "ArnLike"):
        return any(matches(pattern, value) for pattern in as_list(values))
    assert operator in ("StringEquals", "Bool"), operator
    return value in as_list(values)


def matches(pattern: str, text: str) -> bool:
    return bool(re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), text, re.DOTALL))


def as_list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def read_ec2_request(body: str, region: str, tags: dict[str, str], roles: dict[str, str]) -> Iterator[tuple]:
    """Yield the action, resource and context of everything that IAM checks for a request to EC2.

    `tags` has the tags of each resource by id as `id key`, `roles` the role of each instance profile.
    """
    form = {key: values[0] for key, values in parse_qs(body, keep_blank_values=True).items()}
    action, context = f"ec2:{form['Action']}", {"aws:RequestedRegion": region}
    prefix = f"arn:aws:ec2:{region}:{ACCOUNT}:"
    ids = [value for key, value in form.items() if re.match(r"(InstanceId|ResourceId|GroupId)(\.|$)", key)]

    def tagged(name: str) -> Context:
        found = {key.split(" ")[1]: value for key, value in tags.items() if key.split(" ")[0] == name}
        return {f"aws:ResourceTag/{key}": value for key, value in found.items()}

    if action == "ec2:RunInstances":
        yield from _read_run_instances(form, context, prefix, tagged, roles)
    elif action.startswith("ec2:Describe"):
        yield action, "*", context
    elif action == "ec2:CreateKeyPair":
        yield action, f"{prefix}key-pair/{form['KeyName']}", context
    else:
        assert ids, form
        kinds = {"i": "instance", "sg": "security-group", "vol": "volume"}
        for name in ids:
            yield action, f"{prefix}{kinds[name.split('-')[0]]}/{name}", context | tagged(name)


def _read_run_instances(
    form: dict[str, str], context: Context, prefix: str, tagged: Any, roles: dict[str, str]
) -> Iterator[tuple]:
    run, requested = "ec2:RunInstances", {}
    for number in range(1, 9):
        kind, tag = form.get(f"TagSpecification.{number}.ResourceType"), f"TagSpecification.{number}.Tag."
        for key in [name for name in form if kind and name.startswith(tag) and name.endswith(".Key")]:
            requested.setdefault(kind, {})[form[key]] = form[key.removesuffix("Key") + "Value"]
    by_tag = {kind: {f"aws:RequestTag/{k}": v for k, v in pairs.items()} for kind, pairs in requested.items()}
    options = {"ec2:InstanceType": form["InstanceType"]}
    if tokens := form.get("MetadataOptions.HttpTokens"):
        options["ec2:MetadataHttpTokens"] = tokens
    yield run, f"{prefix}instance/*", context | options | by_tag.get("instance", {})
    yield (
        run,
        f"arn:aws:ec2:{context['aws:RequestedRegion']}::image/{form['ImageId']}",
        {
            **context,
            "ec2:Owner": tagged(form["ImageId"]).get("aws:ResourceTag/owner", "099720109477"),
        },
    )
    encrypted = form.get("BlockDeviceMapping.1.Ebs.Encrypted", "false")
    yield run, f"{prefix}volume/*", context | {"ec2:Encrypted": encrypted} | by_tag.get("volume", {})
    for name in [value for key, value in form.items() if key.startswith("SecurityGroupId.")]:
        yield run, f"{prefix}security-group/{name}", context | tagged(name)
    yield run, f"{prefix}subnet/{form['SubnetId']}", context
    yield run, f"{prefix}network-interface/*", context
    yield run, f"{prefix}key-pair/{form['KeyName']}", context
    if "InstanceMarketOptions.MarketType" in form:
        yield run, f"{prefix}spot-instances-request/*", context
    for kind in requested:
        created = context | {"ec2:CreateAction": "RunInstances"} | by_tag[kind]
        yield "ec2:CreateTags", f"{prefix}{kind}/*", created
    role = roles[form["IamInstanceProfile.Name"]]
    yield "iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/{role}", {"iam:PassedToService": "ec2.amazonaws.com"}


def complete_moto(patch: pytest.MonkeyPatch) -> None:
    """Let moto decide as IAM does on requests to S3 and IAM.

    It takes a condition that does not hold for a Deny, does not know the resources of requests to IAM, and
    checks an action for HeadBucket that IAM does not have; S3 checks s3:ListBucket:
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html
    """
    kinds = {"RoleName": "role/", "InstanceProfileName": "instance-profile/", "PolicyArn": ""}

    def is_action_permitted(
        self: IAMPolicyStatement, action: str, resource: str = "*", *_: Any
    ) -> PermissionResult:
        context = {"aws:SecureTransport": "true"}  # moto's own server has no TLS
        if has_request_context() and "prefix" in request.args:
            context["s3:prefix"] = request.args["prefix"]
        if action.startswith("iam:") and has_request_context():
            (name,) = set(kinds) & set(request.form)
            account = f"arn:aws:iam::{ACCOUNT}:" if kinds[name] else ""
            resource = f"{account}{kinds[name]}{request.form[name]}"
        if not applies(self._statement, action, resource, context):
            return PermissionResult.NEUTRAL
        allowed = self._statement["Effect"] == "Allow"
        return PermissionResult.PERMITTED if allowed else PermissionResult.DENIED

    patch.setattr(access_control.IAMPolicyStatement, "is_action_permitted", is_action_permitted)
    patch.setitem(ACTION_MAP["BUCKET"]["HEAD"], "DEFAULT", "ListBucket")

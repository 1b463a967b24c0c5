"""Policies with one fault: a statement that a file has in addition, and the message it must cause."""

from typing import Any

ANY = "*"
EC2 = {"aws:RequestedRegion": "ap-northeast-2"}
TAGGED = EC2 | {"aws:ResourceTag/ray-cluster-name": "ocr-ray"}
STARTED = EC2 | {
    "aws:RequestTag/ray-cluster-name": "ocr-ray",
    "ec2:InstanceType": ["c6i.4xlarge", "c7i.4xlarge", "m6i.4xlarge", "m7i.4xlarge", "g5.2xlarge"],
}
INSTANCES = "arn:aws:ec2:*:*:instance/*"


def allow(action: Any, resource: Any = ANY, **condition: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, "Condition": condition}


def equals(pairs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {key: value for key, value in (pairs | changes).items() if value is not None}


WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "everything for the head": ("head", allow("*:*"), "must name each action, got *:*"),
    "everything by a star": ("head", allow("*"), "must name each action, got *"),
    "all of EC2": ("head", allow(["ec2:DescribeInstances", "EC2:*"]), "must name each action, got EC2:*"),
    "a part of EC2": ("launcher", allow("ec2:Run*", INSTANCES), "must name each action, got ec2:Run*"),
    "a question mark": ("buckets", allow("s3:GetObjec?"), "must name each action, got s3:GetObjec?"),
    "everything but": (
        "head",
        {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"},
        "must list its Action and Resource; NotAction and NotResource allow everything else",
    ),
    "everywhere but": (
        "buckets",
        {"Effect": "Allow", "Action": "s3:GetObject", "NotResource": "arn:aws:s3:::secret/*"},
        "must list its Action and Resource",
    ),
    "a role that is given more": (
        "head",
        allow("iam:AttachRolePolicy"),
        "must not allow iam:AttachRolePolicy, which the head node does not need; metadata.other_actions",
    ),
    "another role": (
        "buckets",
        allow("sts:AssumeRole"),
        "must not allow sts:AssumeRole, which a worker does not",
    ),
    "a new group": ("launcher", allow("ec2:CreateSecurityGroup"), "must not allow ec2:CreateSecurityGroup"),
    "workers that start nodes": (
        "buckets",
        allow("ec2:RunInstances"),
        "must not allow ec2:RunInstances, which a",
    ),
    "workers that delete": (
        "buckets",
        allow("s3:DeleteObject", "arn:aws:s3:::my-models/ocr/*"),
        "must not allow s3:DeleteObject, which a worker does not need",
    ),
    "all buckets": ("buckets", allow("s3:GetObject"), "limited to the folders of metadata.uris, got *"),
    "all buckets by name": (
        "buckets",
        allow("s3:GetObject", "arn:aws:s3:::*/ocr/*"),
        "limited to the folders of metadata.uris, got arn:aws:s3:::*/ocr/*",
    ),
    "alike buckets": (
        "deletion",
        allow("s3:DeleteObject", "arn:aws:s3:::my-data*/ocr/*"),
        "folders of metadata.uris, got arn:aws:s3:::my-data*/ocr/*",
    ),
    "a whole bucket": (
        "buckets",
        allow("s3:PutObject", ["arn:aws:s3:::my-data/ocr/*", "arn:aws:s3:::my-models/*"]),
        "folders of metadata.uris, got arn:aws:s3:::my-models/*",
    ),
    "alike folders": (
        "buckets",
        allow("s3:GetObject", "arn:aws:s3:::my-data/ocr*"),
        "folders of metadata.uris, got arn:aws:s3:::my-data/ocr*",
    ),
    "all lists": (
        "buckets",
        allow("s3:ListBucket", "arn:aws:s3:::my-data"),
        "limit the lists of my-data to the s3:prefix ocr/*, got no condition",
    ),
    "lists of another folder": (
        "buckets",
        allow("s3:ListBucket", "arn:aws:s3:::my-data", StringLike={"s3:prefix": ["ocr/*", "ocr*"]}),
        "to the s3:prefix ocr/*, got ocr*",
    ),
    "all keys": (
        "buckets",
        allow("kms:Decrypt", "arn:aws:kms:ap-northeast-2:1:key/*"),
        "must name the key of the buckets, got arn:aws:kms:ap-northeast-2:1:key/*",
    ),
    "any role passed": (
        "head",
        allow("iam:PassRole", ANY, StringEquals={"iam:PassedToService": "ec2.amazonaws.com"}),
        "pass only the roles of the nodes that it starts, ocr-ray-worker, got *",
    ),
    "alike roles passed": (
        "launcher",
        allow("iam:PassRole", "arn:aws:iam::*:role/ocr-ray-*"),
        "pass only the roles of the nodes that it starts, ocr-ray-head, got arn:aws:iam::*:role/ocr-ray-*",
    ),
    "another role passed": (
        "head",
        allow("iam:PassRole", ["arn:aws:iam::*:role/ocr-ray-worker", "arn:aws:iam::1:role/admin"]),
        "ocr-ray-worker, got arn:aws:iam::1:role/admin",
    ),
    "the head's own role passed": (
        "head",
        allow("iam:PassRole", "arn:aws:iam::*:role/ocr-ray-head"),
        "ocr-ray-worker, got arn:aws:iam::*:role/ocr-ray-head",
    ),
    "a role for any service": (
        "head",
        allow("iam:PassRole", "arn:aws:iam::*:role/ocr-ray-worker"),
        "must have the condition iam:PassedToService ec2.amazonaws.com, got none",
    ),
    "any region": (
        "head",
        allow("ec2:RunInstances", INSTANCES, StringEquals=equals(STARTED, **{"aws:RequestedRegion": None})),
        "must have the condition aws:RequestedRegion ap-northeast-2, got none",
    ),
    "another region": (
        "launcher",
        allow(
            "ec2:CreateKeyPair", ANY, StringEquals={"aws:RequestedRegion": ["ap-northeast-2", "us-east-1"]}
        ),
        "aws:RequestedRegion ap-northeast-2, got ap-northeast-2, us-east-1",
    ),
    "any instance type": (
        "head",
        allow("ec2:RunInstances", INSTANCES, StringEquals=equals(STARTED, **{"ec2:InstanceType": None})),
        "must have the condition ec2:InstanceType c6i.4xlarge, c7i.4xlarge, g5.2xlarge, m6i.4xlarge, ",
    ),
    "a large instance type": (
        "head",
        allow(
            "ec2:RunInstances", INSTANCES, StringEquals=equals(STARTED, **{"ec2:InstanceType": "p5.48xlarge"})
        ),
        "m7i.4xlarge, got p5.48xlarge",
    ),
    "a type only if it is named": (
        "head",
        allow("ec2:RunInstances", INSTANCES, StringEqualsIfExists=STARTED),
        "must have the condition ec2:InstanceType",
    ),
    "all resources at once": (
        "head",
        allow("ec2:RunInstances", ANY, StringEquals=STARTED),
        "must name the kinds of resources that it uses, such as instance/*, got *",
    ),
    "images of anyone": (
        "head",
        allow("ec2:RunInstances", "arn:aws:ec2:*::image/*", StringEquals=EC2),
        "must name the owners of images in ec2:Owner, got none",
    ),
    "images of a pattern": (
        "launcher",
        allow("ec2:RunInstances", "arn:aws:ec2:*::image/*", StringEquals=EC2, StringLike={"ec2:Owner": "*"}),
        "must name the owners of images in ec2:Owner, got *",
    ),
    "nodes that answer IMDSv1": (
        "head",
        allow("ec2:RunInstances", INSTANCES, StringEquals=STARTED),
        "must have the condition ec2:MetadataHttpTokens required, got none",
    ),
    "disks that are not encrypted": (
        "head",
        allow("ec2:RunInstances", "arn:aws:ec2:*:*:volume/*", StringEquals=EC2),
        "must have the condition ec2:Encrypted true, got none",
    ),
    "a statement without a resource": (
        "head",
        {"Effect": "Allow", "Action": "iam:PassRole"},
        "must list its Action and Resource",
    ),
    "a statement in small letters": (
        "head",
        {"effect": "Allow", "action": "*", "resource": "*"},
        "must have the Effect Allow or Deny, got None",
    ),
    "nodes in any group": (
        "head",
        allow("ec2:RunInstances", "arn:aws:ec2:*:*:security-group/*", StringEquals=EC2),
        "by aws:ResourceTag/ray-cluster-name; it has no condition",
    ),
    "any group opened": (
        "launcher",
        allow("ec2:AuthorizeSecurityGroupIngress", ANY, StringEquals=EC2),
        "must be for cluster_name, 'ocr-ray', by aws:ResourceTag/ray-cluster-name; it has no condition",
    ),
    "groups of another cluster opened": (
        "launcher",
        allow(
            "ec2:AuthorizeSecurityGroupIngress",
            StringEquals=equals(TAGGED, **{"aws:ResourceTag/ray-cluster-name": "theirs"}),
        ),
        "it is for 'theirs'",
    ),
    "any node terminated": (
        "head",
        allow("ec2:TerminateInstances", INSTANCES, StringEquals=EC2),
        "must be for cluster_name, 'ocr-ray'",
    ),
    "any cluster's nodes terminated": (
        "head",
        allow("ec2:TerminateInstances", StringLike=TAGGED | {"aws:ResourceTag/ray-cluster-name": "*"}),
        "it is for '*'",
    ),
    "anything tagged": (
        "head",
        allow("ec2:CreateTags", StringEquals=EC2),
        "must be for cluster_name, 'ocr-ray'",
    ),
    "a role for other accounts": (
        "trust",
        {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"},
        "must let only the service ec2.amazonaws.com assume the role, got {'AWS': '*'}",
    ),
    "a role for everyone": (
        "trust",
        {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"},
        "ec2.amazonaws.com assume the role, got *",
    ),
    "a role for another service too": (
        "trust",
        {
            "Effect": "Allow",
            "Principal": {"Service": ["ec2.amazonaws.com", "lambda.amazonaws.com"]},
            "Action": "sts:AssumeRole",
        },
        "lambda.amazonaws.com",
    ),
}
"""By fault: the policy, the statement, part of the message."""

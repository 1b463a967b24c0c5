"""Checks of an AWS account over HTTP, against moto's EC2, IAM, STS and S3."""

import json
import re
from collections.abc import Callable

import boto3
import pytest
from builders.cluster_files import BUCKETS, fill, make_buckets, make_profiles, parse
from moto.core.authorization import enable_iam_authentication

from ocr_ray.aws.account import check_account
from ocr_ray.aws.cluster_file import Fault
from ocr_ray.storage.location import list_files, locate

URIS = [f"s3://{bucket}/ocr" for bucket in BUCKETS]
TYPES = "available_node_types"
WRONG = [
    {
        "m7i.4xlarge}": "m7i.4xlarge, ImageId: ami-00000000}",
        "m6i.4xlarge}": "m6i.5xlarge}",
        "c7i.4xlarge}": "c7i.4xlarge, IamInstanceProfile: {Name: nobody}}",
        "g5.2xlarge": "hpc7a.12xlarge",
        URIS[0]: "s3://no-such-bucket/x",
        URIS[1]: "s3://other-region/x",
    },
    {
        "m7i.4xlarge}": "m7i.4xlarge, ImageId: ami-0e9271c829888680e}",
        "m6i.4xlarge}": "m6g.4xlarge}",
        "c7i.4xlarge}": "c7i.4xlarge, IamInstanceProfile: {Arn: 'arn:aws:iam::1:instance-profile/empty'}}",
        "ImageId: *gpu_image": "ImageId: ami-760aaa0f",
    },
]
"""Replacements in the correct file: two files with a fault in each node type."""
MESSAGES = [
    {
        f"{TYPES}.cpu_m7i.node_config.ImageId": "describe-images, it answers: .*AMIID.NotFound.*finds one",
        f"{TYPES}.cpu_m6i.node_config.InstanceType": "m6i.5xlarge.*describe-instance-type-offerings` lists",
        f"{TYPES}.cpu_c7i.node_config.IamInstanceProfile": "nobody not found; deploy/README.md explains how",
        f"{TYPES}.gpu_g5.node_config.InstanceType": "hpc7a.12xlarge is in none of ap-northeast-2",
        "s3://no-such-bucket/x": "s3:head-bucket, it answers: .*404.*; the bucket must exist",
        "s3://other-region/x": "must be in provider.region, ap-northeast-2, is in us-east-1",
    },
    {
        f"{TYPES}.cpu_m7i.node_config.ImageId": "for x86_64, ami-0e9271c829888680e is for arm64",
        f"{TYPES}.cpu_m7i.node_config.BlockDeviceMappings": "/dev/xvda, got /dev/sda1",
        f"{TYPES}.cpu_m6i.node_config.InstanceType": "have the architecture x86_64, m6g.4xlarge has arm64",
        f"{TYPES}.cpu_c7i.node_config.IamInstanceProfile": "must have a role, empty has none",
        f"{TYPES}.gpu_g5.node_config.BlockDeviceMappings": "root disk of ami-760aaa0f, /dev/xvda",
    },
]


@pytest.fixture
def account(s3_environment: None) -> None:
    """The buckets, roles and profiles that deploy/README.md asks for, and some with faults."""
    make_buckets()
    make_profiles()
    s3, iam = boto3.client("s3"), boto3.client("iam")
    s3.create_bucket(Bucket="other-region")
    profiles = iam.list_instance_profiles()["InstanceProfiles"]
    if "empty" not in {profile["InstanceProfileName"] for profile in profiles}:
        iam.create_instance_profile(InstanceProfileName="empty")


@pytest.fixture
def create_user() -> Callable[[list[dict]], dict[str, str]]:
    """Create a user with a policy; return the keys as environment variables."""

    def create(statements: list[dict]) -> dict[str, str]:
        iam, name = boto3.client("iam"), f"user-{len(boto3.client('iam').list_users()['Users'])}"
        iam.create_user(UserName=name)
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=document)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    return create


def check(text: str) -> list[Fault]:
    return check_account(parse(text))


@pytest.mark.slow
@pytest.mark.usefixtures("account")
def test_a_complete_account_has_no_faults_and_no_probe_is_left() -> None:
    assert check(fill()) == []
    assert [list_files(locate(uri)) for uri in URIS] == [{}, {}]


@pytest.mark.slow
@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(("replacements", "messages"), list(zip(WRONG, MESSAGES, strict=True)))
def test_everything_missing_in_the_account_is_reported_with_its_field(
    replacements: dict[str, str], messages: dict[str, str]
) -> None:
    text = fill()
    for before, after in replacements.items():
        assert before in text
        text = text.replace(before, after)
    faults = check(text)
    assert sorted(fault.field for fault in faults) == sorted(messages)
    for fault in faults:
        assert re.search(messages[fault.field], fault.message), fault


@pytest.mark.slow
@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    ("denied", "reported"),
    [
        (["s3:ListBucket"], {"s3:list-objects-v2"}),
        (
            ["s3:PutObject", "ec2:DescribeImages", "ec2:DescribeInstanceTypes", "iam:GetInstanceProfile"],
            {
                "s3:put-object",
                "ec2:describe-images",
                "ec2:describe-instance-types",
                "iam:get-instance-profile",
            },
        ),
        (
            ["s3:DeleteObject", "ec2:DescribeInstanceTypeOfferings"],
            {"s3:delete-object", "ec2:describe-instance-type-offerings"},
        ),
    ],
)
def test_a_denied_action_is_reported_by_name(denied, reported, create_user, monkeypatch) -> None:
    allow = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    for name, value in create_user([allow, {"Effect": "Deny", "Action": denied, "Resource": "*"}]).items():
        monkeypatch.setenv(name, value)
    with enable_iam_authentication():
        faults = check(fill())
    assert {re.search(r"AWS must allow (\S+), it answers", fault.message)[1] for fault in faults} == reported


@pytest.mark.slow
@pytest.mark.usefixtures("account")
def test_missing_credentials_are_one_fault(tmp_path, monkeypatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (fault,) = check(fill())
    assert fault.field == "AWS"
    assert "Unable to locate credentials; `aws configure`" in fault.message


@pytest.mark.slow
@pytest.mark.usefixtures("account")
def test_an_unreachable_aws_is_one_fault(monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    (fault,) = check(fill())
    assert "Could not connect" in fault.message


def test_an_unknown_profile_is_a_fault_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    (fault,) = check(fill())
    assert fault.field == "AWS"
    assert "(nobody) could not be found; `aws configure`" in fault.message

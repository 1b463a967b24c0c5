"""What an AWS account lacks for a cluster file, asked over HTTP of moto's EC2, IAM, STS and S3."""

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
        URIS[0]: "s3://ocr-ray-nothing/x",
        URIS[1]: "s3://ocr-ray-virginia/x",
    },
    {
        "m7i.4xlarge}": "m7i.4xlarge, ImageId: ami-0e9271c829888680e}",
        "m6i.4xlarge}": "m6g.4xlarge}",
        "c7i.4xlarge}": "c7i.4xlarge, IamInstanceProfile: {Arn: 'arn:aws:iam::1:instance-profile/empty'}}",
        "ImageId: *gpu_image": "ImageId: ami-760aaa0f",
    },
]
"""What is replaced in the right file, by what: two files with something wrong at each node type."""
SAID = [
    {
        f"{TYPES}.cpu_m7i.node_config.ImageId": "describe-images, it said: .*AMIID.NotFound.*finds another",
        f"{TYPES}.cpu_m6i.node_config.InstanceType": "m6i.5xlarge.*describe-instance-type-offerings` lists",
        f"{TYPES}.cpu_c7i.node_config.IamInstanceProfile": "nobody not found; deploy/README.md says how",
        f"{TYPES}.gpu_g5.node_config.InstanceType": "hpc7a.12xlarge is in none of ap-northeast-2",
        "s3://ocr-ray-nothing/x": "s3:head-bucket, it said: .*404.*; the bucket must be there",
        "s3://ocr-ray-virginia/x": "must lie in provider.region, ap-northeast-2, lies in us-east-1",
    },
    {
        f"{TYPES}.cpu_m7i.node_config.ImageId": "for x86_64, ami-0e9271c829888680e is for arm64",
        f"{TYPES}.cpu_m7i.node_config.BlockDeviceMappings": "/dev/xvda, names /dev/sda1",
        f"{TYPES}.cpu_m6i.node_config.InstanceType": "must be of x86_64, m6g.4xlarge is of arm64",
        f"{TYPES}.cpu_c7i.node_config.IamInstanceProfile": "must hold a role, empty holds none",
        f"{TYPES}.gpu_g5.node_config.BlockDeviceMappings": "root disk of ami-760aaa0f, /dev/xvda",
    },
]


@pytest.fixture
def account(s3_environment: None) -> None:
    """The buckets, roles and profiles that deploy/README.md asks for, and some that are wrong."""
    make_buckets()
    make_profiles()
    s3, iam = boto3.client("s3"), boto3.client("iam")
    s3.create_bucket(Bucket="ocr-ray-virginia")
    if "empty" not in {
        found["InstanceProfileName"] for found in iam.list_instance_profiles()["InstanceProfiles"]
    }:
        iam.create_instance_profile(InstanceProfileName="empty")


@pytest.fixture
def keys_of() -> Callable[[list[dict]], dict[str, str]]:
    """Make a user who may do what statements allow; return the keys as the environment has them."""

    def make(statements: list[dict]) -> dict[str, str]:
        iam, name = boto3.client("iam"), f"user-{len(boto3.client('iam').list_users()['Users'])}"
        iam.create_user(UserName=name)
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=document)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    return make


def check(text: str) -> list[Fault]:
    return check_account(parse(text))


@pytest.mark.slow
@pytest.mark.usefixtures("account")
def test_a_whole_account_has_no_faults_and_keeps_no_probe() -> None:
    assert check(fill()) == []
    assert [list_files(locate(uri)) for uri in URIS] == [{}, {}]


@pytest.mark.slow
@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(("wrong", "said"), zip(WRONG, SAID, strict=True))
def test_all_that_the_account_lacks_is_named_with_its_field(
    wrong: dict[str, str], said: dict[str, str]
) -> None:
    text = fill()
    for before, after in wrong.items():
        assert before in text
        text = text.replace(before, after)
    faults = check(text)
    assert sorted(fault.field for fault in faults) == sorted(said)
    for fault in faults:
        assert re.search(said[fault.field], fault.message), fault


@pytest.mark.slow
@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    ("denied", "asked"),
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
def test_what_may_not_be_asked_is_a_fault_that_names_the_action(denied, asked, keys_of, monkeypatch) -> None:
    allow = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    for name, value in keys_of([allow, {"Effect": "Deny", "Action": denied, "Resource": "*"}]).items():
        monkeypatch.setenv(name, value)
    with enable_iam_authentication():
        faults = check(fill())
    assert {re.search(r"AWS must answer (\S+), it said", fault.message)[1] for fault in faults} == asked


@pytest.mark.slow
@pytest.mark.usefixtures("account")
def test_without_credentials_there_is_one_fault(tmp_path, monkeypatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (fault,) = check(fill())
    assert fault.field == "AWS"
    assert "Unable to locate credentials; `aws configure`" in fault.message


@pytest.mark.slow
@pytest.mark.usefixtures("account")
def test_an_aws_that_does_not_answer_is_one_fault(monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    (fault,) = check(fill())
    assert "Could not connect" in fault.message


def test_a_profile_that_is_not_there_is_a_fault_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    (fault,) = check(fill())
    assert fault.field == "AWS"
    assert "(nobody) could not be found; `aws configure`" in fault.message

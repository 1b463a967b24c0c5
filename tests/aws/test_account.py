"""Checks of an AWS account over HTTP, against moto's EC2, IAM, STS and S3."""

import json
import re
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from builders.cluster_files import (
    BUCKETS,
    REGION,
    fill,
    make_buckets,
    make_group,
    make_profiles,
    make_ssh,
    parse,
    read_policy,
)
from fakes.iam import complete_moto
from moto.core.authorization import enable_iam_authentication

from ocr_ray.aws.account import check_account
from ocr_ray.aws.cluster_file import Fault
from ocr_ray.aws.protection import check_bucket_settings, check_security_groups, check_subnets
from ocr_ray.aws.requests import Account
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
def account(s3_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The buckets, roles, profiles and group that deploy/README.md asks for, and some with faults."""
    complete_moto(monkeypatch)
    make_group()
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


def check_only(function: Callable[..., None], text: str, *arguments: Any, **options: Any) -> list[Fault]:
    account = Account(parse(text))
    function(account, *arguments, **options)
    return account.faults


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
    # The roles' policies do not match the changed folders and instance types either.
    faults = [fault for fault in check(text) if not fault.field.startswith("role ")]
    assert sorted(fault.field for fault in faults) == sorted(messages)
    for fault in faults:
        assert re.search(messages[fault.field], fault.message), fault


@pytest.mark.slow
@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    ("denied", "reported"),
    [
        (["s3:ListBucket"], {"s3:head-bucket"}),
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
            [
                *("s3:GetBucketPolicy", "iam:ListRolePolicies", "ec2:DescribeSecurityGroups"),
                *("s3:DeleteObject", "ec2:DescribeInstanceTypeOfferings"),
            ],
            {
                *("s3:get-bucket-policy", "iam:list-role-policies", "ec2:describe-security-groups"),
                *("s3:delete-object", "ec2:describe-instance-type-offerings"),
            },
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
@pytest.mark.parametrize("missing", ["", "deletion"])
def test_the_users_policies_suffice_for_the_checks(missing, create_user, monkeypatch) -> None:
    policies = {"buckets", "deletion", "launcher"} - {missing}
    statements = [statement for policy in policies for statement in read_policy(policy)]
    for name, value in create_user(statements).items():
        monkeypatch.setenv(name, value)
    with enable_iam_authentication():
        faults = check(fill())
    assert (faults == []) == (not missing)


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


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("AWS_ENDPOINT_URL", "nonsense", "Invalid endpoint: nonsense"),
        ("AWS_MAX_ATTEMPTS", "many", "invalid literal for int"),
        (
            "AWS_CONFIG_FILE",
            "[default]\ncredential_process = /none/login",
            "No such file or directory: '/none/",
        ),
        ("AWS_CONFIG_FILE", "[default]\ncredential_process = echo hello", "Expecting value"),
    ],
)
def test_a_setting_that_botocore_cannot_use_is_a_fault(name, value, message, tmp_path, monkeypatch) -> None:
    if name == "AWS_CONFIG_FILE":
        tmp_path.joinpath("config").write_text(value)
        value = str(tmp_path / "config")
    for unset in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(unset, raising=False)
    monkeypatch.setenv(name, value)
    (fault,) = check(fill())
    assert fault.field == "AWS"
    assert message in fault.message


def add_role(name: str, policies: dict[str, dict], trust: dict | None = None) -> None:
    """Create a role with inline policies of one statement, and a profile of the same name."""
    iam = boto3.client("iam")
    trust = trust or {
        "Effect": "Allow",
        "Principal": {"Service": "ec2.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    document = {"Version": "2012-10-17", "Statement": [trust]}
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(document))
    for policy, statement in policies.items():
        text = json.dumps({"Version": "2012-10-17", "Statement": statement})
        iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=text)
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)


@pytest.mark.slow
@pytest.mark.usefixtures("account")
def test_the_policies_that_roles_have_in_the_account_are_checked_whatever_the_files_say() -> None:
    iam, everything = boto3.client("iam"), {"Effect": "Allow", "Action": "*", "Resource": "*"}
    add_role("wide-head", {"all": everything}, trust={**everything, "Principal": {"AWS": "*"}})
    add_role("wide-worker", {"reads": {**everything, "Action": "s3:GetObject"}})
    policy = json.dumps({"Version": "2012-10-17", "Statement": {**everything, "Action": "iam:PassRole"}})
    arn = iam.create_policy(PolicyName="passes", PolicyDocument=policy)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="wide-head", PolicyArn=arn)
    iam.attach_role_policy(RoleName="wide-worker", PolicyArn=arn)
    faults = check(fill().replace("ocr-ray-head}", "wide-head}").replace("ocr-ray-worker}", "wide-worker}"))
    assert [str(fault) for fault in faults] == [
        "role wide-head: must let only the service ec2.amazonaws.com assume the role, got {'AWS': '*'}; "
        "deploy/trust.json does",
        "role wide-head: all: statement 1 must name each action, got *",
        "role wide-head: passes: statement 1 must let the head node pass only the roles of the nodes that it "
        "starts, wide-worker, got *",
        "role wide-head: passes: statement 1 must have the condition iam:PassedToService ec2.amazonaws.com, "
        "got none",
        "role wide-worker: must allow s3:ListBucket, s3:PutObject, s3:AbortMultipartUpload; deploy/README.md "
        "has the commands",
        "role wide-worker: reads: statement 1 must be limited to the folders of metadata.uris, got *",
        "role wide-worker: passes: statement 1 must not allow iam:PassRole, which a worker does not need; "
        "metadata.other_actions lists those that you add on purpose",
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    ("name", "options", "messages"),
    [
        (
            "open4",
            {"rules": [make_ssh("0.0.0.0/0")]},
            [r"got SSH from 0\.0\.0\.0/0; --allow-public-ssh accepts"],
        ),
        ("open6", {"rules": [make_ssh("::/0")]}, [r"got SSH from ::/0; --allow-public-ssh accepts this"]),
        ("halves", {"rules": [make_ssh("0.0.0.0/1"), make_ssh("128.0.0.0/1")]}, ["0.0.0.0/1", "128.0.0.0/1"]),
        (
            "dashboard",
            {"rules": [{**make_ssh("203.0.113.7/32"), "FromPort": 8265, "ToPort": 8265}]},
            [r"got 203\.0\.113\.7/32 on ports 8265 to 8265"],
        ),
        (
            "all-ports",
            {"rules": [{**make_ssh("10.0.0.0/8"), "IpProtocol": "-1"}]},
            [r"got 10\.0\.0\.0/8 on all ports"],
        ),
        ("theirs", {"cluster": "theirs"}, [r"must have the tag ray-cluster-name ocr-ray, got theirs"]),
        (
            "apart",
            {"joined": False, "rules": [make_ssh("203.0.113.7/32")]},
            ["must let the nodes reach each other"],
        ),
        ("mine", {"rules": [make_ssh("203.0.113.7/32"), make_ssh("2001:db8::1/128")]}, []),
        (
            "none",
            None,
            [r"must exist, or Ray would create one that opens SSH to every address; deploy/README\.md"],
        ),
    ],
)
def test_only_nodes_and_ssh_of_the_user_may_enter(name, options, messages) -> None:
    if options is not None:
        make_group(name, *options.pop("rules", ()), **options)
    text = fill().replace("{GroupName: ocr-ray}", f"{{GroupName: {name}}}")
    faults = check_only(check_security_groups, text, allow_public_ssh=False)
    assert {fault.field for fault in faults} == ({f"security group {name}"} if messages else set())
    assert len(faults) == len(messages)
    for fault, message in zip(faults, messages, strict=True):
        assert re.search(message, fault.message), fault
    told = check_only(check_security_groups, text, allow_public_ssh=True)
    assert (told == []) == (name in ("open4", "open6", "halves", "mine", "none"))


@pytest.mark.slow
@pytest.mark.usefixtures("account")
def test_groups_that_nodes_name_are_checked_and_may_enter_each_other() -> None:
    ec2 = boto3.client("ec2", region_name=REGION)
    ours, other = make_group("heads"), make_group("others")
    from_other = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": other}]}
    ec2.authorize_security_group_ingress(GroupId=ours, IpPermissions=[from_other])
    head, worker = (f"InstanceType: {name}" for name in ("m6i.xlarge", "c6i.4xlarge"))
    text = fill().replace(head, f"{head}\n            SecurityGroupIds: [{ours}]")
    (fault,) = check_only(check_security_groups, text, allow_public_ssh=False)
    assert fault.field == "security group heads"
    assert f"must let only nodes enter, and SSH from addresses that you name, got {other}" in fault.message
    text = text.replace(worker, f"{worker}\n            SecurityGroupIds: [{other}]")
    assert check_only(check_security_groups, text, allow_public_ssh=False) == []


@pytest.mark.slow
@pytest.mark.usefixtures("account")
def test_buckets_refuse_plain_http_are_not_public_and_keep_versions() -> None:
    s3 = boto3.client("s3", region_name=REGION)
    place = {"LocationConstraint": REGION}
    everyone = {"Sid": "Public", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
    tls = {"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "s3:*", "Resource": "*"}
    policies = {
        "no-policy": None,
        "public": [{**everyone, "Resource": "arn:aws:s3:::public/*"}],
        "half-tls": [
            {**tls, "Action": "s3:GetObject", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
        ],
        "almost-public": [
            {
                "Sid": "Public",
                "Effect": "Allow",
                "Action": "s3:GetObject",
                "NotPrincipal": {"AWS": "123456789012"},
                "Resource": "*",
            }
        ],
        "good": [{**tls, "Condition": {"Bool": {"aws:SecureTransport": "false"}}}],
        "boolean": [{**tls, "Condition": {"Bool": {"aws:SecureTransport": False}}}],
    }
    found = {}
    for name, statements in policies.items():
        s3.create_bucket(Bucket=name, CreateBucketConfiguration=place)
        if statements:
            s3.put_bucket_policy(Bucket=name, Policy=json.dumps({"Statement": statements}))
        faults = check_only(check_bucket_settings, fill(), name)
        assert {fault.field for fault in faults} == {f"s3://{name}"}
        found[name] = [(fault.message.split(";")[0], fault.is_warning) for fault in faults]
    no_tls = ("must refuse requests without TLS by deploy/bucket_policy.json", False)
    no_versions = ("has no versioning: what a node overwrites is lost", True)
    assert found == {
        "no-policy": [no_tls, no_versions],
        "public": [no_tls, ("must not be public, Public allows everyone", False), no_versions],
        "half-tls": [no_tls, no_versions],
        "almost-public": [no_tls, ("must not be public, Public allows everyone", False), no_versions],
        "good": [no_versions],
        "boolean": [no_versions],
    }


@pytest.mark.slow
@pytest.mark.usefixtures("account")
def test_a_private_subnet_that_gives_public_addresses_is_a_warning() -> None:
    ec2 = boto3.client("ec2", region_name=REGION)
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    text = fill().replace("{GroupName: ocr-ray}", "{GroupName: ocr-ray}\n    use_internal_ips: true")
    text = text.replace(
        "InstanceType: g5.2xlarge", f"InstanceType: g5.2xlarge\n            SubnetIds: [{subnet}]"
    )
    for public in (True, False):
        ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": public})
        faults = check_only(check_subnets, text)
        assert [fault.is_warning for fault in faults] == [True] * public
    ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": True})

"""The policies in deploy/: requests to moto's S3, decisions on other requests, and policies with faults."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
from builders.cluster_files import (
    BUCKETS,
    REGION,
    ROLES,
    ROOT,
    fill,
    make_buckets,
    make_profiles,
    parse,
    read_policy,
    write_policies,
)
from builders.wrong_policies import WRONG
from fakes.iam import ACCOUNT, complete_moto, is_allowed
from moto.core.authorization import enable_iam_authentication

from ocr_ray.aws.policies import check_policies
from ocr_ray.errors import InputError, StorageError
from ocr_ray.storage.location import check_writable, list_files, locate, read_bytes, write_bytes

WORKER, HEAD = (
    [one for name in names for one in read_policy(name)]
    for names in (ROLES["ocr-ray-worker"], ROLES["ocr-ray-head"])
)
LAUNCHER = read_policy("launcher")
FILE = parse(fill())
DATA, MODELS = (f"arn:aws:s3:::{bucket}" for bucket in BUCKETS)
EC2 = f"arn:aws:ec2:{REGION}:{ACCOUNT}:"
REGIONAL = {"aws:RequestedRegion": REGION}
OURS = REGIONAL | {"aws:ResourceTag/ray-cluster-name": "ocr-ray"}
STARTED = REGIONAL | {"aws:RequestTag/ray-cluster-name": "ocr-ray", "ec2:MetadataHttpTokens": "required"}
TO_EC2 = {"iam:PassedToService": "ec2.amazonaws.com"}


@pytest.fixture
def become(s3_environment: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Use the keys of a role, as its nodes do."""
    complete_moto(monkeypatch)
    make_buckets()
    make_profiles()
    monkeypatch.setenv("AWS_REGION", REGION)

    def become(role: str) -> None:
        arn = boto3.client("iam").get_role(RoleName=role)["Role"]["Arn"]
        keys = boto3.client("sts").assume_role(RoleArn=arn, RoleSessionName="node")["Credentials"]
        names = {
            "ACCESS_KEY_ID": "AccessKeyId",
            "SECRET_ACCESS_KEY": "SecretAccessKey",
            "SESSION_TOKEN": "SessionToken",
        }
        for name, key in names.items():
            monkeypatch.setenv(f"AWS_{name}", keys[key])

    return become


@pytest.mark.slow
@pytest.mark.parametrize("bucket", BUCKETS)
def test_the_head_reads_writes_lists_and_deletes_below_its_folders(bucket: str, become) -> None:
    become("ocr-ray-head")
    folder = locate(f"s3://{bucket}/ocr/lines")
    large = os.urandom(11 << 20)  # large enough for a multipart upload
    with enable_iam_authentication():
        check_writable(folder, "--out-uri")
        write_bytes(folder / "large", large)
        assert read_bytes(folder / "large") == large
        assert list_files(folder) == {"large": len(large)}
        folder.filesystem.create_dir((folder / "checkpoint").path)  # as Ray Train does
        folder.filesystem.delete_file((folder / "large").path)
        assert list_files(folder) == {}


@pytest.mark.slow
def test_a_worker_reads_and_writes_there_and_can_neither_delete_nor_do_anything_elsewhere(become) -> None:
    become("ocr-ray-worker")
    with enable_iam_authentication():
        for bucket in BUCKETS:
            file = locate(f"s3://{bucket}/ocr/of_worker")
            file.filesystem.create_dir(f"{bucket}/ocr/checkpoint")
            write_bytes(file, b"x")
            assert read_bytes(file) == b"x"
            with pytest.raises(OSError, match="ACCESS_DENIED"):
                file.filesystem.delete_file(file.path)
        for uri in (f"s3://{BUCKETS[0]}/other/x", f"s3://{BUCKETS[1]}/ocrx"):
            with pytest.raises(StorageError, match="ACCESS_DENIED"):
                write_bytes(locate(uri), b"x")
            with pytest.raises(StorageError, match="ACCESS_DENIED"):
                list_files(locate(uri))
        for service, action in (("s3", "list_buckets"), ("ec2", "describe_instances")):
            client = boto3.Session(region_name=REGION).client(service)
            with pytest.raises(client.exceptions.ClientError, match=r"AccessDenied|UnauthorizedOperation"):
                getattr(client, action)()


@pytest.mark.parametrize(
    ("who", "action", "resource", "context", "allowed"),
    [
        # S3 asks for a missing key as for a list of that prefix, to answer 404 and not 403.
        (WORKER, "s3:ListBucket", DATA, {"s3:prefix": "ocr/lines/none"}, True),
        (WORKER, "s3:ListBucket", MODELS, {"s3:prefix": "ocr/"}, True),
        (WORKER, "s3:ListBucket", MODELS, {"s3:prefix": "ocr"}, False),  # a list of ocr-of-others/ too
        (WORKER, "s3:ListBucket", DATA, {"s3:prefix": "other/"}, False),
        (WORKER, "s3:ListBucket", DATA, {"s3:prefix": "ocr-of-others/"}, False),
        (WORKER, "s3:ListBucket", DATA, {"s3:prefix": ""}, False),
        (WORKER, "s3:GetObject", f"{DATA}-of-others/ocr/x", {}, False),
        (WORKER, "s3:DeleteObject", f"{MODELS}/ocr/best_ocr/model.safetensors", {}, False),
        (WORKER, "s3:DeleteObject", f"{DATA}/ocr/lines/manifest.json", {}, False),
        (
            WORKER,
            "ec2:RunInstances",
            f"{EC2}instance/*",
            STARTED | {"ec2:InstanceType": "c6i.4xlarge"},
            False,
        ),
        (HEAD, "s3:DeleteObject", f"{MODELS}/ocr/best_ocr/metrics.json", {}, True),
        (HEAD, "s3:DeleteObjectVersion", f"{MODELS}/ocr/best_ocr/metrics.json", {}, False),
        (HEAD, "s3:PutBucketPolicy", DATA, {}, False),
        (HEAD, "ec2:RunInstances", f"{EC2}instance/*", STARTED | {"ec2:InstanceType": "c6i.4xlarge"}, True),
        (HEAD, "ec2:RunInstances", f"{EC2}instance/*", STARTED | {"ec2:InstanceType": "p5.48xlarge"}, False),
        (HEAD, "ec2:RunInstances", f"{EC2}instance/*", OURS | {"ec2:InstanceType": "c6i.4xlarge"}, False),
        (
            HEAD,
            "ec2:RunInstances",
            "arn:aws:ec2:us-east-1:1:instance/*",
            STARTED | {"ec2:InstanceType": "c6i.4xlarge", "aws:RequestedRegion": "us-east-1"},
            False,
        ),
        (HEAD, "ec2:RunInstances", "arn:aws:ec2:x::image/ami-1", REGIONAL | {"ec2:Owner": "amazon"}, True),
        (HEAD, "ec2:RunInstances", "arn:aws:ec2:x::image/ami-1", REGIONAL | {"ec2:Owner": "666"}, False),
        (HEAD, "ec2:RunInstances", f"{EC2}volume/*", REGIONAL | {"ec2:Encrypted": "false"}, False),
        (HEAD, "ec2:RunInstances", f"{EC2}security-group/sg-1", OURS, True),
        (HEAD, "ec2:RunInstances", f"{EC2}security-group/sg-1", REGIONAL, False),
        (HEAD, "ec2:TerminateInstances", f"{EC2}instance/i-1", OURS, True),
        (HEAD, "ec2:TerminateInstances", f"{EC2}instance/i-1", REGIONAL, False),
        (HEAD, "ec2:AuthorizeSecurityGroupIngress", f"{EC2}security-group/sg-1", OURS, False),
        (HEAD, "iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/ocr-ray-worker", TO_EC2, True),
        (HEAD, "iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/ocr-ray-head", TO_EC2, False),
        (HEAD, "iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/admin", TO_EC2, False),
        (
            HEAD,
            "iam:PassRole",
            f"arn:aws:iam::{ACCOUNT}:role/ocr-ray-worker",
            {"iam:PassedToService": "lambda.amazonaws.com"},
            False,
        ),
        (LAUNCHER, "ec2:AuthorizeSecurityGroupIngress", f"{EC2}security-group/sg-1", OURS, True),
        (LAUNCHER, "ec2:AuthorizeSecurityGroupIngress", f"{EC2}security-group/sg-1", REGIONAL, False),
        (LAUNCHER, "ec2:CreateSecurityGroup", f"{EC2}security-group/*", REGIONAL, False),
        (LAUNCHER, "ec2:CreateKeyPair", f"{EC2}key-pair/ray-autoscaler_1_{REGION}", REGIONAL, True),
        (LAUNCHER, "ec2:CreateKeyPair", f"{EC2}key-pair/of-production", REGIONAL, False),
        (
            LAUNCHER,
            "ec2:RunInstances",
            f"{EC2}instance/*",
            STARTED | {"ec2:InstanceType": "m6i.xlarge"},
            True,
        ),
        (
            LAUNCHER,
            "ec2:RunInstances",
            f"{EC2}instance/*",
            STARTED | {"ec2:InstanceType": "g5.2xlarge"},
            False,
        ),
    ],
)
def test_iam_decides_as_the_readme_says(who, action, resource, context, allowed) -> None:
    assert is_allowed(who, action, resource, context) == allowed


def test_a_bucket_refuses_requests_without_tls_even_of_an_administrator() -> None:
    only_tls = json.loads(ROOT.joinpath("deploy/bucket_policy.json").read_text().replace("BUCKET", "b"))[
        "Statement"
    ]
    admin = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    for resource in ("arn:aws:s3:::b", "arn:aws:s3:::b/x/y"):
        assert is_allowed([admin, *only_tls], "s3:GetObject", resource, {"aws:SecureTransport": "true"})
        assert not is_allowed([admin, *only_tls], "s3:GetObject", resource, {"aws:SecureTransport": "false"})


@pytest.mark.parametrize("case", WRONG)
def test_a_policy_that_allows_too_much_is_reported(case: str, tmp_path: Path) -> None:
    name, statement, message = WRONG[case]
    path = write_policies(tmp_path / "policies") / f"{name}.json"
    policy = json.loads(path.read_text())
    assert list(check_policies(FILE, path.parent)) == []
    policy["Statement"].append(statement)
    path.write_text(json.dumps(policy))
    faults = list(check_policies(FILE, path.parent))
    assert {fault.field for fault in faults} == {str(path)}
    assert message in "\n".join(fault.message for fault in faults)


@pytest.mark.parametrize("name", ["buckets", "deletion", "head", "launcher", "trust"])
def test_a_policy_that_is_one_statement_is_read_like_a_list(name: str, tmp_path: Path) -> None:
    path = write_policies(tmp_path / "policies") / f"{name}.json"
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*", "Principal": "*"}
    path.write_text(json.dumps({"Version": "2012-10-17", "Statement": everything}))
    messages = [fault.message for fault in check_policies(FILE, path.parent) if fault.field == str(path)]
    assert any("must name each action" in one or "ec2.amazonaws.com" in one for one in messages)


@pytest.mark.parametrize(
    ("name", "removed", "message"),
    [
        ("head", ["PassWorkerRole"], "must allow iam:PassRole"),
        (
            "head",
            ["UseNetwork"],
            "must allow ec2:RunInstances on network-interface/*, ec2:RunInstances on subnet",
        ),
        ("launcher", ["StartNodes"], "must allow ec2:RunInstances on instance/*"),
        ("deletion", ["DeleteInFolders"], "must allow s3:DeleteObject"),
    ],
)
def test_a_policy_that_allows_too_little_is_reported(name, removed, message, tmp_path) -> None:
    path = write_policies(tmp_path / "policies") / f"{name}.json"
    policy = json.loads(path.read_text())
    policy["Statement"] = [one for one in policy["Statement"] if one["Sid"] not in removed]
    path.write_text(json.dumps(policy))
    assert message in "\n".join(map(str, check_policies(FILE, path.parent)))


def test_a_denial_and_an_action_that_is_listed_on_purpose_are_no_faults(tmp_path: Path) -> None:
    file = parse(fill().replace("    uris: #", "    other_actions: [logs:PutLogEvents]\n    uris: #"))
    path = write_policies(tmp_path / "policies") / "head.json"
    policy = json.loads(path.read_text())
    policy["Statement"].append({"Effect": "Deny", "Action": "*", "Resource": "*"})
    policy["Statement"].append({"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "*"})
    path.write_text(json.dumps(policy))
    assert len(list(check_policies(FILE, path.parent))) == 1
    assert list(check_policies(file, path.parent)) == []


def test_a_key_of_the_user_is_checked_once_it_is_filled_in(tmp_path: Path) -> None:
    path = write_policies(tmp_path / "policies") / "kms.json"
    assert list(check_policies(FILE, path.parent)) == []
    text = path.read_text().replace("CHANGE-ME-account", ACCOUNT)
    path.write_text(text.replace("CHANGE-ME-key", "0a1b"))
    assert list(check_policies(FILE, path.parent)) == []
    path.write_text(text.replace("CHANGE-ME-key", "*"))
    (fault,) = check_policies(FILE, path.parent)
    assert "must name the key of the buckets" in fault.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ("[]", r'it must be {"Version": …, "Statement": \[{…}, …\]}'),
        ('{"Statement": 7}', "it must be"),
        ('{"Statement": ["a"]}', "it must be"),
        ("[" * 100_000, "maximum recursion"),
    ],
)
def test_a_file_that_is_no_policy_is_refused_with_what_it_must_be(text, message, tmp_path) -> None:
    path = write_policies(tmp_path / "policies") / "head.json"
    path.write_text(text)
    with pytest.raises(
        InputError, match=rf"--policies must hold IAM policies in JSON, {path} is not one: .*{message}"
    ):
        list(check_policies(FILE, path.parent))


@pytest.mark.parametrize("name", ["buckets", "deletion", "head", "launcher"])
def test_policies_fit_into_managed_policies(name: str) -> None:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: white space does not count.
    assert len(re.sub(r"\s", "", ROOT.joinpath(f"deploy/{name}.json").read_text())) < 6144

"""The policies in deploy/, checked with moto's simulation of IAM."""

import json
import os

import boto3
import pytest
from builders.cluster_files import BUCKETS, REGION, make_buckets, make_profiles, read_policy
from moto.core.authorization import enable_iam_authentication
from moto.s3.responses import ACTION_MAP

from ocr_ray.errors import StorageError
from ocr_ray.storage.location import check_writable, list_files, locate, read_bytes, write_bytes


@pytest.fixture
def as_worker(s3_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the keys of the workers' role, as a node does."""
    make_buckets()
    make_profiles()
    arn = boto3.client("iam").get_role(RoleName="ocr-ray-worker")["Role"]["Arn"]
    keys = boto3.client("sts").assume_role(RoleArn=arn, RoleSessionName="node")["Credentials"]
    names = {
        "ACCESS_KEY_ID": "AccessKeyId",
        "SECRET_ACCESS_KEY": "SecretAccessKey",
        "SESSION_TOKEN": "SessionToken",
    }
    for name, key in names.items():
        monkeypatch.setenv(f"AWS_{name}", keys[key])
    monkeypatch.setenv("AWS_REGION", REGION)
    # moto checks an action that IAM does not have; S3 checks s3:ListBucket:
    # https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html
    monkeypatch.setitem(ACTION_MAP["BUCKET"]["HEAD"], "DEFAULT", "ListBucket")


@pytest.mark.slow
@pytest.mark.usefixtures("as_worker")
@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_worker_reads_writes_lists_and_deletes_below_its_folders(bucket: str) -> None:
    folder = locate(f"s3://{bucket}/ocr/lines")
    large = os.urandom(11 << 20)  # large enough for a multipart upload
    with enable_iam_authentication():
        check_writable(folder, "--out-uri")
        write_bytes(folder / "large", large)
        assert read_bytes(folder / "large") == large
        assert list_files(folder) == {"large": len(large)}
        folder.filesystem.delete_file((folder / "large").path)
        assert list_files(folder) == {}


@pytest.mark.slow
@pytest.mark.usefixtures("as_worker")
def test_a_worker_can_do_nothing_elsewhere() -> None:
    with enable_iam_authentication():
        for uri in (f"s3://{BUCKETS[0]}/other/x", f"s3://{BUCKETS[1]}/ocrx"):
            with pytest.raises(StorageError, match="ACCESS_DENIED"):
                write_bytes(locate(uri), b"x")
        for service, action in (("s3", "list_buckets"), ("ec2", "describe_instances")):
            client = boto3.Session(region_name=REGION).client(service)
            with pytest.raises(client.exceptions.ClientError, match=r"AccessDenied|UnauthorizedOperation"):
                getattr(client, action)()


def test_permissions_to_start_and_terminate_nodes_are_limited_to_the_cluster() -> None:
    for name in ("head", "launcher"):
        for statement in read_policy(name):
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            on_instances = "instance/*" in json.dumps(statement["Resource"])
            condition = json.dumps(statement.get("Condition", {}))
            if "iam:PassRole" in actions:
                assert (
                    statement["Resource"]
                    == f"arn:aws:iam::*:role/ocr-ray-{'worker' if name == 'head' else 'head'}"
                )
                assert "ec2.amazonaws.com" in condition
            elif "ec2:TerminateInstances" in actions or (on_instances and "ec2:RunInstances" in actions):
                assert '/ray-cluster-name": "ocr-ray"' in condition
            assert "*" not in actions
            assert not any(action.endswith(":*") for action in actions)

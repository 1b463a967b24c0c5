"""The cluster file and policies of the repository filled in, and an account that matches them."""

import json
import platform
from pathlib import Path

import boto3
import pytest
import yaml

from ocr_ray.aws.cluster_file import ClusterFile

ROOT = Path(__file__).parents[2]
TEXT = ROOT.joinpath("cluster.yaml").read_text(encoding="utf-8")
REGION, BUCKETS = "ap-northeast-2", ("my-data", "my-models")
# An image of moto: Ubuntu for x86_64 with the root disk /dev/sda1.
IMAGE = "ami-1e749f67"
ROLES = {"ocr-ray-head": ("buckets", "deletion", "head"), "ocr-ray-worker": ("buckets",)}
"""The policies of each role, as deploy/README.md attaches them."""
FILLED = {
    "CHANGE-ME-data": BUCKETS[0],
    "CHANGE-ME-models": BUCKETS[1],
    "ami-CHANGE-ME-ubuntu": IMAGE,
    "ami-CHANGE-ME-gpu": IMAGE,
    "PYTHON_VERSION=3.11": f"PYTHON_VERSION={platform.python_version()}",
}


def fill(text: str = TEXT) -> str:
    """Return a text with every placeholder filled in, and with the Python that runs the tests."""
    for placeholder, value in FILLED.items():
        text = text.replace(placeholder, value)
    return text


def parse(text: str) -> ClusterFile:
    return ClusterFile(text, yaml.safe_load(text))


def write_policies(folder: Path) -> Path:
    """Write the policies, filled in, and return their folder."""
    folder.mkdir()
    for path in ROOT.joinpath("deploy").glob("*.json"):
        folder.joinpath(path.name).write_text(fill(path.read_text(encoding="utf-8")))
    return folder


def make_home(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Create a home folder with a token for Ray and a configuration of AWS, and set HOME to it."""
    folder.joinpath(".aws").mkdir(parents=True)
    folder.joinpath(".aws", "config").write_text("[default]\n")
    folder.joinpath(".ray").mkdir(parents=True)
    folder.joinpath(".ray", "auth_token").write_text("0123456789abcdef0123456789abcdef")
    folder.joinpath(".ray", "auth_token").chmod(0o600)
    patch.setenv("HOME", str(folder))
    return folder


def make_profiles() -> None:
    """Create the roles and instance profiles of deploy/README.md."""
    iam = boto3.client("iam")
    policies = {
        name: fill(ROOT.joinpath(f"deploy/{name}.json").read_text())
        for name in ("trust", "buckets", "deletion", "head")
    }
    known = {profile["InstanceProfileName"] for profile in iam.list_instance_profiles()["InstanceProfiles"]}
    for name, role_policies in ROLES.items():
        if name in known:
            continue
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=policies["trust"])
        for policy in role_policies:
            iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=policies[policy])
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)


def make_buckets() -> None:
    s3 = boto3.client("s3", region_name=REGION)
    known = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    for bucket in BUCKETS:
        if bucket not in known:
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
            only_tls = ROOT.joinpath("deploy/bucket_policy.json").read_text().replace("BUCKET", bucket)
            s3.put_bucket_policy(Bucket=bucket, Policy=only_tls)
            s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def make_group(name: str = "ocr-ray", *rules: dict, cluster: str = "ocr-ray", joined: bool = True) -> str:
    """Create the security group of deploy/README.md in the default network, with more rules."""
    ec2 = boto3.client("ec2", region_name=REGION)
    found = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [name]}])["SecurityGroups"]
    if found:
        return found[0]["GroupId"]
    network = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
    tags = [{"ResourceType": "security-group", "Tags": [{"Key": "ray-cluster-name", "Value": cluster}]}]
    group = ec2.create_security_group(
        GroupName=name, Description="nodes", VpcId=network, TagSpecifications=tags
    )["GroupId"]
    if joined:
        rules = ({"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}, *rules)
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=list(rules))
    return group


def make_ssh(address: str) -> dict:
    """Return a rule that opens SSH to an address."""
    ranges = "Ipv6Ranges" if ":" in address else "IpRanges"
    key = "CidrIpv6" if ":" in address else "CidrIp"
    return {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, ranges: [{key: address}]}


def read_policy(name: str) -> list[dict]:
    """Return the statements of a policy of the repository, filled in."""
    return json.loads(fill(ROOT.joinpath(f"deploy/{name}.json").read_text()))["Statement"]

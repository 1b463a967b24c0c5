"""Checks of the AWS account: images, instance types, instance profiles and buckets of a cluster file."""

import re
import uuid
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from ocr_ray.aws.cluster_file import PLACEHOLDER, ClusterFile, Fault, get_mappings

FIND_IMAGE = "the command next to metadata.ubuntu_image finds one"


def check_account(file: ClusterFile) -> list[Fault]:
    """Return what is missing in the account; writes and deletes a small object in each folder."""
    account = Account(file)
    if account.is_reachable():
        for node_type in file.nodes:
            account.check_image(node_type)
            account.check_instance_type(node_type)
            account.check_profile(node_type)
        for uri in file.uris:
            account.check_bucket(uri)
    return list(dict.fromkeys(account.faults))


class Account:
    """Sends requests to AWS in the region of a cluster file and collects the faults."""

    def __init__(self, file: ClusterFile) -> None:
        self.faults: list[Fault] = []
        self._file = file
        self._clients: dict[str, Any] = {}
        self._answers: dict[tuple[str, ...], Any] = {}

    def is_reachable(self) -> bool:
        """Return whether AWS accepts the credentials; adds a fault if it does not."""
        identity = self._call(
            "AWS",
            "sts",
            "get_caller_identity",
            remedy="`aws configure` or `aws sso login` sets credentials; --skip-aws skips these checks",
        )
        return identity is not None

    def check_image(self, node_type: str) -> None:
        node = self._file.node_config(node_type)
        field = f"available_node_types.{node_type}.node_config.ImageId"
        image_id = str(node.get("ImageId", ""))
        if not image_id or PLACEHOLDER in image_id:
            return
        answer = self._call(field, "ec2", "describe_images", remedy=FIND_IMAGE, ImageIds=[image_id])
        if answer is None:
            return
        if not answer["Images"]:
            self._add(field, f"must be an image of {self._file.region}, {image_id} is not; {FIND_IMAGE}")
            return
        image = answer["Images"][0]
        if image["Architecture"] != "x86_64":
            self._add(
                field, f"must be an image for x86_64, {image_id} is for {image['Architecture']}; {FIND_IMAGE}"
            )
        disks = [disk.get("DeviceName") for disk in get_mappings(node, "BlockDeviceMappings")]
        if disks and image["RootDeviceName"] not in disks:
            self._add(
                f"{field.removesuffix('ImageId')}BlockDeviceMappings",
                f"must name the root disk of {image_id}, {image['RootDeviceName']}, "
                f"got {', '.join(map(str, disks))}",
            )

    def check_instance_type(self, node_type: str) -> None:
        name = str(self._file.node_config(node_type).get("InstanceType", ""))
        field = f"available_node_types.{node_type}.node_config.InstanceType"
        remedy = "`aws ec2 describe-instance-type-offerings` lists those available"
        answer = name and self._call(
            field, "ec2", "describe_instance_types", remedy=remedy, InstanceTypes=[name]
        )
        if not answer:
            return
        architectures = answer["InstanceTypes"][0]["ProcessorInfo"]["SupportedArchitectures"]
        if "x86_64" not in architectures:
            self._add(field, f"must have the architecture x86_64, {name} has {', '.join(architectures)}")
        offers = self._call(
            field,
            "ec2",
            "describe_instance_type_offerings",
            remedy=remedy,
            LocationType="availability-zone",
            Filters=[{"Name": "instance-type", "Values": [name]}],
        )
        zones = {offer["Location"] for offer in offers["InstanceTypeOfferings"]} if offers else set()
        if offers and not zones & set(self._file.zones):
            self._add(
                field,
                f"must be available in a zone of provider.availability_zone, {name} is in "
                f"{', '.join(sorted(zones)) or 'none'} of {self._file.region}",
            )

    def check_profile(self, node_type: str) -> None:
        name = self._file.profile(node_type)
        field = f"available_node_types.{node_type}.node_config.IamInstanceProfile"
        remedy = "deploy/README.md explains how to create it"
        answer = name and self._call(
            field, "iam", "get_instance_profile", remedy=remedy, InstanceProfileName=name
        )
        if answer and not answer["InstanceProfile"]["Roles"]:
            self._add(field, f"must have a role, {name} has none; {remedy}")

    def check_bucket(self, uri: str) -> None:
        """Check that a folder is in the region, and can be listed, written and deleted from."""
        bucket, prefix = urlsplit(uri).netloc, urlsplit(uri).path.strip("/")
        if PLACEHOLDER in uri or not bucket:
            return
        remedy = f"the bucket must exist, and your user needs deploy/buckets.json for {uri}"
        head = self._call(uri, "s3", "head_bucket", remedy=remedy, Bucket=bucket)
        if head is None:
            return
        region = head["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", "")
        if region != self._file.region:
            self._add(
                uri,
                f"must be in provider.region, {self._file.region}, is in {region}: traffic between "
                "regions costs money; change the region and the images, or the bucket",
            )
            return
        key = f"{prefix}/.check-{uuid.uuid4().hex}".lstrip("/")
        self._call(uri, "s3", "list_objects_v2", remedy=remedy, Bucket=bucket, Prefix=prefix, MaxKeys=1)
        if self._call(uri, "s3", "put_object", remedy=remedy, Bucket=bucket, Key=key, Body=b"") is not None:
            self._call(uri, "s3", "delete_object", remedy=remedy, Bucket=bucket, Key=key)

    def _call(self, field: str, service: str, action: str, *, remedy: str, **arguments: Any) -> Any:
        """Return the answer of AWS to a request, sent once; if it refuses, add a fault and return None."""
        request = (service, action, repr(arguments))
        if request not in self._answers:
            try:
                self._answers[request] = getattr(self._client(service), action)(**arguments)
            except (ClientError, BotoCoreError) as error:
                self._answers[request] = error
        answer = self._answers[request]
        if isinstance(answer, Exception):
            message = re.sub(r"\s+", " ", str(answer))
            self._add(
                field, f"AWS must allow {service}:{action.replace('_', '-')}, it answers: {message}; {remedy}"
            )
            return None
        return answer

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            session = boto3.Session(region_name=self._file.region or None)  # fails on an unknown AWS_PROFILE
            self._clients[service] = session.client(service)
        return self._clients[service]

    def _add(self, field: str, message: str) -> None:
        self.faults.append(Fault(field, message))

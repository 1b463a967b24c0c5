"""What a cluster file relies on in the AWS account: images, instance types, profiles, buckets."""

import re
import uuid
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from ocr_ray.aws.cluster_file import PLACEHOLDER, ClusterFile, Fault, mappings

FIND_IMAGE = "the command beside metadata.ubuntu_image finds another"


def check_account(file: ClusterFile) -> list[Fault]:
    """Return what the account lacks; a small object is put below each folder and deleted again."""
    account = Account(file)
    if account.is_reached():
        for node_type in file.nodes:
            account.check_image(node_type)
            account.check_instance_type(node_type)
            account.check_profile(node_type)
        for uri in file.uris:
            account.check_bucket(uri)
    return list(dict.fromkeys(account.faults))


class Account:
    """Asks AWS in the region of a cluster file and gathers what is wrong."""

    def __init__(self, file: ClusterFile) -> None:
        self.faults: list[Fault] = []
        self._file = file
        self._clients: dict[str, Any] = {}
        self._answers: dict[tuple[str, ...], Any] = {}

    def is_reached(self) -> bool:
        """Return whether AWS answers to these credentials; otherwise a single fault says so."""
        identity = self._ask(
            "AWS",
            "sts",
            "get_caller_identity",
            remedy="`aws configure` or `aws sso login` sets credentials; --skip-aws leaves the account out",
        )
        return identity is not None

    def check_image(self, node_type: str) -> None:
        node = self._file.node_config(node_type)
        field, image_id = (
            f"available_node_types.{node_type}.node_config.ImageId",
            str(node.get("ImageId", "")),
        )
        if not image_id or PLACEHOLDER in image_id:
            return
        found = self._ask(field, "ec2", "describe_images", remedy=FIND_IMAGE, ImageIds=[image_id])
        if found is None:
            return
        if not found["Images"]:
            self._add(field, f"must be an image of {self._file.region}, {image_id} is not; {FIND_IMAGE}")
            return
        image = found["Images"][0]
        if image["Architecture"] != "x86_64":
            self._add(
                field, f"must be an image for x86_64, {image_id} is for {image['Architecture']}; {FIND_IMAGE}"
            )
        disks = [disk.get("DeviceName") for disk in mappings(node, "BlockDeviceMappings")]
        if disks and image["RootDeviceName"] not in disks:
            self._add(
                f"{field.removesuffix('ImageId')}BlockDeviceMappings",
                f"must name the root disk of {image_id}, {image['RootDeviceName']}, "
                f"names {', '.join(map(str, disks))}",
            )

    def check_instance_type(self, node_type: str) -> None:
        name = str(self._file.node_config(node_type).get("InstanceType", ""))
        field = f"available_node_types.{node_type}.node_config.InstanceType"
        remedy = "`aws ec2 describe-instance-type-offerings` lists what there is"
        found = name and self._ask(
            field, "ec2", "describe_instance_types", remedy=remedy, InstanceTypes=[name]
        )
        if not found:
            return
        built_for = found["InstanceTypes"][0]["ProcessorInfo"]["SupportedArchitectures"]
        if "x86_64" not in built_for:
            self._add(field, f"must be of x86_64, {name} is of {', '.join(built_for)}")
        offers = self._ask(
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
                f"must be offered in a zone of provider.availability_zone, {name} is in "
                f"{', '.join(sorted(zones)) or 'none'} of {self._file.region}",
            )

    def check_profile(self, node_type: str) -> None:
        name = self._file.profile(node_type)
        field = f"available_node_types.{node_type}.node_config.IamInstanceProfile"
        remedy = "deploy/README.md says how it is made"
        found = name and self._ask(
            field, "iam", "get_instance_profile", remedy=remedy, InstanceProfileName=name
        )
        if found and not found["InstanceProfile"]["Roles"]:
            self._add(field, f"must hold a role, {name} holds none; {remedy}")

    def check_bucket(self, uri: str) -> None:
        """Check that a folder lies in the region, and can be listed, written and cleaned."""
        bucket, prefix = urlsplit(uri).netloc, urlsplit(uri).path.strip("/")
        if PLACEHOLDER in uri or not bucket:
            return
        remedy = f"the bucket must be there, and deploy/buckets.json allowed to you on {uri}"
        head = self._ask(uri, "s3", "head_bucket", remedy=remedy, Bucket=bucket)
        if head is None:
            return
        region = head["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", "")
        if region != self._file.region:
            self._add(
                uri,
                f"must lie in provider.region, {self._file.region}, lies in {region}: traffic between "
                "regions is paid for; change the region and the images, or the bucket",
            )
            return
        key = f"{prefix}/.check-{uuid.uuid4().hex}".lstrip("/")
        self._ask(uri, "s3", "list_objects_v2", remedy=remedy, Bucket=bucket, Prefix=prefix, MaxKeys=1)
        if self._ask(uri, "s3", "put_object", remedy=remedy, Bucket=bucket, Key=key, Body=b"") is not None:
            self._ask(uri, "s3", "delete_object", remedy=remedy, Bucket=bucket, Key=key)

    def _ask(self, field: str, service: str, action: str, *, remedy: str, **arguments: Any) -> Any:
        """Return what AWS answers, each question asked once; None where it refuses, which is a fault."""
        question = (service, action, repr(arguments))
        if question not in self._answers:
            try:
                self._answers[question] = getattr(self._client(service), action)(**arguments)
            except (ClientError, BotoCoreError) as error:
                self._answers[question] = error
        answer = self._answers[question]
        if isinstance(answer, Exception):
            asked, said = f"{service}:{action.replace('_', '-')}", re.sub(r"\s+", " ", str(answer))
            self._add(field, f"AWS must answer {asked}, it said: {said}; {remedy}")
            return None
        return answer

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            session = boto3.Session(region_name=self._file.region or None)  # fails on an unknown AWS_PROFILE
            self._clients[service] = session.client(service)
        return self._clients[service]

    def _add(self, field: str, message: str) -> None:
        self.faults.append(Fault(field, message))

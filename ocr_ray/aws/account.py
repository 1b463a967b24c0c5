"""Checks of the AWS account: images, instance types, instance profiles and buckets of a cluster file."""

import uuid
from urllib.parse import urlsplit

from ocr_ray.aws.cluster_file import PLACEHOLDER, ClusterFile, Fault, get_mappings
from ocr_ray.aws.protection import check_bucket_settings, check_role, check_security_groups, check_subnets
from ocr_ray.aws.requests import Account

FIND_IMAGE = "the command next to metadata.ubuntu_image finds one"


def check_account(file: ClusterFile, *, allow_public_ssh: bool = False) -> list[Fault]:
    """Return what is missing or unprotected in the account; writes and deletes an object in each folder."""
    account = Account(file)
    if account.is_reachable():
        for node_type in file.nodes:
            _check_image(account, node_type)
            _check_instance_type(account, node_type)
            _check_profile(account, node_type)
        check_security_groups(account, allow_public_ssh=allow_public_ssh)
        check_subnets(account)
        for uri in file.uris:
            _check_bucket(account, uri)
    return list(dict.fromkeys(account.faults))


def _check_image(account: Account, node_type: str) -> None:
    node = account.file.node_config(node_type)
    field = f"available_node_types.{node_type}.node_config.ImageId"
    image_id = str(node.get("ImageId", ""))
    if not image_id or PLACEHOLDER in image_id:
        return
    answer = account.call(field, "ec2", "describe_images", remedy=FIND_IMAGE, ImageIds=[image_id])
    if answer is None:
        return
    if not answer["Images"]:
        account.add(field, f"must be an image of {account.file.region}, {image_id} is not; {FIND_IMAGE}")
        return
    image = answer["Images"][0]
    if image["Architecture"] != "x86_64":
        account.add(
            field, f"must be an image for x86_64, {image_id} is for {image['Architecture']}; {FIND_IMAGE}"
        )
    disks = [disk.get("DeviceName") for disk in get_mappings(node, "BlockDeviceMappings")]
    if disks and image["RootDeviceName"] not in disks:
        account.add(
            f"{field.removesuffix('ImageId')}BlockDeviceMappings",
            f"must name the root disk of {image_id}, {image['RootDeviceName']}, "
            f"got {', '.join(map(str, disks))}",
        )


def _check_instance_type(account: Account, node_type: str) -> None:
    name = str(account.file.node_config(node_type).get("InstanceType", ""))
    field = f"available_node_types.{node_type}.node_config.InstanceType"
    remedy = "`aws ec2 describe-instance-type-offerings` lists those available"
    answer = name and account.call(
        field, "ec2", "describe_instance_types", remedy=remedy, InstanceTypes=[name]
    )
    if not answer:
        return
    architectures = answer["InstanceTypes"][0]["ProcessorInfo"]["SupportedArchitectures"]
    if "x86_64" not in architectures:
        account.add(field, f"must have the architecture x86_64, {name} has {', '.join(architectures)}")
    offers = account.call(
        field,
        "ec2",
        "describe_instance_type_offerings",
        remedy=remedy,
        LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": [name]}],
    )
    zones = {offer["Location"] for offer in offers["InstanceTypeOfferings"]} if offers else set()
    if offers and not zones & set(account.file.zones):
        account.add(
            field,
            f"must be available in a zone of provider.availability_zone, {name} is in "
            f"{', '.join(sorted(zones)) or 'none'} of {account.file.region}",
        )


def _check_profile(account: Account, node_type: str) -> None:
    name = account.file.profile(node_type)
    field = f"available_node_types.{node_type}.node_config.IamInstanceProfile"
    remedy = "deploy/README.md explains how to create it"
    answer = name and account.call(
        field, "iam", "get_instance_profile", remedy=remedy, InstanceProfileName=name
    )
    for role in answer["InstanceProfile"]["Roles"] if answer else ():
        check_role(account, role, is_head=node_type == account.file.head)
    if answer and not answer["InstanceProfile"]["Roles"]:
        account.add(field, f"must have a role, {name} has none; {remedy}")


def _check_bucket(account: Account, uri: str) -> None:
    """Check that a folder is in the region, and can be listed, written and deleted from."""
    bucket, prefix = urlsplit(uri).netloc, urlsplit(uri).path.strip("/")
    if PLACEHOLDER in uri or not bucket:
        return
    remedy = f"the bucket must exist, and your user needs deploy/buckets.json and deletion.json for {uri}"
    head = account.call(uri, "s3", "head_bucket", remedy=remedy, Bucket=bucket)
    if head is None:
        return
    region = head["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", "")
    if region != account.file.region:
        account.add(
            uri,
            f"must be in provider.region, {account.file.region}, is in {region}: traffic between "
            "regions costs money; change the region and the images, or the bucket",
        )
        return
    check_bucket_settings(account, bucket)
    folder = f"{prefix}/".lstrip("/")
    key = f"{folder}.check-{uuid.uuid4().hex}"
    account.call(uri, "s3", "list_objects_v2", remedy=remedy, Bucket=bucket, Prefix=folder, MaxKeys=1)
    if account.call(uri, "s3", "put_object", remedy=remedy, Bucket=bucket, Key=key, Body=b"") is not None:
        account.call(uri, "s3", "delete_object", remedy=remedy, Bucket=bucket, Key=key)

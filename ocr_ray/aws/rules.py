"""Rules that a cluster file must follow, checked without Ray and without an AWS account."""

import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from ocr_ray.aws.cluster_file import PLACEHOLDER, ClusterFile, Fault, find_file, get_mapping, get_mappings

JOB_STOP_WAIT_S = 120
"""Time that a stopped training needs to save its state; Ray's default is 3 s."""
SECRETS = {
    "an AWS key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|aws_(?:secret_access_key|session_token)", re.I),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a token": re.compile(
        r"\b(?:hf_\w{20,}|gh[oprsu]_\w{30,}|github_pat_\w{30,}|RAY_AUTH_TOKEN=|"
        r"\w*(?:API_KEY|TOKEN|SECRET|PASSWORD)=['\"]?[\w+-][\w+/.=-]{7,})"
    ),
    "a password": re.compile(r"://[^\s/:@]+:[^\s/@$]+@"),
}
"""Patterns of keys; the matched text is never shown."""
OWN_KEYS = ("~/.aws", "~/.ssh", "~/.netrc", "~/.cache/huggingface/token")
"""The user's own keys, which nodes must not have."""
LEFT_OUT = {
    "LaunchTemplate": "it can set what these checks refuse",
    "SecurityGroups": "these checks do not see groups by name; use SecurityGroupIds",
    "UserData": "every process on a node can read it; use setup_commands",
}


def check_file(file: ClusterFile, *, allow_public_ssh: bool = False) -> list[Fault]:
    """Return all faults of a file; `allow_public_ssh` accepts SSH from any address."""
    return [
        *_find_placeholders(file),
        *_find_secrets(file),
        *_check_provider(file),
        *_check_network(file, allow_public_ssh=allow_public_ssh),
        *_check_head(file),
        *_check_max_workers(file),
        *(fault for name in file.nodes for fault in _check_node(file, name)),
        *_check_environment(file),
        *_check_start(file),
        *_check_mounts(file),
        *_check_copied_keys(file),
    ]


def _find_placeholders(file: ClusterFile) -> Iterator[Fault]:
    seen = set()
    for field, value in _walk(file.config):
        if PLACEHOLDER in value and value not in seen:
            seen.add(value)
            yield Fault(field, f"must be filled in, is still {value}; the comment next to it says how")


def _walk(value: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """Yield the field and text of every string."""
    if isinstance(value, Mapping):
        for name, child in value.items():
            yield from _walk(child, f"{field}.{name}" if field else str(name))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, child in enumerate(value):
            yield from _walk(child, f"{field}[{index}]")
    elif isinstance(value, str):
        yield field, value


def _find_secrets(file: ClusterFile) -> Iterator[Fault]:
    for number, line in enumerate(file.text.splitlines(), start=1):
        for kind, pattern in SECRETS.items():
            if pattern.search(line):
                yield Fault(
                    f"line {number}",
                    f"{kind} must not be in the file; for AWS nodes use their instance profile and you use "
                    "`aws configure`, other keys belong in the environment of a job; replace this one, since "
                    "it was stored in a file",
                )
    if "aws_credentials" in file.section("provider"):
        yield Fault("provider.aws_credentials", "must not be in the file; use `aws configure`")


def has_key(text: str) -> bool:
    """Return whether a text contains what looks like a key, a token or a password."""
    return any(pattern.search(text) for pattern in SECRETS.values())


def _check_provider(file: ClusterFile) -> Iterator[Fault]:
    provider = file.section("provider")
    if provider.get("type") != "aws":
        yield Fault("provider.type", f"must be aws, got {provider.get('type')!r}")
    if not file.region:
        yield Fault("provider.region", "must be the region of the buckets, such as ap-northeast-2")
    wrong = [zone for zone in file.zones if not re.fullmatch(re.escape(file.region) + "[a-z]", zone)]
    if wrong or not file.zones:
        yield Fault(
            "provider.availability_zone",
            f"must be zones of {file.region or 'the region'}, separated by commas, got "
            f"{provider.get('availability_zone')!r}; `aws ec2 describe-availability-zones` lists them",
        )
    if provider.get("cache_stopped_nodes") is not False:
        yield Fault(
            "provider.cache_stopped_nodes",
            f"must be false, got {provider.get('cache_stopped_nodes')!r}: Ray would keep stopped nodes, "
            "whose disks still cost money",
        )
    if not file.config.get("idle_timeout_minutes"):
        yield Fault("idle_timeout_minutes", "must be more than 0, so that idle nodes are terminated; use 5")
    wrong = file.find_wrong_uris()
    if not file.uris and not wrong:
        wrong = ["must be a list of the s3:// folders of data and models"]
    yield from (Fault("metadata.uris", message) for message in wrong)


def _check_network(file: ClusterFile, *, allow_public_ssh: bool) -> Iterator[Fault]:
    group, provider = file.section("provider").get("security_group"), file.section("provider")
    name = get_mapping(provider, "security_group").get("GroupName")
    without = [node_type for node_type in file.nodes if not file.group_ids(node_type)]
    if without and not name and not allow_public_ssh:
        yield Fault(
            "provider.security_group.GroupName",
            f"must name the group that deploy/README.md creates, got {group!r}: for {', '.join(without)} Ray "
            "would create a group that opens SSH to every address; --allow-public-ssh accepts this",
        )
    rules = get_mappings(get_mapping(provider, "security_group"), "IpPermissions")
    if rules and not allow_public_ssh:
        yield Fault(
            "provider.security_group.IpPermissions",
            "must be left out, since Ray opens SSH to every address when it adds rules to a group; "
            "deploy/README.md adds them",
        )
    for rule in rules:
        for source in find_open_sources(rule, allow_public_ssh=allow_public_ssh):
            yield Fault(
                "provider.security_group.IpPermissions",
                f"must let only nodes enter, and SSH from addresses that you name, got {source}",
            )
    if not provider.get("use_internal_ips"):
        yield Fault(
            "provider.use_internal_ips",
            "workers get public addresses, which the security group protects; deploy/README.md says how to "
            "put them into private subnets",
            is_warning=True,
        )
        return
    for node_type in file.nodes:
        field = f"available_node_types.{node_type}.node_config"
        if not file.subnet_ids(node_type):
            yield Fault(
                f"{field}.SubnetIds",
                "must name subnets, since provider.use_internal_ips is set: Ray takes any, public or not",
            )
        interfaces = get_mappings(file.node_config(node_type), "NetworkInterfaces")
        if node_type != file.head and any(one.get("AssociatePublicIpAddress") for one in interfaces):
            yield Fault(
                f"{field}.NetworkInterfaces",
                "must not have AssociatePublicIpAddress, since provider.use_internal_ips is set",
            )


def find_open_sources(rule: Mapping[str, Any], *, allow_public_ssh: bool) -> Iterator[str]:
    """Yield the sources that a rule of a security group must not let in, with its ports.

    Anything may come from the groups of nodes, and only SSH from elsewhere. A range of more than 2^24
    addresses counts as every address, so that two halves of the internet do too.
    """
    protocol, first, last = str(rule.get("IpProtocol")), rule.get("FromPort"), rule.get("ToPort")
    ports = "all ports" if protocol == "-1" else f"ports {first} to {last}"
    is_ssh = (protocol, first, last) == ("tcp", 22, 22)
    for ranges, key in (
        ("IpRanges", "CidrIp"),
        ("Ipv6Ranges", "CidrIpv6"),
        ("PrefixListIds", "PrefixListId"),
    ):
        for source in get_mappings(rule, ranges):
            address = str(source.get(key))
            if not is_ssh:
                yield f"{address} on {ports}"
            elif not allow_public_ssh and key != "PrefixListId" and _is_everywhere(address):
                yield f"SSH from {address}; --allow-public-ssh accepts this"


def _is_everywhere(cidr: str) -> bool:
    try:
        network = ip_network(cidr, strict=False)
    except ValueError:
        return True
    return network.prefixlen < (8 if network.version == 4 else 16)


def _check_head(file: ClusterFile) -> Iterator[Fault]:
    head = file.nodes.get(file.head)
    if head is None:
        yield Fault("head_node_type", f"must be one of available_node_types, got {file.head!r}")
        return
    field = f"available_node_types.{file.head}"
    for kind in ("CPU", "GPU"):
        number = get_mapping(head, "resources").get(kind, 0 if kind == "GPU" else None)
        if number != 0:
            yield Fault(
                f"{field}.resources.{kind}",
                f"must be 0, got {number}: tasks on the head would slow down the drivers and the autoscaler",
            )
    if "InstanceMarketOptions" in file.node_config(file.head):
        yield Fault(
            f"{field}.node_config.InstanceMarketOptions",
            "must be left out: when a spot head is interrupted, the whole cluster is lost",
        )
    if len(file.nodes) < 2:
        yield Fault("available_node_types", "must have a worker type, there is only the head")


def _check_max_workers(file: ClusterFile) -> Iterator[Fault]:
    numbers = [node.get("min_workers", 0) for node in file.nodes.values()]
    min_workers = sum(number for number in numbers if isinstance(number, int))
    max_workers = file.config.get("max_workers", 2)  # Ray's default
    if isinstance(max_workers, int) and max_workers < min_workers:
        yield Fault(
            "max_workers", f"must be at least {min_workers}, the sum of min_workers, got {max_workers}"
        )


def _check_node(file: ClusterFile, name: str) -> Iterator[Fault]:
    field, node = f"available_node_types.{name}.node_config", file.node_config(name)
    if not node.get("InstanceType"):
        yield Fault(f"{field}.InstanceType", "must name an instance type, such as c6i.4xlarge")
    if not node.get("ImageId"):
        yield Fault(f"{field}.ImageId", "must pin an image; Ray's default is Ubuntu 18.04")
    profile = file.profile(name)
    if not profile:
        yield Fault(
            f"{field}.IamInstanceProfile",
            "must have a Name or Arn: without it workers cannot reach the buckets, and Ray gives the head "
            "full access to EC2 and S3",
        )
    elif name != file.head and profile == file.profile(file.head):
        yield Fault(
            f"{field}.IamInstanceProfile",
            f"must differ from the head's, both are {profile}: workers must not start instances",
        )
    tokens = get_mapping(node, "MetadataOptions").get("HttpTokens")
    if tokens != "required":
        yield Fault(
            f"{field}.MetadataOptions.HttpTokens",
            f"must be required, got {tokens!r}: version 1 of the metadata service gives the keys of the role "
            "to whoever makes a program on the node send one request",
        )
    yield from _check_disks(node, f"{field}.BlockDeviceMappings")
    for key, reason in LEFT_OUT.items():
        if key in node:
            yield Fault(f"{field}.{key}", f"must be left out: {reason}")
    tagged = {
        spec.get("ResourceType") for spec in get_mappings(node, "TagSpecifications") if spec.get("Tags")
    }
    if missing := {"instance", "volume"} - tagged:
        yield Fault(
            f"{field}.TagSpecifications",
            f"must tag instances and volumes for billing, has no tags for {' and '.join(sorted(missing))}",
        )


def _check_disks(node: Mapping[str, Any], field: str) -> Iterator[Fault]:
    # Instance stores, which have a VirtualName, are always encrypted.
    disks = get_mappings(node, "BlockDeviceMappings")
    disks = [disk for disk in disks if "Ebs" in disk or not ({"VirtualName", "NoDevice"} & set(disk))]
    if not disks:
        yield Fault(field, "must name the root disk, with Ebs.Encrypted: true")
    for disk in disks:
        encrypted = get_mapping(disk, "Ebs").get("Encrypted")
        if encrypted is not True:
            yield Fault(
                field, f"must have Ebs.Encrypted: true for {disk.get('DeviceName')}, got {encrypted!r}"
            )


def _check_environment(file: ClusterFile) -> Iterator[Fault]:
    for field, value in _walk(file.config):
        if re.search(r"RAY_AUTH_MODE=(?!token\b)", value):
            yield Fault(
                field,
                "must set RAY_AUTH_MODE to nothing but token: another mode lets in everyone",
            )
    for name, default in (
        ("setup_commands", "a nightly Ray"),
        ("head_setup_commands", "pip install of another boto3"),
    ):
        if name not in file.config:
            yield Fault(name, f"must be given, [] for none; Ray's default is {default}")
    shells = {"initialization_commands": file.commands("initialization_commands")} | {
        f"available_node_types.{name}.initialization_commands": list(
            map(str, node["initialization_commands"])
        )
        for name, node in file.nodes.items()
        if isinstance(node.get("initialization_commands"), list)
    }
    for field, commands in shells.items():
        text = " ".join(commands)
        if "RAY_AUTH_MODE=token" not in text:
            yield Fault(
                field, "must export RAY_AUTH_MODE=token; otherwise anyone who reaches a node can run code"
            )
        region = re.search(r"AWS_REGION=([\w-]+)", text)
        if region is None or region[1] != file.region:
            got = region[1] if region else "none"
            yield Fault(
                field, f"must export AWS_REGION={file.region}, got {got}: jobs look for the buckets there"
            )


def _check_start(file: ClusterFile) -> Iterator[Fault]:
    field, head = "head_start_ray_commands", " ".join(file.commands("head_start_ray_commands"))
    if "ray start --head" not in head or "--autoscaling-config=~/ray_bootstrap_config.yaml" not in head:
        yield Fault(
            field,
            "must `ray start --head --autoscaling-config=~/ray_bootstrap_config.yaml`, or no worker starts",
        )
    for host in re.findall(r"--dashboard-host[= ](\S+)", head):
        if host not in ("127.0.0.1", "localhost"):
            yield Fault(field, f"--dashboard-host must be 127.0.0.1, got {host}; `ray dashboard` forwards it")
    waits_s = [int(seconds) for seconds in re.findall(r"RAY_JOB_STOP_WAIT_TIME_S=(\d{1,9})", head)]
    if max(waits_s, default=0) < JOB_STOP_WAIT_S:
        yield Fault(
            field,
            f"must export RAY_JOB_STOP_WAIT_TIME_S={JOB_STOP_WAIT_S} or more, got "
            f"{max(waits_s, default='none')}: a stopped job could not save its state",
        )
    spot = [name for name in file.nodes if "InstanceMarketOptions" in file.node_config(name)]
    if spot and "jobs.watch_spot" not in " ".join(file.commands("worker_start_ray_commands")):
        yield Fault(
            "worker_start_ray_commands",
            f"must start jobs.watch_spot, since {', '.join(spot)} can be interrupted",
        )


def _check_mounts(file: ClusterFile) -> Iterator[Fault]:
    mounts = file.section("file_mounts")
    if not any(str(remote).endswith("/.ray/auth_token") for remote in mounts):
        yield Fault("file_mounts", "must copy ~/.ray/auth_token to /home/USER/.ray/auth_token on the nodes")
    for remote, local in mounts.items():
        path = find_file(local)
        if path is None:
            remedy = (
                "create it with `ray get-auth-token --generate`"
                if str(remote).endswith("auth_token")
                else "run this job and `ray up` in the folder of cluster.yaml"
            )
            yield Fault(f"file_mounts.{remote}", f"must exist on this machine, {local} does not; {remedy}")
        elif str(remote).endswith("auth_token") and path.stat().st_mode & 0o077:
            yield Fault(
                f"file_mounts.{remote}",
                f"must be readable by you only, others can read {local}; run `chmod 600 {local}`: whoever "
                "has the token can do anything on the cluster",
            )


def _check_copied_keys(file: ClusterFile) -> Iterator[Fault]:
    copied = [(f"file_mounts.{remote}", local) for remote, local in file.section("file_mounts").items()]
    copied += [("cluster_synced_files", local) for local in file.commands("cluster_synced_files")]
    keys = {own: path for own in OWN_KEYS if (path := find_file(own))}
    for field, local in copied:
        path = find_file(local)
        for own, key in keys.items():
            if path and (path.is_relative_to(key) or key.is_relative_to(path)):
                yield Fault(
                    field,
                    f"must not copy {own} to nodes, as {local} does: who takes over a node would have your "
                    "keys; nodes use their instance profile",
                )

"""Cluster files with one fault: a replacement in the correct file, and the message it must cause."""

import platform

from builders.cluster_files import TEXT

PYTHON = ".".join(platform.python_version_tuple()[:2])
AUTH_LINE = TEXT.splitlines().index("auth:") + 1
WORKER = "available_node_types.cpu_c6i.node_config"
HEAD = "available_node_types.head"
SSH = "{GroupName: x, IpPermissions: [{IpProtocol: tcp, FromPort: 22, ToPort: 22, RANGES}]}"
WRONG: dict[str, tuple[str, str, str]] = {
    "region of the zones": (
        "region: ap-northeast-2",
        "region: us-east-1",
        "provider.availability_zone: must be zones of us",
    ),
    "region of the nodes": (
        "AWS_REGION=ap-",
        "AWS_REGION=us-",
        "commands: must export AWS_REGION=ap-northeast-2, got us",
    ),
    "no region": ("region: ap-northeast-2", "zone: x", "provider.region: must be the region of the buckets"),
    "stopped nodes": (
        "cache_stopped_nodes: false",
        "cache_stopped_nodes: true",
        "stopped_nodes: must be false, got True",
    ),
    "Ray's default for stopped nodes": (
        "    cache_stopped_nodes: false",
        "    use_internal_ips: false",
        "stopped_nodes: must be false, got None",
    ),
    "another cloud": ("type: aws", "type: local", "provider.type: must be aws, got 'local'"),
    "never idle": (
        "idle_timeout_minutes: 5",
        "idle_timeout_minutes: 0",
        "idle_timeout_minutes: must be more than 0",
    ),
    "tasks on the head": (
        "resources: {CPU: 0}",
        "resources: {CPU: 4}",
        f"{HEAD}.resources.CPU: must be 0, got 4",
    ),
    "unknown CPUs of the head": (
        "resources: {CPU: 0}",
        "resources: {}",
        f"{HEAD}.resources.CPU: must be 0, got None",
    ),
    "GPUs on the head": ("{CPU: 0}", "{CPU: 0, GPU: 1}", f"{HEAD}.resources.GPU: must be 0, got 1"),
    "spot head": (
        "MetadataOptions: &metadata_options",
        "InstanceMarketOptions: {MarketType: spot}\n            MetadataOptions: &metadata_options",
        f"{HEAD}.node_config.InstanceMarketOptions: must be left out",
    ),
    "no head": (
        "head_node_type: head",
        "head_node_type: master",
        "head_node_type: must be one of available_node_types",
    ),
    "workers without a profile": (
        "IamInstanceProfile: {Name: ocr-ray-worker}",
        "Monitoring: {Enabled: false}",
        f"{WORKER}.IamInstanceProfile: must have a Name or Arn",
    ),
    "the head's profile for workers": (
        "{Name: ocr-ray-worker}",
        "{Arn: 'arn:aws:iam::111122223333:instance-profile/ocr-ray-head'}",
        f"{WORKER}.IamInstanceProfile: must differ from the head's, both are ocr-ray-head",
    ),
    "no image": (
        "ImageId: *ubuntu_image\n            IamInstanceProfile: {Name: ocr-ray-w",
        "IamInstanceProfile: {Name: ocr-ray-w",
        f"{WORKER}.ImageId: must pin an image",
    ),
    "no instance type": (
        "InstanceType: c6i.4xlarge",
        "EbsOptimized: true",
        f"{WORKER}.InstanceType: must name an instance type",
    ),
    "user data": (
        "InstanceType: c6i.4xlarge",
        "InstanceType: c6i.4xlarge\n            UserData: x",
        f"{WORKER}.UserData: must be left out",
    ),
    "version 1 of the metadata service": (
        "{HttpTokens: required}",
        "{HttpTokens: optional}",
        f"{WORKER}.MetadataOptions.HttpTokens: must be required, got 'optional'",
    ),
    "the default of the metadata service": (
        "            MetadataOptions: *metadata_options\n",
        "",
        f"{WORKER}.MetadataOptions.HttpTokens: must be required, got None",
    ),
    "unencrypted disks": (
        "VolumeSize: 100, VolumeType: gp3, Encrypted: true",
        "VolumeSize: 100, VolumeType: gp3, Encrypted: false",
        f"{WORKER}.BlockDeviceMappings: must have Ebs.Encrypted: true for /dev/sda1, got False",
    ),
    "disks with the default encryption": (
        ", VolumeType: gp3, Encrypted: true",
        ", VolumeType: gp3",
        f"{HEAD}.node_config.BlockDeviceMappings: must have Ebs.Encrypted: true for /dev/sda1, got None",
    ),
    "a second disk, unencrypted": (
        "&disk\n",
        "&disk\n                - {DeviceName: /dev/sdb, Ebs: {VolumeSize: 9}}\n",
        f"{WORKER}.BlockDeviceMappings: must have Ebs.Encrypted: true for /dev/sdb, got None",
    ),
    "a word for encryption": (
        "VolumeSize: 150, VolumeType: gp3, Encrypted: true",
        'VolumeSize: 150, VolumeType: gp3, Encrypted: "false"',
        "gpu_g5.node_config.BlockDeviceMappings: must have Ebs.Encrypted: true for /dev/sda1, got 'false'",
    ),
    "the disks of the image": (
        "            BlockDeviceMappings: *disk\n",
        "",
        f"{WORKER}.BlockDeviceMappings: must name the root disk, with Ebs.Encrypted: true",
    ),
    "an instance store only": (
        "{DeviceName: /dev/sda1, Ebs: {VolumeSize: 100, VolumeType: gp3, Encrypted: true}}",
        "{DeviceName: /dev/sdb, VirtualName: ephemeral0}",
        f"{WORKER}.BlockDeviceMappings: must name the root disk, with Ebs.Encrypted: true",
    ),
    "a launch template": (
        "InstanceType: c6i.4xlarge",
        "InstanceType: c6i.4xlarge\n            LaunchTemplate: {LaunchTemplateName: x}",
        f"{WORKER}.LaunchTemplate: must be left out: it can set what these checks refuse",
    ),
    "groups by name": (
        "InstanceType: c6i.4xlarge",
        "InstanceType: c6i.4xlarge\n            SecurityGroups: [open]",
        f"{WORKER}.SecurityGroups: must be left out: these checks do not see groups by name",
    ),
    "Ray's security group": (
        "    security_group: {GroupName: ocr-ray}",
        "    # none",
        "GroupName: must name the group that deploy/README.md creates, got None: for head, cpu",
    ),
    "SSH from everywhere": (
        "{GroupName: ocr-ray}",
        SSH.replace("RANGES", "IpRanges: [{CidrIp: 0.0.0.0/0}]"),
        "IpPermissions: must let only nodes enter, and SSH from addresses that you name, got SSH from 0.0",
    ),
    "SSH from everywhere over IPv6": (
        "{GroupName: ocr-ray}",
        SSH.replace("RANGES", 'Ipv6Ranges: [{CidrIpv6: "::/0"}]'),
        "and SSH from addresses that you name, got SSH from ::/0; --allow-public-ssh accepts this",
    ),
    "rules that Ray adds to": (
        "{GroupName: ocr-ray}",
        SSH.replace("RANGES", "IpRanges: [{CidrIp: 10.0.0.0/8}]"),
        "IpPermissions: must be left out, since Ray opens SSH to every address when it adds rules to a group",
    ),
    "private workers in any subnet": (
        "{GroupName: ocr-ray}",
        "{GroupName: ocr-ray}\n    use_internal_ips: true",
        f"{WORKER}.SubnetIds: must name subnets, since provider.use_internal_ips is set",
    ),
    "disks untagged": (
        "ResourceType: volume",
        "ResourceType: network-interface",
        "TagSpecifications: must tag instances and volumes for billing, has no tags for volume",
    ),
    "Ray's default set-up": (
        "\nsetup_commands:",
        "\nworker_setup_commands:",
        "setup_commands: must be given, [] for none; Ray's default is a nightly",
    ),
    "Ray's default boto3": ("head_setup_commands: []", "", "head_setup_commands: must be given"),
    "no token": (
        "RAY_AUTH_MODE=token",
        "RAY_AUTH_MODE=disabled",
        "initialization_commands: must export RAY_AUTH_MODE=token",
    ),
    "a token for some": (
        "ulimit -n 65536; ray start --address",
        "RAY_AUTH_MODE=disabled ray start --address",
        "worker_start_ray_commands[1]: must set RAY_AUTH_MODE to nothing but token",
    ),
    "a type without a token": (
        "    cpu_c7i:\n",
        "    cpu_c7i:\n        initialization_commands: [export AWS_REGION=ap-northeast-2]\n",
        "cpu_c7i.initialization_commands: must export RAY_AUTH_MODE=token",
    ),
    "no token file": ("/.ray/auth_token:", "/.ray/token:", "file_mounts: must copy ~/.ray/auth_token"),
    "a file of no user": (
        "ocr_ray/setup.sh: setup.sh",
        "ocr_ray/setup.sh: ~nobody-here/setup.sh",
        "must exist on this machine, ~nobody-here/setup.sh does not",
    ),
    "a file of no system": (
        "ocr_ray/setup.sh: setup.sh",
        'ocr_ray/setup.sh: "a\\0b"',
        "setup.sh: must exist on this machine",
    ),
    "a name that is too long": (
        "ocr_ray/setup.sh: setup.sh",
        f"ocr_ray/setup.sh: {'a' * 5000}",
        "setup.sh: must exist on this machine",
    ),
    "a missing file": (
        "ocr_ray/setup.sh: setup.sh",
        "ocr_ray/setup.sh: set_up.sh",
        "set_up.sh does not; run this job and `ray up` in the folder",
    ),
    "public dashboard": (
        "--dashboard-host=127.0.0.1",
        "--dashboard-host=0.0.0.0",
        "--dashboard-host must be 127.0.0.1, got 0.0.0.0",
    ),
    "no autoscaler": (
        "--autoscaling-config=~/ray_bootstrap_config.yaml",
        "--block",
        "head_start_ray_commands: must `ray start --head --autoscaling-config",
    ),
    "short stop time": (
        "STOP_WAIT_TIME_S=120",
        "STOP_WAIT_TIME_S=3",
        "must export RAY_JOB_STOP_WAIT_TIME_S=120 or more, got 3",
    ),
    "no watcher": (
        "jobs.watch_spot",
        "http.server",
        "worker_start_ray_commands: must start jobs.watch_spot, since cpu_c6i, cpu_c7i",
    ),
    "another Python": (
        "PYTHON_VERSION=3",
        "PYTHON_VERSION=2",
        f"setup_commands: must set PYTHON_VERSION={PYTHON}, the Python of this environment, got 2.",
    ),
    "another Ray": (
        "PYTHON_VERSION",
        "pip install 'ray[default]==2.59.1'; PYTHON_VERSION",
        "setup_commands: must install ray==2.60.0, as installed here, got 2.59.1",
    ),
    "an unknown package": (
        "PYTHON_VERSION",
        "pip install none.such==1.0; PYTHON_VERSION",
        "must only install packages that are installed here, none.such is not",
    ),
    "untested versions": (
        "    /home/ubuntu/ocr_ray/constraints.txt: constraints.txt\n",
        "",
        "file_mounts: must copy constraints.txt to the nodes",
    ),
    "an untested torch": (
        "    /home/ubuntu/ocr_ray/torch.txt: torch.txt\n",
        "",
        "file_mounts: must copy torch.txt to the nodes",
    ),
    "no data folder": (
        "        - s3://my-data/ocr",
        "        - /data",
        "metadata.uris: must be s3:// folders, got '/data'",
    ),
    "one folder, not a list": (
        "    uris: #",
        "    uris: s3://my-data/ocr\n    folders: #",
        "metadata.uris: must be a list of the s3:// folders",
    ),
    "a folder with a key": (
        "s3://my-data/ocr",
        "s3://AKIAIOSFODNN7EXAMPLE:hunter22@my-data/ocr",
        "metadata.uris: must not contain keys, tokens or passwords",
    ),
    "a folder with options": (
        "my-data/ocr",
        "my-data/ocr?secret_key=hunter22",
        "uris: must not contain keys",
    ),
    "a folder elsewhere": ("s3://my-data/ocr", "s3://my-data/../ocr", "metadata.uris: an s3:// URI must be"),
    "a folder without access": (
        "s3://my-models/ocr",
        "s3://my-models/other",
        "buckets.json: must allow arn:aws:s3:::my-models/other/*",
    ),
    "policies of another cluster": (
        "cluster_name: ocr-ray",
        "cluster_name: mine",
        "head.json: StartNodes must be for cluster_name, 'mine', by aws:RequestTag/ray-cluster-name; it is",
    ),
    "an AWS key": (
        "auth:",
        "# AKIAIOSFODNN7EXAMPLE\nauth:",
        f"line {AUTH_LINE}: an AWS key must not be in the file",
    ),
    "a secret": (
        "auth:",
        "# aws_secret_access_key: x\nauth:",
        f"line {AUTH_LINE}: an AWS key must not be in the file",
    ),
    "a private key": (
        "auth:",
        "# -----BEGIN RSA PRIVATE KEY-----\nauth:",
        f"line {AUTH_LINE}: a private key must not",
    ),
    "a hub token": (
        "ulimit -n 65536; ray start --address",
        "export HF_TOKEN=hf_" + "a" * 34 + "; ray start --address",
        "a token must not be in the file",
    ),
    "a key of another service": (
        "ulimit -n 65536; ray start --address",
        "export WANDB_API_KEY=hunter22hunter22; ray start --address",
        "a token must not be in the file",
    ),
    "a password in an address": (
        "ulimit -n 65536; ray start --address",
        "pip install --index-url https://me:hunter22@pypi.corp/simple x; ray start --address",
        "a password must not be in the file",
    ),
    "a key in a value that Ray refuses": (
        "head_setup_commands: []",
        "head_setup_commands: export AWS_SECRET_ACCESS_KEY=hunter22",
        "head_setup_commands: Ray refuses it: it has another type",
    ),
    "keys on the nodes": (
        "ocr_ray/setup.sh: setup.sh",
        "ocr_ray/setup.sh: ~/.aws/config",
        "setup.sh: must not copy ~/.aws to nodes, as ~/.aws/config does",
    ),
    "the home folder on the nodes": (
        "ocr_ray/setup.sh: setup.sh",
        'ocr_ray/setup.sh: "~"',
        "setup.sh: must not copy ~/.aws to nodes, as ~ does",
    ),
    "keys synced": (
        "rsync_exclude: [__pycache__]",
        "cluster_synced_files: [~/.aws]",
        "cluster_synced_files: must not copy ~/.aws to nodes",
    ),
    "credentials for Ray": (
        "cache_stopped_nodes",
        "aws_credentials: {}\n    cache_stopped_nodes",
        "provider.aws_credentials: must not be in the file",
    ),
    "a field that Ray does not know": (
        "max_workers: 28",
        "max_workers: 28\nautoscaling_mode: x",
        "Ray refuses it",
    ),
    "fewer workers in all than each type starts": (
        "max_workers: 28",
        "max_workers: -1",
        "max_workers: must be at least 0, the sum of min_workers, got -1",
    ),
    "a shape that Ray does not know": (
        "rsync_exclude: [__pycache__]",
        "rsync_exclude: __pycache__",
        "rsync_exclude: Ray refuses it: '__pycache__' is not of type 'array'",
    ),
}
"""By fault: text before, text after, part of the message."""

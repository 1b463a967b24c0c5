"""`ray up` with the cluster file of the repository, filled in, against moto's EC2 and a fake machine."""

import base64
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from builders.cluster_files import (
    IMAGE,
    REGION,
    ROOT,
    fill,
    make_group,
    make_home,
    make_profiles,
    read_policy,
)
from fakes.iam import is_allowed, read_ec2_request
from fakes.node import FakeNode, add_tools, make_node
from moto.moto_api import recorder
from ray.autoscaler._private.command_runner import _with_interactive
from ray.autoscaler._private.commands import _bootstrap_config
from ray.autoscaler._private.providers import _get_node_provider
from ray.autoscaler._private.util import with_envs

pytestmark = pytest.mark.slow
CONFIG = yaml.safe_load(fill())
WORKERS = {
    "cpu_c6i": "c6i.4xlarge",
    "cpu_c7i": "c7i.4xlarge",
    "cpu_m6i": "m6i.4xlarge",
    "cpu_m7i": "m7i.4xlarge",
}
WORKERS |= {"gpu_g5": "g5.2xlarge"}


@pytest.fixture
def node(s3_environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNode]:
    """A machine that every `ssh` reaches; terminates all instances at the end."""
    node = make_node(tmp_path)
    make_profiles()
    make_group()
    make_home(tmp_path / "home", monkeypatch)
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PATH", f"{node.stubs}:{os.environ['PATH']}")
    monkeypatch.setenv("NODE", str(node.home))
    monkeypatch.setenv("AUTOSCALER_NODE_START_WAIT_S", "5")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    yield node
    ec2 = boto3.client("ec2", region_name=REGION)
    if ids := [instance["InstanceId"] for instance in find_instances()]:
        ec2.terminate_instances(InstanceIds=ids)


def find_instances() -> list[dict[str, Any]]:
    ec2 = boto3.client("ec2", region_name=REGION)
    alive = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    reservations = ec2.describe_instances(Filters=alive)["Reservations"]
    return [instance for reservation in reservations for instance in reservation["Instances"]]


def read_tags(instance: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in instance["Tags"]}


@pytest.fixture
def requested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """A function that returns the bodies of the requests to moto's EC2 so far."""
    path = tmp_path / "recorded"
    monkeypatch.setattr(recorder, "_location", str(path))
    recorder.start_recording()

    def read() -> list[str]:
        bodies = [
            base64.b64decode(json.loads(line)["body"]).decode() for line in path.read_text().splitlines()
        ]
        return [body for body in bodies if "Version=2016-11-15" in body]  # that of EC2

    yield read
    recorder.stop_recording()


def check_machine(instance: dict[str, Any], *, profile: str) -> None:
    """Check the properties that head and workers share."""
    assert instance["ImageId"] == IMAGE
    assert instance["IamInstanceProfile"]["Arn"].endswith(f":instance-profile/{profile}")
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert read_tags(instance).items() >= {"project": "ocr-ray", "ray-cluster-name": "ocr-ray"}.items()
    ec2 = boto3.client("ec2", region_name=REGION)
    data = ec2.describe_instance_attribute(InstanceId=instance["InstanceId"], Attribute="userData")
    assert "Value" not in data["UserData"]
    disks = [disk["Ebs"]["VolumeId"] for disk in instance["BlockDeviceMappings"]]
    for volume in ec2.describe_volumes(VolumeIds=disks)["Volumes"]:
        assert volume["Encrypted"]
        assert {tag["Key"]: tag["Value"] for tag in volume["Tags"]} == {"project": "ocr-ray"}


@pytest.mark.soak
def test_ray_up_starts_the_head_on_demand_and_sets_it_up(node: FakeNode, requested, tmp_path) -> None:
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text(fill())
    ray = Path(sys.executable).parent / "ray"
    up = subprocess.run(
        [ray, "up", "-y", "--no-config-cache", cluster], capture_output=True, text=True, check=False
    )
    assert up.returncode == 0, up.stdout + up.stderr
    decided = decide(requested(), read_policy("launcher"))
    assert {"ec2:RunInstances", "ec2:CreateKeyPair", "ec2:DescribeInstanceTypes"} <= {
        one[0] for one in decided
    }
    assert [one for one in decided if not one[-1]] == []

    (head,) = find_instances()
    assert head["InstanceType"] == "m6i.xlarge"
    assert "InstanceLifecycle" not in head
    check_machine(head, profile="ocr-ray-head")
    assert read_tags(head).items() >= {"ray-user-node-type": "head", "ray-node-status": "up-to-date"}.items()

    version = CONFIG["setup_commands"][0].split()[0].removeprefix("PYTHON_VERSION=")
    assert node.environment("set_up_node.sh")["PYTHON_VERSION"] == version
    assert [call.split(" --")[0].strip() for call in node.calls] == [
        "set_up_node.sh",
        "ray stop",
        "ray start",
    ]
    assert {"--head", "--dashboard-host=127.0.0.1"} <= set(node.calls[-1].split())
    shell = {"RAY_AUTH_MODE": "token", "AWS_REGION": REGION, "RAY_JOB_STOP_WAIT_TIME_S": "120"}
    ray_shell = {"RAY_OVERRIDE_RESOURCES": '{"CPU":0}', "RAY_enable_autoscaler_v2": "1"}
    assert node.environment("ray").items() >= (shell | ray_shell).items()
    token = Path("~/.ray/auth_token").expanduser().read_text()
    assert node.home.joinpath(".ray/auth_token").read_text() == token
    assert node.home.joinpath("ocr_ray/constraints.txt").read_text() == Path("constraints.txt").read_text()
    assert node.home.joinpath("ocr_ray/jobs/watch_spot.py").exists()
    for_head = json.loads(node.home.joinpath("ray_bootstrap_config.yaml").read_text())
    resources = {name: node["resources"] for name, node in for_head["available_node_types"].items()}
    assert {name: node_resources["CPU"] for name, node_resources in resources.items()} == {
        "head": 0,
        **dict.fromkeys(WORKERS, 16),
        "gpu_g5": 8,
    }
    assert resources["gpu_g5"]["GPU"] == 1


def decide(bodies: list[str], policy: list[dict]) -> list[tuple]:
    """Return what IAM checks for requests to EC2, and whether a policy allows it."""
    ec2 = boto3.client("ec2", region_name=REGION)
    tags = {f"{tag['ResourceId']} {tag['Key']}": tag["Value"] for tag in ec2.describe_tags()["Tags"]}
    roles = {profile: profile for profile in ("ocr-ray-head", "ocr-ray-worker")}
    checked = [one for body in bodies for one in read_ec2_request(body, REGION, tags, roles)]
    return [(*one, is_allowed(policy, *one)) for one in checked]


def test_every_worker_type_is_spot_and_has_the_workers_profile(node: FakeNode, requested) -> None:
    config = _bootstrap_config(CONFIG, no_config_cache=True)
    provider = _get_node_provider(config["provider"], config["cluster_name"])
    before = len(requested())
    for name in WORKERS:
        tags = {"ray-node-type": "worker", "ray-user-node-type": name}
        provider.create_node(config["available_node_types"][name]["node_config"], tags, 1)
    sent = requested()[before:]
    by_type = {read_tags(instance)["ray-user-node-type"]: instance for instance in find_instances()}
    assert {name: instance["InstanceType"] for name, instance in by_type.items()} == WORKERS
    for instance in by_type.values():
        assert instance["InstanceLifecycle"] == "spot"
        check_machine(instance, profile="ocr-ray-worker")
    before = len(requested())
    provider.non_terminated_nodes({})
    provider.set_node_tags(by_type["gpu_g5"]["InstanceId"], {"ray-node-status": "up-to-date"})
    provider.terminate_nodes(provider.non_terminated_nodes({}))
    sent += requested()[before:]
    assert find_instances() == []
    # The head sends these requests, with the permissions of head.json.
    decided = decide(sent, read_policy("head"))
    actions = {"ec2:RunInstances", "ec2:CreateTags", "ec2:TerminateInstances", "iam:PassRole"}
    assert actions <= {one[0] for one in decided}
    assert [one for one in decided if not one[-1]] == []
    # The same requests of another cluster's head node, or with the workers' own role, start and end nothing.
    theirs = json.loads(json.dumps(read_policy("head")).replace('"ocr-ray"', '"theirs"'))
    for policy in (theirs, read_policy("buckets")):
        refused = {
            (one[0], one[1].split(":")[-1].split("/")[0])
            for one in decide(requested(), policy)
            if not one[-1]
        }
        assert {("ec2:RunInstances", "instance"), ("ec2:TerminateInstances", "instance")} <= refused


@pytest.mark.parametrize("has_gpu", [False, True])
def test_set_up_installs_the_tested_python_and_the_right_build_of_torch(
    has_gpu: bool, tmp_path: Path
) -> None:
    node = make_node(tmp_path)
    tools = add_tools(node, has_gpu=has_gpu)
    folder = node.home / "ocr_ray"
    folder.joinpath("deploy").mkdir()
    shutil.copy("deploy/set_up_node.sh", folder / "deploy")
    shutil.copy("constraints.txt", folder)
    shutil.copy(node.home / ".venv/note", folder / "setup.sh")
    environment = {"HOME": str(node.home), "PATH": f"{tools}:/usr/bin:/bin", "PYTHON_VERSION": "3.11"}
    unset = subprocess.run(
        ["bash", folder / "deploy/set_up_node.sh"],
        env=environment | {"PYTHON_VERSION": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "PYTHON_VERSION: must be set to the version of Python to install" in unset.stderr
    assert node.calls == []
    for _ in range(2):  # nodes are set up again when the file changes
        subprocess.run(["bash", folder / "deploy/set_up_node.sh"], env=environment, check=True, timeout=60)
    calls = [call for call in node.calls if not call.startswith(("sudo", "cloud-init"))]
    repeated = [
        "uv python install --quiet 3.11",
        "uv python find --managed-python 3.11",
        "setup.sh ",
    ]
    first = [
        f"python3 -m venv {node.home}/uv",
        f"pip install --quiet --require-hashes --requirement {node.home}/uv/uv.txt",
    ]
    assert calls == [*first, *repeated, *repeated]
    pinned = node.home.joinpath("uv/uv.txt").read_text()
    assert re.fullmatch(r"uv==\S+ \\\n(    --hash=sha256:\w{64}( \\)?\n)+", pinned)
    assert "sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv" in node.calls
    setup = node.environment("setup.sh")
    assert setup["PYTHON"] == "/opt/python"
    assert setup.get("TORCH_BACKEND") == (None if has_gpu else "cpu")


def test_a_worker_joins_with_the_token_and_watches_for_its_interruption(node: FakeNode) -> None:
    commands = [*CONFIG["initialization_commands"], *CONFIG["worker_start_ray_commands"]]
    for command in with_envs(commands * 2, {"RAY_HEAD_IP": "10.0.0.7"}):  # a node can be set up twice
        ssh = [node.stubs / "ssh", "-tt", "-o", "ConnectTimeout=10s", "ubuntu@54.0.0.1"]
        subprocess.run([*ssh, *_with_interactive(command)], check=True, timeout=20)
    watch = "python -m jobs.watch_spot --gcs-address 10.0.0.7:6379"
    deadline_s = time.monotonic() + 20
    while node.calls.count(watch) < 2 and time.monotonic() < deadline_s:
        time.sleep(0.05)
    start = "ray start --address=10.0.0.7:6379 --object-manager-port=8076"
    assert sorted(node.calls) == sorted(["ray stop", start, watch] * 2)
    for program in ("ray", "python"):
        environment = node.environment(program)
        assert environment["RAY_AUTH_MODE"] == "token"
        assert environment["AWS_REGION"] == REGION
    assert node.home.joinpath(".bashrc").read_text().count("RAY_AUTH_MODE") == 1
    assert shlex.split(node.environment("ray")["PATH"].split(":")[0]) == [f"{node.home}/ocr_ray/.venv/bin"]

"""`check_cluster` on the cluster file of the repository and on files with faults."""

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from builders.cluster_files import ROOT, TEXT, fill, make_home, write_policies
from builders.wrong_cluster_files import WRONG

from ocr_ray.aws.config import CheckConfig
from ocr_ray.aws.job import check_cluster
from ocr_ray.errors import InputError


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CheckConfig:
    """The cluster file filled in, with a token in the home folder; the account is not checked."""
    monkeypatch.chdir(ROOT)
    make_home(tmp_path / "home", monkeypatch)
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text(fill())
    return CheckConfig(cluster=cluster, policies=write_policies(tmp_path / "policies"), skip_aws=True)


def test_the_file_of_the_repository_has_no_faults_once_filled_in(config: CheckConfig) -> None:
    summary = check_cluster(config)
    assert summary["uris"] == ["s3://my-data/ocr", "s3://my-models/ocr"]
    assert summary["max_workers"] == {"cpu_c6i": 6, "cpu_c7i": 6, "cpu_m6i": 6, "cpu_m7i": 6, "gpu_g5": 4}
    assert not summary["account_checked"]
    (warning,) = summary["warnings"]
    assert warning.startswith(
        "provider.use_internal_ips: workers get public addresses, which the security group"
    )


def test_unfilled_every_placeholder_is_reported_and_nothing_else(config: CheckConfig, tmp_path: Path) -> None:
    config.cluster.write_text(TEXT)
    with pytest.raises(InputError) as caught:
        check_cluster(CheckConfig(cluster=config.cluster, skip_aws=True))
    faults = [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]]
    assert faults == [
        "metadata.uris[0]",
        "metadata.uris[1]",
        "metadata.ubuntu_image",
        "metadata.gpu_image",
        "deploy/buckets.json",
        "deploy/deletion.json",
        "deploy/launcher.json",
    ]


@pytest.mark.parametrize("case", WRONG)
def test_a_fault_is_reported_with_its_field_and_remedy(case: str, config: CheckConfig) -> None:
    before, after, message = WRONG[case]
    text = fill()
    assert before in text
    config.cluster.write_text(text.replace(before, after))
    with pytest.raises(InputError) as caught:
        check_cluster(config)
    assert message in str(caught.value)
    for secret in ("hf_a", "AKIA", "hunter22"):
        assert secret not in str(caught.value)


def test_all_faults_are_reported_together(config: CheckConfig) -> None:
    text = fill()
    picked = [
        "no token",
        "public dashboard",
        "tasks on the head",
        "another Python",
        "workers without a profile",
    ]
    for case in picked:
        text = text.replace(*WRONG[case][:2])
    config.cluster.write_text(text.replace("rsync_exclude: [__pycache__]", "rsync_exclude: 7"))
    with pytest.raises(InputError) as caught:
        check_cluster(config)
    for case in picked:
        assert WRONG[case][2] in str(caught.value)
    assert "rsync_exclude: Ray refuses it" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"must be a YAML mapping with provider, .* cluster.yaml, \S+ is empty"),
        ("- a", r"must be a YAML mapping with provider, .* cluster.yaml, \S+ holds a list"),
        ("max_workers: 3\nprovider: [", r"must be YAML, line 2, column 12 of \S+: expected the node content"),
        ("max_workers: 3\nauth: {a: b", r"must be YAML, line 2, column 12 of \S+: expected ',' or '}'"),
        (
            "max_workers: 3\nmax_workers: 4",
            "line 2, column 1 of .*: max_workers is given twice, first in line 1",
        ),
        ("a: b\n\tc: d", r"must be YAML, line 2, column 1 of \S+: found character"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor for the tag"),
        ("a: *nobody", r"line 1, column 4 of \S+: found undefined alias"),
        ("a: &a [*a]", r"line 1, column 8 of \S+: \*a is inside &a"),
        ("a: 2026-13-45", "has a value that is none: month must be in"),
        ("a\x00b", "must be text, line 1 of .* has a control character"),
        ("a: " + "[" * 20_000, "must not be nested so deeply"),
        (
            "a: &a [1]\n" + "".join(f"{b}: &{b} [{f'*{a},' * 9}]\n" for a, b in pairwise("abcdefghijkl")),
            "must have at most 100000 values, aliases included, ",
        ),
        ("{}", "to fix"),
        ("provider: 7\navailable_node_types: [1]\nfile_mounts: x", "to fix"),
        ("available_node_types: {head: null}\nprovider: {security_group: [], region: {}}", "to fix"),
    ],
)
def test_a_file_of_any_shape_is_refused_with_a_message(text: str, message: str, config: CheckConfig) -> None:
    config.cluster.write_text(text)
    with pytest.raises(InputError, match=message):
        check_cluster(config)


def test_a_file_that_cannot_be_read_is_refused_with_the_reason(config: CheckConfig, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=rf"--cluster must be a cluster file, {tmp_path} cannot be read: Is a dir"
    ):
        check_cluster(replace(config, cluster=tmp_path))
    config.cluster.write_bytes("cluster_name: 한글".encode("euc-kr"))
    with pytest.raises(InputError, match=r"--cluster must be UTF-8, byte 14 of .* is not; save it as UTF-8"):
        check_cluster(config)


def test_public_ssh_and_a_group_of_ray_are_accepted_when_asked_for(config: CheckConfig) -> None:
    _, everywhere, _ = WRONG["SSH from everywhere"]
    for group in ("    # none", f"    security_group: {everywhere}"):
        text = fill().replace("    security_group: {GroupName: ocr-ray}", group)
        config.cluster.write_text(text)
        assert check_cluster(replace(config, allow_public_ssh=True))["region"] == "ap-northeast-2"
    config.cluster.write_text(text.replace("FromPort: 22", "FromPort: 1"))
    with pytest.raises(InputError, match=r"got 0\.0\.0\.0/0 on ports 1 to 22"):
        check_cluster(replace(config, allow_public_ssh=True))


def test_private_workers_are_no_warning(config: CheckConfig) -> None:
    text = config.cluster.read_text()
    text = text.replace("{GroupName: ocr-ray}", "{GroupName: ocr-ray}\n    use_internal_ips: true")
    text = text.replace(
        "InstanceType: m6i.xlarge", "InstanceType: m6i.xlarge\n            SubnetIds: [subnet-1]"
    )
    text = text.replace(
        "InstanceType: c6i.4xlarge", "InstanceType: c6i.4xlarge\n            SubnetIds: [subnet-2]"
    )
    config.cluster.write_text(text)
    assert check_cluster(config)["warnings"] == []
    public = "NetworkInterfaces: [{SubnetId: subnet-2, AssociatePublicIpAddress: true}]"
    config.cluster.write_text(text.replace("SubnetIds: [subnet-2]", public))
    with pytest.raises(InputError, match=r"cpu_c6i\.node_config\.NetworkInterfaces: must not have Associate"):
        check_cluster(config)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o777, 0o620])
def test_a_token_that_others_can_read_or_replace_is_refused(mode: int, config: CheckConfig) -> None:
    Path("~/.ray/auth_token").expanduser().chmod(mode)
    with pytest.raises(
        InputError, match=r"auth_token: must be readable by you only.* `chmod 600 ~/\.ray/auth_token`"
    ):
        check_cluster(config)


def test_a_missing_token_is_reported_with_the_command_that_creates_it(config: CheckConfig) -> None:
    Path("~/.ray/auth_token").expanduser().unlink()
    with pytest.raises(InputError, match=r"~/\.ray/auth_token does not; create it with `ray get-auth-token"):
        check_cluster(config)


@pytest.mark.parametrize(
    ("pins", "torch", "message"),
    [
        ("ray==2.60.0\nnumpy==1.0 ; os_name < 'x'\nnumpy==1.1", "torch==2.13.0", "numpy 1.0 or 1.1, here "),
        ("ray==2.59.0 \\\n    --hash=sha256:0", "torch==2.13.0", "ray 2.59.0, here 2.60.0; run `make setup`"),
        ("numpy==1.0\npillow==1.0\npyarrow==1.0\nboto3==1\nray==1\nuv==0", "torch==2", "and 1 more; run"),
        ("numpy==1.0", "torch==2.13.0", "constraints.txt: must pin ray with =="),
        ("ray==2.60.0", "torch==1.0", "torch.txt: must pin the installed versions, pins torch 1.0, here"),
        ("ray==2.60.0", "torch", "torch.txt: must pin torch with =="),
    ],
)
def test_constraints_other_than_the_installed_versions_are_refused(
    pins: str, torch: str, message: str, config: CheckConfig, tmp_path: Path
) -> None:
    constraints = tmp_path / "constraints.txt"
    constraints.write_text(pins)
    tmp_path.joinpath("torch.txt").write_text(torch)
    text = fill().replace("constraints.txt: constraints.txt", f"constraints.txt: {constraints}")
    config.cluster.write_text(text)
    with pytest.raises(InputError) as caught:
        check_cluster(replace(config, constraints=constraints))
    assert message in str(caught.value)


@pytest.mark.parametrize("missing", ["constraints", "policies", "cluster"])
def test_a_missing_file_is_reported_with_its_flag(missing: str, config: CheckConfig, tmp_path: Path) -> None:
    paths = {"cluster": config.cluster, "policies": config.policies, "constraints": Path("constraints.txt")}
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match=f"--{missing} must .*{path}"):
            check_cluster(CheckConfig(**paths | {missing: path}, skip_aws=True))


def test_constraints_that_are_no_text_are_refused(config: CheckConfig, tmp_path: Path) -> None:
    path = tmp_path / "constraints.txt"
    path.write_bytes(b"ray==2.60.0\n\xff")
    with pytest.raises(InputError, match=f"--constraints must be the file .*{path} cannot be read: 'utf-8'"):
        check_cluster(replace(config, constraints=path))


def test_the_job_prints_its_faults_and_exits_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jobs.check_cluster", "--skip-aws"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "metadata.gpu_image: must be filled in, is still ami-CHANGE-ME-gpu" in result.stderr
    assert "Traceback" not in result.stderr

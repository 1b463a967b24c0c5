"""The container image and the RayJobs of deploy/kuberay."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import tyro
import yaml
from jsonschema import Draft202012Validator

from ocr_ray.cli.commands import JOBS, load

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SCHEMA = json.loads((ROOT / "tests/builders/rayjob_schema.json").read_text(encoding="utf-8"))
RAY_JOBS = {
    job["metadata"]["labels"]["job"]: job
    for job in yaml.safe_load((ROOT / "deploy/kuberay/rayjobs.yaml").read_text(encoding="utf-8"))["items"]
}
ACCOUNTS = list(
    yaml.safe_load_all((ROOT / "deploy/kuberay/service_accounts.yaml").read_text(encoding="utf-8"))
)


def instructions(name: str) -> list[str]:
    """Return the arguments of each instruction of the Dockerfile that has this name."""
    joined = re.sub(r"\\\n", " ", DOCKERFILE)
    return re.findall(rf"^{name} (.*)$", joined, re.MULTILINE)


def refuse_unknown_fields(schema: Any) -> Any:
    """Return a schema that refuses fields that it does not list, as `kubectl apply` does."""
    if isinstance(schema, list):
        return [refuse_unknown_fields(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {name: refuse_unknown_fields(each) for name, each in schema.items()}
    is_closed = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    return {"additionalProperties": False, **strict} if is_closed else strict


def validate(job: Any) -> list[str]:
    errors = Draft202012Validator(refuse_unknown_fields(SCHEMA)).iter_errors(job)
    return [f"{error.json_path}: {error.message[:200]}" for error in errors]


def pods(job: Any) -> Iterator[dict[str, Any]]:
    """Yield the pod of the head, then those of the workers."""
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        yield group["template"]["spec"]


def test_the_image_is_pinned_and_runs_as_a_user_without_rights() -> None:
    (base,) = instructions("FROM")
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base)
    assert instructions("USER") == ["1000:1000"]
    assert DOCKERFILE.index("\nUSER") > max(DOCKERFILE.rindex("\nRUN"), DOCKERFILE.rindex("\nCOPY"))
    (install,) = (run for run in instructions("RUN") if "setup.sh" in run)
    assert instructions("ARG") == ["TORCH_BACKEND=cpu"]
    assert 'TORCH_BACKEND="$TORCH_BACKEND" ./setup.sh' in install


def test_the_build_sees_what_the_image_copies_and_nothing_else() -> None:
    copied = {name for line in instructions("COPY") for name in line.split()[:-1]}
    assert all((ROOT / name).exists() for name in copied)
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()[1:]
    assert set(ignore) == {"/*", "**/__pycache__"} | {f"!/{name}" for name in copied}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {project["readme"], *project["license-files"]} <= copied  # what `pip install -e .` reads


@pytest.mark.parametrize("name", ["render", "train", "evaluate"])
def test_a_ray_job_is_valid_for_kuberay_and_runs_a_valid_command(name: str) -> None:
    job = RAY_JOBS[name]
    assert validate(job) == []
    program, command, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert program == "ocr-ray"
    config = tyro.cli(load(JOBS[command.replace("-", "_")].config), args=arguments)
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == version("ray")
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    for group in cluster["workerGroupSpecs"]:
        (container,) = group["template"]["spec"]["containers"]
        if container["resources"]["limits"].get("nvidia.com/gpu"):
            # Ray knows no limits of this autoscaler: the job counts the nodes that are there when it starts.
            assert config.use_gpu
            assert config.num_workers == group["replicas"] == group["minReplicas"]
        else:
            assert group["minReplicas"] == 0 < group["maxReplicas"]
            assert not getattr(config, "use_gpu", False)


@pytest.mark.parametrize("name", ["render", "train", "evaluate"])
def test_the_pods_of_a_ray_job_have_the_image_the_accounts_and_no_rights_but_those(name: str) -> None:
    head, *workers = pods(RAY_JOBS[name])
    accounts = {account["metadata"]["name"]: account["metadata"]["annotations"] for account in ACCOUNTS}
    assert [head["serviceAccountName"], workers[0]["serviceAccountName"]] == list(accounts)
    assert all("eks.amazonaws.com/role-arn" in annotations for annotations in accounts.values())
    assert "tolerations" not in head
    for worker in workers:
        assert "spot" in {toleration["key"] for toleration in worker["tolerations"]}
    for pod in (head, *workers):
        assert pod["securityContext"]["runAsNonRoot"]
        assert f"{pod['securityContext']['runAsUser']}:" in instructions("USER")[0]
        (container,) = pod["containers"]
        build = "cuda" if "nvidia.com/gpu" in container["resources"]["limits"] else "cpu"
        assert container["image"].endswith(f"/ocr-ray:{version('ocr_ray')}-{build}")
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        # Ray's object store and the workers' memory count against one limit, so it is reserved.
        resources = container["resources"]
        assert resources["requests"]["memory"] == resources["limits"]["memory"]
        assert not [name for name in container["env"] if "KEY" in name["name"] or "TOKEN" in name["name"]]


def test_the_schema_refuses_fields_and_values_that_kuberay_does_not_know() -> None:
    wrong = json.loads(json.dumps(RAY_JOBS["render"]))
    spec = wrong["spec"]
    spec["rayClusterSpec"]["autoscalerOptions"]["version"] = "v3"
    spec["rayClusterSpec"]["workerGroupSpecs"][0]["maxReplica"] = 3
    del spec["rayClusterSpec"]["headGroupSpec"]["template"]
    found = " ".join(validate(wrong))
    for part in ("v3", "maxReplica", "'template' is a required property"):
        assert part in found
    wrong = json.loads(json.dumps(RAY_JOBS["train"]))
    next(pods(wrong))["serviceAcountName"] = "ocr-ray-head"
    assert "serviceAcountName" in " ".join(validate(wrong))

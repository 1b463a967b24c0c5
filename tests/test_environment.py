import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")
PINS = re.findall(r"^(\S+==\S+)", CONSTRAINTS, re.MULTILINE)
TORCH_PINS = (ROOT / "torch.txt").read_text(encoding="utf-8").splitlines()[1:]


def normalize(requirement: str) -> str:
    """Return a requirement's package name as PyPI compares it (PEP 503)."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name, requirement
    return re.sub(r"[-_.]+", "-", name.group()).lower()


def declared_requirements() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project.get("optional-dependencies", {}).values()
    return [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]


def test_cv2_needs_no_libgl() -> None:
    # Fresh servers and containers have no libGL; the headless build of OpenCV does not ask for it.
    spec = find_spec("cv2")
    assert spec is not None
    assert spec.origin is not None
    (extension,) = Path(spec.origin).parent.glob("cv2*.so")
    linked = subprocess.run(["ldd", extension], check=True, capture_output=True, text=True).stdout
    assert "libc.so" in linked
    assert "libGL" not in linked


@pytest.mark.parametrize("requirement", declared_requirements())
def test_every_declared_dependency_is_pinned_to_one_version(requirement: str) -> None:
    name = normalize(requirement)
    pins = [pin for pin in (TORCH_PINS if name == "torch" else PINS) if normalize(pin) == name]
    assert pins, f"constraints.txt must pin {name}"
    for pin in pins:
        assert re.fullmatch(r"[^\s=]+==[^\s=*]+", pin), (
            f"constraints.txt must pin {name} with ==, got {pin!r}"
        )


def test_every_pin_has_hashes_and_nothing_else_is_in_the_file() -> None:
    digest = r"    --hash=sha256:[0-9a-f]{64}"
    pin = rf"\S+==\S+(?: ; [^\\\n]+)? \\\n(?:{digest} \\\n)*{digest}\n"
    assert re.fullmatch(f"(?:{pin})+", CONSTRAINTS)
    # Dependabot ignores larger files: MAX_FILE_SIZE of its python/shared_file_fetcher.rb.
    assert len(CONSTRAINTS) < 500_000


@pytest.mark.soak
def test_the_hashes_are_those_of_the_files_that_pip_downloads(tmp_path: Path) -> None:
    # uv wrote the file; pip asks the registry again, for the smallest package.
    (pinned,) = re.findall(r"^iniconfig==(?:.*\\\n)+.*\n", CONSTRAINTS, re.MULTILINE)
    tmp_path.joinpath("one.txt").write_text(pinned)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    pip += ["--no-cache-dir", "--dest", str(tmp_path), "--requirement", str(tmp_path / "one.txt")]
    subprocess.run(pip, check=True, capture_output=True)
    tmp_path.joinpath("one.txt").write_text(re.sub(r"sha256:..", "sha256:00", pinned))
    refused = subprocess.run(pip, check=False, capture_output=True, text=True)
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in refused.stderr


@pytest.mark.parametrize("command", [["bash", "setup.sh"], ["make", "setup"]])
def test_set_up_refuses_a_python_that_is_none_and_a_venv_of_another(command, tmp_path: Path) -> None:
    for name in ("setup.sh", "Makefile", "constraints.txt", "torch.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)

    def set_up(python: str) -> str:
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHON": python}
        result = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert result.returncode != 0
        return result.stderr

    assert "PYTHON must be Python 3.11 or newer with venv, got /none/python" in set_up("/none/python")
    assert not tmp_path.joinpath(".venv").exists()
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n[ $1 = -m ] || echo 3.9\n")
    python.chmod(0o755)
    message = f".venv must have Python 3.{sys.version_info.minor}, it has 3.9; remove the folder .venv"
    assert message in set_up(sys.executable)


def test_torch_and_its_cuda_packages_are_left_to_the_choice_of_a_build() -> None:
    assert not [pin for pin in PINS if re.match(r"torch==|triton|cuda|nvidia", pin)]


def test_the_opencv_that_links_libgl_is_pinned_for_no_platform() -> None:
    for pin in re.findall(r"^opencv-.*", CONSTRAINTS, re.MULTILINE):
        assert normalize(pin) == "opencv-python-headless" or "sys_platform == 'never'" in pin, pin


def test_pre_commit_runs_the_pinned_ruff() -> None:
    config = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    (rev,) = re.findall(r"ruff-pre-commit\n +rev: v(\S+)", config)
    assert f"ruff=={rev}" in PINS


def test_the_pins_name_no_registry() -> None:
    assert not re.search(r"://|^-", CONSTRAINTS, re.MULTILINE)

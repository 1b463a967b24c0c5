import re
import subprocess
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PINS = (ROOT / "constraints.txt").read_text(encoding="utf-8")


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
    lines = [line for line in PINS.splitlines() if line and not line.startswith("#")]
    pins = [line for line in lines if normalize(line) == name]
    assert pins, f"constraints.txt must pin {name}"
    for pin in pins:
        assert re.match(r"[^\s=]+==[^\s=*]+", pin), f"constraints.txt must pin {name} with ==, got {pin!r}"


def test_the_opencv_that_links_libgl_is_pinned_for_no_platform() -> None:
    for pin in (line for line in PINS.splitlines() if line.startswith("opencv-")):
        assert normalize(pin) == "opencv-python-headless" or "sys_platform == 'never'" in pin, pin


def test_pre_commit_runs_the_pinned_ruff() -> None:
    config = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    (rev,) = re.findall(r"ruff-pre-commit\n +rev: v(\S+)", config)
    assert f"ruff=={rev}" in PINS.splitlines()


def test_the_pins_name_no_registry() -> None:
    assert not re.search(r"://|^-", PINS, re.MULTILINE)

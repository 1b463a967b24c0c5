import re
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

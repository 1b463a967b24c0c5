"""The console command `ocr-ray`, and what a job imports before its flags are right."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from ocr_ray.cli.commands import JOBS, load, main

HEAVY = ("ray", "torch", "transformers", "trdg", "cv2", "boto3", "matplotlib")


def call(capsys, *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_info:
        main(words)
    shown = capsys.readouterr()
    return int(exit_info.value.code or 0), shown.out, shown.err


def test_every_job_file_has_its_command_and_the_other_way_round() -> None:
    assert {path.stem for path in Path("jobs").glob("*.py")} - {"__init__"} == set(JOBS)
    for job in JOBS.values():
        assert callable(load(job.work))


def test_the_help_lists_every_command(capsys) -> None:
    code, out, _ = call(capsys, "--help")
    assert code == 0
    listed = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    assert listed == [name.replace("_", "-") for name in JOBS]
    assert call(capsys) == (0, out, "")


def test_the_version_is_that_of_the_package(capsys) -> None:
    assert call(capsys, "--version") == (0, f"ocr-ray {version('ocr_ray')}\n", "")


def test_an_unknown_command_exits_2_and_names_those_there_are(capsys) -> None:
    code, out, err = call(capsys, "render")
    assert (code, out) == (2, "")
    assert "render-lines" in err
    assert "'render'" in err


def test_a_command_takes_the_flags_of_its_job(capsys) -> None:
    code, out, _ = call(capsys, "plan-dataset", "--pilot-lines", "0", "--num-lines", "1000")
    assert code == 0
    assert "1000" in json.dumps(json.loads(out.splitlines()[-1]))
    code, out, err = call(capsys, "plan-dataset", "--pilot-line", "0")
    assert code == 2
    assert "--pilot-lines" in out + err


@pytest.mark.parametrize("job", JOBS)
def test_help_imports_nothing_heavy(job: str) -> None:
    program = (
        "import sys\n"
        "from ocr_ray.cli.commands import main\n"
        "try:\n"
        f"    main(['{job.replace('_', '-')}', '--help'])\n"
        "except SystemExit as end:\n"
        f"    print(end.code, *sorted({HEAVY} & sys.modules.keys()))\n"
    ).replace(f"{HEAVY}", f"set({HEAVY})")
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "0"


@pytest.mark.parametrize(
    ("package", "words", "extra"),
    [
        ("boto3", ["check-cluster"], "cluster"),
        ("trdg", ["render-lines", "--out-uri", "OUT", "--renderer", "trdg"], "trdg"),
    ],
)
def test_a_missing_extra_exits_2_and_says_how_to_install_it(
    package: str, words: list[str], extra: str, tmp_path: Path
) -> None:
    words = [str(tmp_path / "out") if word == "OUT" else word for word in words]
    program = (
        f"import sys; sys.modules[{package!r}] = None; from ocr_ray.cli.commands import main; main({words})"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 2, result.stderr
    assert f"{package} must be installed: pip install 'ocr_ray[{extra}]'" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()

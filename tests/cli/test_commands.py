"""The console command `ocr-ray`, and what is imported before the flags are parsed."""

import json
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from ocr_ray.cli.commands import JOBS, load, main, run_named_job

HEAVY = ("ray", "torch", "transformers", "trdg", "cv2", "boto3", "matplotlib")


def call(capsys, *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_info:
        main(words)
    shown = capsys.readouterr()
    return int(exit_info.value.code or 0), shown.out, shown.err


def test_the_commands_are_the_job_files() -> None:
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


def test_an_unknown_command_exits_2_and_lists_the_commands(capsys) -> None:
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


@pytest.mark.parametrize(
    ("imported", "code", "message"),
    [("tyro", -signal.SIGINT, ""), ("ray", 130, "stopped; finished work is kept")],
)
def test_ctrl_c_while_packages_are_imported_prints_no_traceback(
    imported: str, code: int, message: str, tmp_path
) -> None:
    program = (
        "import os, signal, sys\n"
        "class Sender:\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name == {imported!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest may ignore it\n"
        "sys.meta_path.insert(0, Sender())\n"
        "from ocr_ray.cli.commands import main\n"
        f"main(['render-lines', '--out-uri', {str(tmp_path / 'out')!r}])\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (code, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", JOBS)
def test_a_command_has_the_help_of_its_job(name: str, monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    command = f"ocr-ray {name.replace('_', '-')}"
    with pytest.raises(SystemExit):
        run_named_job(name, arguments=["--help"])
    help_of_job = capsys.readouterr().out
    code, out, _ = call(capsys, *command.split()[1:], "--help")
    assert code == 0
    assert out.startswith(f"usage: {command} ")
    assert out.splitlines()[2:] == help_of_job.splitlines()[2:]


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("flag", ["--help", "--no-such-flag"])
def test_help_and_wrong_flags_import_nothing_heavy(job: str, flag: str) -> None:
    program = (
        "import atexit, sys\n"
        "from ocr_ray.cli.commands import main\n"
        f"atexit.register(lambda: print('heavy:', *sorted(set({HEAVY}) & sys.modules.keys())))\n"
        f"main(['{job.replace('_', '-')}', '{flag}'])\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == (0 if flag == "--help" else 2), result.stderr
    assert result.stdout.splitlines()[-1] == "heavy:"


@pytest.mark.parametrize(
    ("package", "words", "message"),
    [
        ("boto3", ["check-cluster"], 'check_cluster needs the package boto3: pip install "ocr_ray[cluster]"'),
        ("jsonschema", ["check-cluster"], "check_cluster needs the package jsonschema: pip install"),
        (
            "trdg",
            ["render-lines", "--renderer", "trdg", "--out-uri"],
            '--renderer trdg needs the package trdg: pip install "ocr_ray[trdg]"',
        ),
        (
            "arabic_reshaper",
            ["render-lines", "--renderer", "trdg", "--out-uri"],
            "trdg must be installed with the versions of CONTRIBUTING.md; it cannot be imported",
        ),
    ],
)
def test_a_missing_package_exits_2_and_says_how_to_install_it(
    package: str, words: list[str], message: str, tmp_path: Path
) -> None:
    words = [*words, str(tmp_path / "out")] if words[-1] == "--out-uri" else words
    program = (
        f"import sys; sys.modules[{package!r}] = None; from ocr_ray.cli.commands import main; main({words})"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 2, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_misspelt_command_gets_a_suggestion(capsys) -> None:
    assert call(capsys, "render-line")[2].rstrip().endswith("did you mean render-lines?")
    assert "did you mean" not in call(capsys, "zzz")[2]


def test_the_address_of_the_head_must_have_a_port(capsys) -> None:
    code, out, err = call(capsys, "watch-spot", "--gcs-address", "head")
    assert code == 2
    assert "must be HOST:PORT" in out + err

"""`benchmarks.gpu`: its pieces run apart from each other, and its tiny form on a CPU."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import psutil
import pytest
import torch

import benchmarks.evaluate as reading
from benchmarks.gpu import check_machine, list_pieces
from benchmarks.gpu_settings import Bench, find_peak_tflops
from benchmarks.pieces import LEFT, Piece, Results, Rows, call, find_open, run_pieces
from benchmarks.train_data import draw_lines, write_model
from ocr_ray.errors import InputError
from ocr_ray.model.decoding import decode_greedily, encode
from ocr_ray.model.load import load_model
from ocr_ray.model.options import Decoding
from ocr_ray.model.pixels import make_pixel_values
from ocr_ray.storage.location import locate

ROOT = Path(__file__).parent.parent
COSTLY = {"trainer_2", "reading_default", "job", "rendering"}
"""Pieces that the test leaves: other benchmarks whole, and jobs."""


def test_a_piece_that_breaks_is_recorded_and_costs_the_others_nothing(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    works: dict[str, partial[Rows]] = {
        "raises": partial(call, "ocr_ray.render.fonts.find:find_available_fonts", ["No Such Font"]),
        "killed": partial(signal.raise_signal, signal.SIGKILL),
        "exits": partial(os._exit, 0),
        "hangs": partial(subprocess.run, ["sh", "-c", f"echo $$ > {pid}; sleep 60"]),
        "no_number": partial(list, [{"loss": math.nan}]),
        "good": partial(list, [{"batch": 2, "holds": True}]),
        "late": partial(list, [{"batch": 2}]),
    }
    minutes = {"hangs": 0.02, "late": 100.0}
    pieces = [Piece(name=name, work=work, minutes=minutes.get(name, 1.0)) for name, work in works.items()]
    results = Results(folder=tmp_path, machine={"card": "none"}, pieces=dict.fromkeys(works, LEFT))
    run_pieces(pieces, results, end_s=time.monotonic() + 600, context=get_context("forkserver"))
    kept = Results.read(tmp_path)
    assert kept.names_with("done") == ["good"]
    assert kept.pieces["good"]["rows"] == [{"batch": 2, "holds": True}]
    assert {name: kept.pieces[name]["error"] for name in kept.names_with("failed")} == {
        "raises": "ocr_ray.errors.InputError: none of the fonts ['No Such Font'] is installed; "
        "apt-get install fonts-nanum",
        "killed": "ended by SIGKILL",
        "exits": "ended with exit code 0 and no result",
        "hangs": "did not end within 0.02 minutes",
        "no_number": "ValueError: JSON must hold finite numbers, 0.loss is nan",
    }
    [warning] = kept.pieces["raises"]["warnings"]
    assert warning.startswith("WARNING continuing without a font: font 'No Such Font' must be installed")
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(pid.read_text())).wait(timeout=20)
    assert [piece.name for piece in find_open(pieces, kept, retry=False)] == ["late"]
    assert [piece.name for piece in find_open(pieces, kept, retry=True)] == [*list(works)[:5], "late"]
    page = (tmp_path / "results.md").read_text()
    assert "## good\n\n| batch | holds |\n| --- | --- |\n| 2 | yes |\n" in page
    assert "| killed | ended by SIGKILL |" in page
    assert "Left for the next call: late." in page


def test_the_peak_is_that_of_the_card() -> None:
    assert find_peak_tflops("NVIDIA H100 80GB HBM3") == find_peak_tflops("NVIDIA H200") == 989
    assert find_peak_tflops("NVIDIA H100 PCIe") == 756
    assert find_peak_tflops("NVIDIA A10G") == 70
    assert find_peak_tflops("NVIDIA L40S") is None


def test_results_of_another_machine_are_not_mixed(tmp_path: Path) -> None:
    check_machine(Results(folder=tmp_path), {"card": "NVIDIA L4"})
    results = Results(folder=tmp_path, machine={"card": "NVIDIA H200"})
    with pytest.raises(InputError, match="card was NVIDIA H200 and is NVIDIA L4; choose another folder"):
        check_machine(results, {"card": "NVIDIA L4"})


def test_lines_that_are_read_with_fixed_memory_end_where_their_labels_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_model(tmp_path, "tiny")
    lines, ocr = draw_lines(6), load_model(tmp_path)
    part = reading.LinesPart(dataset="lines", location=locate(str(tmp_path)))
    inputs = reading.Inputs(
        model=tmp_path, lines=lines, part=part, decoding=Decoding(), device=torch.device("cpu")
    )
    reading.set_line_ends(ocr.network, inputs, lambda images: make_pixel_values(ocr, images))
    states = encode(ocr, make_pixel_values(ocr, [line.image_bytes for line in lines]))
    num_tokens = [len(ocr.tokenizer(line.text).input_ids) for line in lines]
    for is_static in (False, True):  # a line ends one token before its label
        tokens = decode_greedily(ocr, states, is_static=is_static).tokens
        counts = (tokens != ocr.tokenizer.pad_token_id).sum(1).tolist()
        assert counts == [number - 1 for number in num_tokens]
    assert "fixed memory" not in caplog.text


def run_tiny(out: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu", "--out", str(out), "--device", "cpu", "--tiny"]
    return subprocess.run([*command, *flags], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_tiny_form_runs_its_pieces_once(tmp_path: Path) -> None:
    bench = Bench(folder=tmp_path, device="cpu", is_tiny=True, peak_tflops=None)
    names = [piece.name for piece in list_pieces(bench)]
    cheap = [name for name in names if name not in COSTLY]
    flags = ["--pieces", *cheap, "--peak-tflops", "1"]
    run = run_tiny(tmp_path, *flags)
    assert run.returncode == 0, run.stderr
    results = Results.read(tmp_path)
    assert list(results.pieces) == names
    assert set(results.names_with("left")) == COSTLY
    assert results.names_with("done") == cheap
    assert results.machine["cores"] == len(os.sched_getaffinity(0))
    for name in ("losses", "resume", "tokens"):
        assert all(row["holds"] for row in results.pieces[name]["rows"])
    step = results.pieces["step_2"]["rows"]
    assert [row["side"] for row in step] == ["uncompiled", "default"]
    assert all(row["lines_per_s"] * row["ms_per_step"] == pytest.approx(2000, rel=0.02) for row in step)
    assert all(0 < row["share_of_peak"] < 1 for row in step)
    kernels = results.pieces["profile"]["rows"]
    assert kernels[0]["ms_per_step"] >= sum(row["ms_per_step"] for row in kernels[1:]) > 0
    before = (tmp_path / "results.json").read_bytes()
    run = run_tiny(tmp_path, *flags)
    assert (run.returncode, json.loads(run.stdout)["done"]) == (0, len(cheap))
    assert (tmp_path / "results.json").read_bytes() == before
    assert run_tiny(tmp_path, "--pieces", "step_3").returncode == 2

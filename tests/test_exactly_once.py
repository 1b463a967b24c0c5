"""Two ranks killed within an epoch: whoever goes on sees the lines that are left, and no others."""

import subprocess
import sys
from pathlib import Path

import pytest
from train_rank import CONFIG, NUM_KILLED, NUM_SAVED
from training_data import make_dataset, make_lines, make_texts, make_tiny_model

NUM_LINES = 61
SAVED = NUM_SAVED * (CONFIG.global_batch_size or 0)


def run_ranks(out: Path, model: Path, place: Path, world_size: int, resume_from: Path | None) -> list[int]:
    """Run all ranks of a training; return their exit codes."""
    out.mkdir()
    script = str(Path(__file__).with_name("train_rank.py"))
    ranks = [
        subprocess.Popen(
            [sys.executable, script, out, model, place, str(rank), str(world_size)]
            + ([str(resume_from)] if resume_from else [])
        )
        for rank in range(world_size)
    ]
    return [rank.wait(timeout=300) for rank in ranks]


def read_seen(out: Path, *, until: int | None = None) -> list[str]:
    """Return the ids of the lines that all ranks saw, in the steps up to one."""
    rows = [row.split() for path in sorted(out.glob("seen-*.txt")) for row in path.read_text().splitlines()]
    return [line_id for step, line_id in rows if until is None or int(step) <= until]


@pytest.mark.slow
def test_killed_ranks_and_those_that_go_on_see_every_line_once(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "lines", NUM_LINES, 2)
    model = make_tiny_model(tmp_path / "model").folder
    place = Path(dataset.place.path)
    assert run_ranks(tmp_path / "killed", model, place, 2, None) == [-9, -9]
    checkpoint = tmp_path / f"killed/checkpoint-{SAVED}"
    before = read_seen(tmp_path / "killed", until=NUM_SAVED)
    assert len(before) == SAVED
    assert len(read_seen(tmp_path / "killed")) == NUM_KILLED * SAVED // NUM_SAVED
    expected = sorted(line.line_id for line in make_lines(make_texts(NUM_LINES)))
    for world_size in (1, 2):
        out = tmp_path / f"resumed-{world_size}"
        assert run_ranks(out, model, place, world_size, checkpoint) == [0] * world_size
        assert sorted(before + read_seen(out)) == expected
        assert (out / f"checkpoint-{NUM_LINES}/model.safetensors").is_file()

"""Two ranks killed within an epoch: whoever goes on sees the lines that are left, and no others."""

from pathlib import Path

import pytest
from builders.training_data import make_dataset, make_lines, make_texts, make_tiny_model
from harness.ranks import run_ranks
from harness.train_rank import CONFIG, NUM_KILLED, NUM_SAVED, train_rank

NUM_LINES = 61
SAVED = NUM_SAVED * (CONFIG.global_batch_size or 0)


def read_seen(out: Path, *, until: int | None = None) -> list[str]:
    """Return the ids of the lines that all ranks saw, in the steps up to one."""
    rows = [row.split() for path in sorted(out.glob("seen-*.txt")) for row in path.read_text().splitlines()]
    return [line_id for step, line_id in rows if until is None or int(step) <= until]


@pytest.mark.slow
def test_killed_ranks_and_those_that_go_on_see_every_line_once(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "lines", NUM_LINES, 2)
    model = make_tiny_model(tmp_path / "model").folder
    place = dataset.folder.path
    killed = tmp_path / "killed"
    killed.mkdir()
    assert run_ranks(train_rank, killed, model, place, None, world_size=2) == [-9, -9]
    checkpoint = killed / f"checkpoint-{SAVED}"
    before = read_seen(killed, until=NUM_SAVED)
    assert len(before) == SAVED
    assert len(read_seen(killed)) == NUM_KILLED * SAVED // NUM_SAVED
    expected = sorted(line.line_id for line in make_lines(make_texts(NUM_LINES)))
    for world_size in (1, 2):
        out = tmp_path / f"resumed-{world_size}"
        out.mkdir()
        exit_codes = run_ranks(train_rank, out, model, place, checkpoint, world_size=world_size)
        assert exit_codes == [0] * world_size
        assert sorted(before + read_seen(out)) == expected
        assert (out / f"checkpoint-{NUM_LINES}/model.safetensors").is_file()

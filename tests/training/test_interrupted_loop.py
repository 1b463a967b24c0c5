"""A training loop that is stopped and goes on, within an epoch and between two."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from builders.training_data import CONFIG, data_of, make_lines, make_texts, make_tiny_model, weights_of
from harness.keeper import Keeper

from ocr_ray.model.load import OcrModel
from ocr_ray.model.precision import set_deterministic
from ocr_ray.training import loop
from ocr_ray.training.config import LrSchedule
from ocr_ray.training.data.row_groups import LineDataset
from ocr_ray.training.loop import UNRATED, Metrics, train

torch.set_num_threads(1)


def assert_same_weights(one: OcrModel, other: OcrModel) -> None:
    expected = weights_of(one)
    assert all(torch.equal(value, expected[name]) for name, value in weights_of(other).items())


@pytest.fixture
def as_it_was() -> Iterator[None]:
    yield
    set_deterministic(False)


@pytest.fixture
def always_polled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "POLL_SECONDS", 0.0)


CLOCKED = re.compile("seconds|lines_per_second|feed_wait_share")


def without_times(history: list[Metrics]) -> list[Metrics]:
    return [{k: v for k, v in record.items() if not CLOCKED.search(k)} for record in history]


@pytest.mark.usefixtures("always_polled", "as_it_was")
@pytest.mark.parametrize(
    ("stop_after", "lr_schedule"),
    [(1, "plateau"), (3, "cosine"), (4, "plateau"), (5, "cosine"), (4, "linear")],
)
def test_a_run_stopped_at_any_step_ends_with_the_weights_of_one_never_stopped(
    tmp_path: Path, short: LineDataset, model_folder: Path, stop_after: int, lr_schedule: LrSchedule
) -> None:
    """Three steps an epoch, of 4, 4 and 2 lines; after the third the epoch's own checkpoint stands.

    With an odd number of steps by deterministic operations, which a CPU has for all of them.
    """
    whole, resumed = make_tiny_model(model_folder), make_tiny_model(model_folder)
    assert whole.network.config.decoder.hidden_dropout_prob > 0
    config = replace(
        CONFIG,
        epochs=2,
        augment=True,
        max_grad_norm=0.5,
        warmup_steps=4 if lr_schedule == "plateau" else 1,
        lr_schedule=lr_schedule,
        deterministic=bool(stop_after % 2),
    )
    keeper, first = Keeper(), Keeper(tmp_path)
    state = train(whole, data_of(short), config, hooks=keeper.hooks)
    assert torch.are_deterministic_algorithms_enabled() is config.deterministic
    first.signals = {stop_after: "stop"}
    stopped = train(make_tiny_model(model_folder), data_of(short), config, hooks=first.hooks)
    if stop_after % 3:
        assert (stopped.global_step, len(first.steps)) == (stop_after, stop_after)
        assert first.metrics[-1]["score"] == UNRATED
    torch.manual_seed(99)
    second = Keeper()
    again = train(
        resumed,
        data_of(short),
        config,
        hooks=second.hooks,
        resume_from=tmp_path / f"lines-{first.metrics[min(len(first.metrics), 2) - 1]['lines']}",
    )
    assert_same_weights(whole, resumed)
    assert without_times(again.history) == without_times(state.history)
    assert again.samples == state.samples


@pytest.mark.usefixtures("always_polled")
def test_a_run_that_goes_on_sees_the_lines_left_and_no_others(
    tmp_path: Path, dataset: LineDataset, model_folder: Path
) -> None:
    config = replace(CONFIG, epochs=2)
    first, second = Keeper(tmp_path), Keeper()
    first.signals = {7: "save", 13: "stop"}
    train(make_tiny_model(model_folder), data_of(dataset), config, hooks=first.hooks)
    train(
        make_tiny_model(model_folder),
        data_of(dataset),
        replace(config, batch_size=2, global_batch_size=4),
        hooks=second.hooks,
        resume_from=tmp_path / "lines-28",
    )
    seen = [line_id for step in first.steps[:7] + second.steps[:3] for line_id in step]
    assert len(seen) == 37
    assert Counter(seen) == Counter(line.line_id for line in make_lines(make_texts(37)))
    assert [len(step) for step in second.steps[:3]] == [4, 4, 1]
    assert Counter(line_id for step in second.steps[3:] for line_id in step) == Counter(seen)
    assert second.steps[3:6] == first.steps[10:13]


@pytest.mark.usefixtures("always_polled")
def test_a_checkpoint_is_due_after_its_minutes(short: LineDataset, model_folder: Path) -> None:
    keeper = Keeper()
    config = replace(CONFIG, epochs=1, checkpoint_every_minutes=1e-9)
    train(make_tiny_model(model_folder), data_of(short), config, hooks=keeper.hooks)
    assert [(m["kind"], m["lines"], m["epochs_done"]) for m in keeper.metrics] == [
        ("checkpoint", 4, 0),
        ("checkpoint", 8, 0),
        ("validation", 10, 1),
    ]
    assert all(math.isfinite(metrics["score"]) for metrics in keeper.metrics)


def test_a_finished_run_trains_no_more(tmp_path: Path, short: LineDataset, model_folder: Path) -> None:
    """Given more epochs, it goes on with the learning rates of a run planned for them."""
    keeper = Keeper(tmp_path)
    config = replace(CONFIG, epochs=1, lr_schedule="linear")
    state = train(make_tiny_model(model_folder), data_of(short), config, hooks=keeper.hooks)
    again = train(
        make_tiny_model(model_folder),
        data_of(short),
        config,
        hooks=keeper.hooks,
        resume_from=tmp_path / "lines-10",
    )
    assert again == state
    assert len(keeper.metrics) == 1
    more = train(
        make_tiny_model(model_folder),
        data_of(short),
        replace(config, epochs=2),
        hooks=keeper.hooks,
        resume_from=tmp_path / "lines-10",
    )
    rates = [record["lr"] / config.lr for record in more.history if record["kind"] == "train"]
    assert rates[2] == pytest.approx(0.05)
    assert rates[3:] == pytest.approx([0.05 + 0.95 * left / 6 for left in (2, 1, 0)])

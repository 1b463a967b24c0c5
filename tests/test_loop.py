import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_data import make_dataset, make_lines, make_texts, make_tiny_model, write_split

from ocr_ray.errors import InputError, ProductionError
from ocr_ray.storage import locate
from ocr_ray.training.checkpoint import TrainState
from ocr_ray.training.feed import Feed, LineDataset
from ocr_ray.training.loop import Metrics, TrainConfig, compute_gradients, train
from ocr_ray.training.model import OcrModel, load_model
from ocr_ray.training.splits import open_split
from ocr_ray.training.tiny import write_tiny_model
from ocr_ray.training.validation import choose_generated, line_losses, validate

torch.set_num_threads(1)

CONFIG = TrainConfig(epochs=3, batch_size=4, lr=1e-3, seed=5, max_generated_lines=2)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("loop") / "model").folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> LineDataset:
    """37 lines to train on, three to validate with."""
    return make_dataset(tmp_path_factory.mktemp("lines"), 37, 3)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> LineDataset:
    """Ten lines to train on, three to validate with."""
    return make_dataset(tmp_path_factory.mktemp("short"), 10, 3)


def ignore(metrics: Metrics, folder: Path) -> None:
    pass


class Keeper:
    """Keeps the metrics and the checkpoint of every epoch."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.metrics: list[Metrics] = []

    def __call__(self, metrics: Metrics, folder: Path) -> None:
        self.metrics.append(metrics)
        kept = self.target / f"epoch-{metrics['epoch']}"
        kept.mkdir(parents=True)
        for path in folder.iterdir():
            (kept / path.name).write_bytes(path.read_bytes())


def weights_of(ocr: OcrModel) -> dict[str, torch.Tensor]:
    return dict(ocr.network.state_dict())


def test_a_resumed_run_ends_with_the_weights_of_one_never_stopped(
    tmp_path: Path, short: LineDataset, model_folder: Path
) -> None:
    whole, resumed = make_tiny_model(model_folder), make_tiny_model(model_folder)
    assert whole.network.config.decoder.hidden_dropout_prob > 0
    keeper = Keeper(tmp_path)
    state = train(whole, [short], CONFIG, report=keeper)
    torch.manual_seed(99)
    again = train(resumed, [short], CONFIG, report=ignore, resume_from=tmp_path / "epoch-1")
    expected = weights_of(whole)
    assert all(torch.equal(value, expected[name]) for name, value in weights_of(resumed).items())
    for one, two in zip(state.history, again.history, strict=True):
        assert {k: v for k, v in one.items() if k != "train_lines_per_second"} == {
            k: v for k, v in two.items() if k != "train_lines_per_second"
        }
    assert again.global_step == state.global_step == 9


def test_a_finished_run_trains_no_more(tmp_path: Path, short: LineDataset, model_folder: Path) -> None:
    keeper = Keeper(tmp_path)
    config = replace(CONFIG, epochs=1)
    state = train(make_tiny_model(model_folder), [short], config, report=keeper)
    again = train(
        make_tiny_model(model_folder), [short], config, report=keeper, resume_from=tmp_path / "epoch-1"
    )
    assert again == state
    assert len(keeper.metrics) == 1


def test_every_epoch_reports_finite_numbers_and_a_checkpoint(
    tmp_path: Path, short: LineDataset, model_folder: Path
) -> None:
    keeper = Keeper(tmp_path / "kept")
    pages = make_lines(make_texts(2, seed=8), source="page")
    write_split(tmp_path / "pages", "train", pages)
    write_split(tmp_path / "pages", "validation", pages)
    datasets = [short, LineDataset(name="pages", place=locate(str(tmp_path / "pages")))]
    state = train(
        make_tiny_model(model_folder), datasets, replace(CONFIG, epochs=2, lr_patience=0), report=keeper
    )
    assert [metrics["epoch"] for metrics in keeper.metrics] == [1, 2]
    for metrics in keeper.metrics:
        assert all(type(value) in (int, float) and math.isfinite(value) for value in metrics.values())
        assert metrics["validation_loss"] == metrics["pages/validation_loss_all"]
        assert metrics["validation_loss_all"] != metrics["validation_loss"]
        assert metrics["validation_generated_lines"] == 4
        assert {"train_loss", "lr", "is_best", "validation_cer", "lines/validation_cer"} <= set(metrics)
        assert {"pages/validation_wer", "pages/validation_character_accuracy"} <= set(metrics)
    assert state.best_validation_loss == min(metrics["validation_loss"] for metrics in keeper.metrics)
    json.dumps(state.history)
    assert state.global_step == 2 * 3


def test_selecting_on_all_lines_takes_the_loss_over_all(
    tmp_path: Path, short: LineDataset, model_folder: Path
) -> None:
    keeper = Keeper(tmp_path)
    config = replace(CONFIG, epochs=1, select_on="all")
    train(make_tiny_model(model_folder), [short], config, report=keeper)
    [metrics] = keeper.metrics
    assert metrics["validation_loss"] == metrics["validation_loss_all"]


def test_the_learning_rate_falls_after_an_epoch_that_was_not_better(
    tmp_path: Path, short: LineDataset, model_folder: Path
) -> None:
    keeper = Keeper(tmp_path)
    # So small that no epoch is better by the scheduler's 0.01 %, yet above the 1e-8 by which it must change.
    config = TrainConfig(epochs=3, batch_size=16, lr=1.2e-8, lr_factor=0.1, max_generated_lines=1)
    train(make_tiny_model(model_folder), [short], config, report=keeper)
    assert [metrics["lr"] for metrics in keeper.metrics] == pytest.approx([1.2e-8, 1.2e-8, 1.2e-9])


def test_the_validation_loss_is_that_of_transformers(dataset: LineDataset, model_folder: Path) -> None:
    ocr = make_tiny_model(model_folder)
    feed = Feed(splits=(open_split("lines", dataset.place / "validation"),), ocr=ocr, batch_size=3)
    [batch] = feed.batches()
    with torch.no_grad():
        expected = ocr.network(pixel_values=batch.pixel_values, labels=batch.labels).loss.item()
        losses = line_losses(ocr.network, batch.pixel_values, batch.labels)
    assert float(losses.sum()) / batch.num_tokens == pytest.approx(expected, rel=1e-6)
    [sums] = validate(ocr, [replace(feed, batch_size=2)], 2).values()
    assert sums.to_metrics()["validation_loss_all"] == pytest.approx(expected, rel=1e-6)


WORDS = re.findall(
    r"\w+",
    """river apple desk seven paper train window orange mountain clock violin bread garden silver pencil ocean
    market lamp bridge tiger cloud school button winter engine carpet ladder spoon forest mirror candle
    rocket""",
)


@pytest.mark.slow
def test_the_loop_overfits_32_lines(tmp_path: Path) -> None:
    texts = [f"{word} {WORDS[(7 * i + 3) % 32]} {i + 10}" for i, word in enumerate(WORDS)]
    lines = make_lines(texts)
    # Eight copies of the lines: an epoch of 32 steps is validated once.
    write_split(tmp_path / "lines", "train", 8 * lines, rows_per_group=256, rows_per_part=4096)
    write_split(tmp_path / "lines", "validation", lines)
    write_tiny_model(tmp_path / "model", 4 * texts, 0)
    keeper = Keeper(tmp_path / "kept")
    dataset = LineDataset(name="lines", place=locate(str(tmp_path / "lines")))
    config = TrainConfig(epochs=4, batch_size=8, lr=1e-3)
    train(load_model(tmp_path / "model"), [dataset], config, report=keeper)
    assert keeper.metrics[0]["validation_cer"] > 0.5
    assert keeper.metrics[-1]["validation_cer"] < 0.05
    assert keeper.metrics[-1]["validation_exact_match"] > 0.9


@pytest.mark.slow
def test_37_lines_on_two_ranks_give_the_gradients_of_one(
    tmp_path: Path, dataset: LineDataset, model_folder: Path
) -> None:
    """Batch size 19: the ranks have 19 and 18 lines; 6: after three steps the second rank has none left."""
    script = str(Path(__file__).with_name("gradients_of_rank.py"))
    places = [str(model_folder), str(dataset.place), str(tmp_path)]
    command = [sys.executable, script, *places]
    ranks = [subprocess.Popen([*command, str(rank), "19", "6"]) for rank in range(2)]
    assert [rank.wait(timeout=300) for rank in ranks] == [0, 0]
    ocr = make_tiny_model(model_folder)
    split = open_split("lines", dataset.place / "train")
    for batch_size in (19, 6):
        batches = list(Feed(splits=(split,), ocr=ocr, batch_size=2 * batch_size).batches(0))
        for step in {0, len(batches) - 1}:
            compute_gradients(ocr.network, batches[step])
            gradients = torch.load(tmp_path / f"gradients-{batch_size}-{step}.pt", weights_only=True)
            for name, parameter in ocr.network.named_parameters():
                if parameter.grad is not None:
                    torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_the_generated_lines_are_evenly_spaced_and_always_the_same() -> None:
    assert choose_generated(10, 3) == {0, 3, 6}
    assert choose_generated(3, 10) == {0, 1, 2}
    assert choose_generated(0, 10) == frozenset()
    chosen = choose_generated(1_000_003, 2000)
    assert len(chosen) == 2000
    assert max(chosen) > 999_000


@pytest.mark.parametrize(("batch_size", "world_size"), [(1, 1), (3, 2)])
def test_the_lines_generated_do_not_depend_on_batches_or_ranks(
    short: LineDataset, model_folder: Path, batch_size: int, world_size: int
) -> None:
    ocr = make_tiny_model(model_folder)
    split = open_split("lines", short.place / "train")

    def count(size: int, ranks: int) -> list[float]:
        feeds = [
            Feed(splits=(split,), ocr=ocr, batch_size=size, rank=r, world_size=ranks) for r in range(ranks)
        ]
        totals = [validate(ocr, [feed], 4)["lines"] for feed in feeds]
        return [sum(values) for values in zip(*(total.to_list() for total in totals), strict=True)]

    assert count(batch_size, world_size) == pytest.approx(count(5, 1), rel=1e-6)


def test_a_dataset_without_validation_lines_is_left_out_of_the_metrics(
    tmp_path: Path, short: LineDataset, model_folder: Path
) -> None:
    write_split(tmp_path / "words", "train", make_lines(make_texts(2)))
    words = LineDataset(name="words", place=locate(str(tmp_path / "words")))
    keeper = Keeper(tmp_path / "kept")
    train(make_tiny_model(model_folder), [short, words], replace(CONFIG, epochs=1), report=keeper)
    assert not [name for name in keeper.metrics[0] if name.startswith("words/")]
    with pytest.raises(InputError, match="validation split must have at least one line"):
        train(make_tiny_model(model_folder), [words], CONFIG, report=keeper)
    with pytest.raises(InputError, match="must have different names, got words, words"):
        train(make_tiny_model(model_folder), [words, words], CONFIG, report=keeper)


def test_a_run_that_diverges_fails(short: LineDataset, model_folder: Path) -> None:
    ocr = make_tiny_model(model_folder)
    with torch.no_grad():
        ocr.network.decoder.lm_head.bias.fill_(math.inf)
    with pytest.raises(ProductionError, match="training loss must be finite"):
        train(ocr, [short], replace(CONFIG, epochs=1), report=ignore)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("max_generated_lines", 0),
        ("lr", 0.0),
        ("lr_patience", -1),
        ("lr_factor", 1.0),
        ("seed", -1),
        ("label_column", "font"),
        ("select_on", "words"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{field} must be .*, got"):
        TrainConfig(**{field: value})  # type: ignore[arg-type]


def test_a_new_state_has_done_nothing() -> None:
    assert TrainState() == TrainState(epoch=0, global_step=0, best_validation_loss=None, history=[])

import gc
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from builders.training_data import (
    CONFIG,
    data_of,
    make_lines,
    make_texts,
    make_tiny_model,
    weights_of,
    write_split,
)
from harness.gradients_of_rank import FIXED_BATCH_SIZE, save_gradients
from harness.keeper import Keeper
from harness.ranks import run_ranks
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import (
    get_cosine_with_min_lr_schedule_with_warmup_lr_rate,
    get_polynomial_decay_schedule_with_warmup,
)

from ocr_ray.errors import InputError, ProductionError
from ocr_ray.evaluation.inputs import LinesPart
from ocr_ray.evaluation.predict import read_part
from ocr_ray.metrics import ErrorCounts, count_errors
from ocr_ray.model.load import OcrModel, load_model
from ocr_ray.model.options import GREEDY
from ocr_ray.model.pixels import to_pixel_values
from ocr_ray.model.precision import make_optimizer, make_scaler
from ocr_ray.model.tiny import write_tiny_model
from ocr_ray.storage.location import list_files, locate
from ocr_ray.training.checkpoint import Training, TrainState
from ocr_ray.training.config import LrSchedule, TrainConfig
from ocr_ray.training.data.loader import LineLoader
from ocr_ray.training.data.row_groups import LineDataset, open_split
from ocr_ray.training.learning_rate import check_warmup, find_lr_share
from ocr_ray.training.loop import train
from ocr_ray.training.steps import compute_gradients, line_losses, make_blank_batch
from ocr_ray.training.validation import choose_generated, validate

torch.set_num_threads(1)


def make_training(ocr: OcrModel) -> Training:
    optimizer = make_optimizer(ocr.network.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    return Training(
        ocr=ocr, optimizer=optimizer, scheduler=scheduler, scaler=make_scaler("fp32", torch.device("cpu"))
    )


def test_validation_within_epochs(short: LineDataset, model_folder: Path) -> None:
    keeper = Keeper()
    config = replace(CONFIG, epochs=2, batch_size=2, validate_every_lines=4)
    state = train(make_tiny_model(model_folder), data_of(short), config, hooks=keeper.hooks)
    assert [m["lines"] for m in keeper.validations] == [4, 8, 10, 14, 18, 20]
    assert [record["lines"] for record in state.history if record["kind"] == "train"] == [*range(2, 21, 2)]
    assert state.best_score == min(m["score"] for m in keeper.validations)


def test_gradient_accumulation_gives_the_weights_of_a_larger_batch(
    short: LineDataset, model_folder: Path
) -> None:
    """Without dropout, whose masks depend on the batch."""
    trained = []
    for batch_size in (1, 2, 5):
        ocr = make_tiny_model(model_folder)
        for module in ocr.network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        config = replace(CONFIG, epochs=1, batch_size=batch_size, global_batch_size=10, lr=1e-4)
        train(ocr, data_of(short), config, hooks=Keeper().hooks)
        trained.append(weights_of(ocr))
    for name, value in trained[0].items():
        for other in trained[1:]:
            torch.testing.assert_close(other[name], value, rtol=1e-4, atol=2e-5)


def test_warm_up_scales_the_learning_rate_of_the_first_steps(short: LineDataset, model_folder: Path) -> None:
    """Adam's first step moves every weight by the learning rate, whatever the gradient."""
    moved = []
    for warmup_steps in (0, 10):
        ocr = make_tiny_model(model_folder)
        before = {name: value.clone() for name, value in weights_of(ocr).items()}
        config = replace(CONFIG, epochs=1, batch_size=10, warmup_steps=warmup_steps)
        train(ocr, data_of(short), config, hooks=Keeper().hooks)
        name = "decoder.lm_head.bias"
        moved.append(float((weights_of(ocr)[name] - before[name]).abs().max()))
    assert moved == pytest.approx([CONFIG.lr, CONFIG.lr / 10], rel=1e-3)


def test_the_recorded_learning_rate_is_that_of_the_step(short: LineDataset, model_folder: Path) -> None:
    """Linear warm-up to 0.001 over four steps, then a validation that halves it, or not."""
    keeper, used = Keeper(), []
    config = replace(CONFIG, epochs=2, batch_size=2, warmup_steps=4, lr=1e-3)
    hook = register_optimizer_step_pre_hook(
        lambda optimizer, *_: used.append(optimizer.param_groups[0]["lr"])
    )
    try:
        state = train(make_tiny_model(model_folder), data_of(short), config, hooks=keeper.hooks)
    finally:
        hook.remove()
    records = [record["lr"] for record in state.history if record["kind"] == "train"]
    assert records == used
    assert used[:5] == pytest.approx([0.00025, 0.0005, 0.00075, 0.001, 0.001])
    assert [metrics["lr"] for metrics in keeper.validations] == [used[4], used[9]]


@pytest.mark.parametrize("warmup_steps", [0, 3])
@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_learning_rate_decays_as_that_of_transformers(schedule: LrSchedule, warmup_steps: int) -> None:
    """Which counts the steps of its linear decay from 1, and says what the next step takes."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    if schedule == "cosine":
        expected = get_cosine_with_min_lr_schedule_with_warmup_lr_rate(
            optimizer, warmup_steps, 10, min_lr_rate=0.05
        )
    else:
        expected = get_polynomial_decay_schedule_with_warmup(optimizer, warmup_steps, 10, lr_end=0.05)
        optimizer.step()
        expected.step()
    config = replace(CONFIG, lr_schedule=schedule, warmup_steps=warmup_steps)
    for step in range(10):
        assert find_lr_share(config, step, 10) == pytest.approx(expected.get_last_lr()[0], rel=1e-12)
        optimizer.step()
        expected.step()
    assert find_lr_share(config, 9, 10) == pytest.approx(0.05)


def test_a_learning_rate_that_decays_is_not_reduced_by_validations(
    short: LineDataset, model_folder: Path
) -> None:
    """Three validations find no improvement that plateau would see, see the test of it."""
    config = replace(CONFIG, epochs=3, lr=1.2e-8, lr_schedule="linear", max_generated_lines=1)
    state = train(make_tiny_model(model_folder), data_of(short), config, hooks=Keeper().hooks)
    used = [record["lr"] / config.lr for record in state.history if record["kind"] == "train"]
    assert used == pytest.approx([0.05 + 0.95 * left / 9 for left in range(8, -1, -1)])


def test_warm_up_that_leaves_no_step_to_decay_is_refused() -> None:
    config = TrainConfig(epochs=2, batch_size=4, warmup_steps=6, lr_schedule="cosine")
    with pytest.raises(InputError, match=r"--warmup-steps must be fewer than the 6 steps .* cosine, got 6"):
        check_warmup(config, num_lines=10)
    check_warmup(config, num_lines=13)
    check_warmup(replace(config, lr_schedule="plateau"), num_lines=1)


def test_every_epoch_reports_finite_numbers_and_a_checkpoint(
    tmp_path: Path, short: LineDataset, model_folder: Path
) -> None:
    keeper = Keeper(tmp_path / "kept")
    pages = make_lines(make_texts(2, seed=8), source="page")
    write_split(tmp_path / "pages", "train", pages)
    write_split(tmp_path / "pages", "validation", pages)
    datasets = [short, LineDataset(name="pages", folder=locate(str(tmp_path / "pages")))]
    state = train(
        make_tiny_model(model_folder), data_of(*datasets), replace(CONFIG, epochs=2), hooks=keeper.hooks
    )
    assert [metrics["epoch"] for metrics in keeper.metrics] == [1, 2]
    for metrics in keeper.metrics:
        assert metrics.pop("kind") == "validation"
        assert all(type(value) in (int, float) and math.isfinite(value) for value in metrics.values())
        assert metrics["validation_loss"] == metrics["pages/validation_loss_all"]
        assert metrics["validation_loss_all"] != metrics["validation_loss"]
        assert metrics["validation_generated_lines"] == 4
        assert {"train_loss", "lr", "is_best", "validation_cer", "lines/validation_cer"} <= set(metrics)
        assert {"pages/validation_wer", "pages/validation_character_accuracy"} <= set(metrics)
    assert state.best_score == min(metrics["validation_loss"] for metrics in keeper.metrics)
    json.dumps(state.history)
    assert state.global_step == 2 * 3


def test_selecting_on_all_lines_takes_the_loss_over_all(
    tmp_path: Path, short: LineDataset, model_folder: Path
) -> None:
    keeper = Keeper(tmp_path)
    config = replace(CONFIG, epochs=1, select_on="all")
    train(make_tiny_model(model_folder), data_of(short), config, hooks=keeper.hooks)
    [metrics] = keeper.metrics
    assert metrics["validation_loss"] == metrics["validation_loss_all"]


def test_the_learning_rate_falls_after_an_epoch_that_was_not_better(
    tmp_path: Path, short: LineDataset, model_folder: Path
) -> None:
    keeper = Keeper(tmp_path)
    # So small that no epoch is better by the scheduler's 0.01 %, yet above the 1e-8 by which it must change.
    config = TrainConfig(epochs=3, batch_size=16, lr=1.2e-8, lr_factor=0.1, max_generated_lines=1)
    train(make_tiny_model(model_folder), data_of(short), config, hooks=keeper.hooks)
    assert [metrics["lr"] for metrics in keeper.metrics] == pytest.approx([1.2e-8, 1.2e-8, 1.2e-9])


def test_the_validation_loss_is_that_of_transformers(dataset: LineDataset, model_folder: Path) -> None:
    ocr = make_tiny_model(model_folder)
    loader = LineLoader(splits=(open_split("lines", dataset.folder / "validation"),), ocr=ocr, batch_size=3)
    [step] = loader.steps(None)
    [batch] = step.batches
    pixel_values = to_pixel_values(ocr, batch.pixels, ocr.device)
    with torch.no_grad():
        expected = ocr.network(pixel_values=pixel_values, labels=batch.labels).loss.item()
        losses = line_losses(ocr.network, pixel_values, batch.labels)
    assert float(losses.sum()) / batch.num_tokens == pytest.approx(expected, rel=1e-6)
    sums = validate(ocr, [replace(loader, batch_size=2)], CONFIG)[0]["lines"]
    assert sums.to_metrics()["validation_loss_all"] == pytest.approx(expected, rel=1e-6)


def test_validation_reads_to_the_end_of_the_model_as_evaluation_does(
    tmp_path: Path, short: LineDataset, model_folder: Path
) -> None:
    """By the model of a checkpoint, which reads on to its limit, far over the ends of the lines."""
    keeper, ocr = Keeper(tmp_path), make_tiny_model(model_folder)
    with torch.no_grad():
        ocr.network.decoder.lm_head.bias[ocr.tokenizer.all_special_ids] = -30.0
    config = replace(CONFIG, epochs=1, max_generated_lines=100)
    state = train(ocr, data_of(short), config, hooks=keeper.hooks)
    model, validation = load_model(tmp_path / "lines-10"), short.folder / "validation"
    parts = [LinesPart(dataset="lines", location=validation / name) for name in list_files(validation)]
    rows = [row for part in parts for row in read_part(model, part, "text", GREEDY).to_pylist()]
    samples = {sample["line_id"]: sample["prediction"] for sample in state.samples}
    assert {row["line_id"]: row["prediction"] for row in rows} == samples
    counts = [count_errors(row["text"], row["prediction"]) for row in rows]
    assert keeper.metrics[0]["validation_cer"] == sum(counts, start=ErrorCounts.zero()).cer
    texts = [(row["text"], row["prediction"]) for row in rows]
    tokens = [[len(ids) for ids in model.encode_labels(pair)] for pair in texts]
    assert all(read > 2 * written + 8 for written, read in tokens)


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
    # Sixteen copies of the lines: an epoch of 64 steps is validated once.
    write_split(tmp_path / "lines", "train", 16 * lines, rows_per_group=256, rows_per_part=4096)
    write_split(tmp_path / "lines", "validation", lines)
    write_tiny_model(tmp_path / "model", 4 * texts, 0)
    keeper = Keeper(tmp_path / "kept")
    dataset = LineDataset(name="lines", folder=locate(str(tmp_path / "lines")))
    config = TrainConfig(epochs=2, batch_size=8, lr=1e-3)
    train(load_model(tmp_path / "model"), data_of(dataset), config, hooks=keeper.hooks)
    assert keeper.metrics[0]["validation_cer"] > 0.5
    assert keeper.metrics[-1]["validation_cer"] < 0.05
    assert keeper.metrics[-1]["validation_exact_match"] > 0.9


@pytest.mark.slow
def test_37_lines_on_two_ranks_give_the_gradients_of_one(
    tmp_path: Path, dataset: LineDataset, model_folder: Path
) -> None:
    """Batch size 19: the ranks have 19 and 18 lines; 6: after three steps the second rank has none left.

    At 6 also with batches of a fixed shape.
    """
    exit_codes = run_ranks(save_gradients, model_folder, dataset.folder, tmp_path, (19, 6), world_size=2)
    assert exit_codes == [0, 0]
    ocr = make_tiny_model(model_folder)
    split = open_split("lines", dataset.folder / "train")
    for name, batch_size in {"19": 19, "6": 6, "fixed": FIXED_BATCH_SIZE}.items():
        steps = list(LineLoader(splits=(split,), ocr=ocr, batch_size=2 * batch_size).steps(0))
        training = make_training(ocr)
        for step in {0, len(steps) - 1}:
            compute_gradients(
                ocr.network, training, steps[step], blank=make_blank_batch(ocr), config=TrainConfig()
            )
            gradients = torch.load(tmp_path / f"gradients-{name}-{step}.pt", weights_only=True)
            for weight, parameter in ocr.network.named_parameters():
                if parameter.grad is not None:
                    rtol, atol = (1e-3, 2e-5) if name == "fixed" else (1e-4, 1e-6)
                    torch.testing.assert_close(gradients[weight], parameter.grad, rtol=rtol, atol=atol)


def test_generated_lines_are_evenly_spaced_and_always_the_same() -> None:
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
    split = open_split("lines", short.folder / "train")

    def count(size: int, ranks: int) -> list[float]:
        loaders = [
            LineLoader(splits=(split,), ocr=ocr, batch_size=size, rank=r, world_size=ranks)
            for r in range(ranks)
        ]
        config = replace(CONFIG, max_generated_lines=4)
        totals = [validate(ocr, [loader], config)[0]["lines"] for loader in loaders]
        return [sum(values) for values in zip(*(total.to_list() for total in totals), strict=True)]

    assert count(batch_size, world_size) == pytest.approx(count(5, 1), rel=1e-6)


def test_lines_that_wait_to_be_generated_do_not_keep_their_batches(
    short: LineDataset, model_folder: Path
) -> None:
    """Five lines of ten, from five batches of two, so that most wait while the next batch is read."""
    ocr = make_tiny_model(model_folder)
    kept = []

    def look(*_: Any) -> None:
        waiting = (t for t in gc.get_objects() if type(t) is torch.Tensor and t.shape == (3, 384, 384))
        kept.extend(image.untyped_storage().nbytes() for image in waiting)

    with ocr.network.encoder.register_forward_pre_hook(look):
        loader = LineLoader(
            splits=(open_split("lines", short.folder / "train"),), ocr=ocr, batch_size=2, threads=1
        )
        validate(ocr, [loader], replace(CONFIG, max_generated_lines=5))
    assert set(kept) == {3 * 384 * 384 * 4}


def test_a_dataset_without_validation_lines_is_left_out_of_the_metrics(
    tmp_path: Path, short: LineDataset, model_folder: Path
) -> None:
    write_split(tmp_path / "words", "train", make_lines(make_texts(2)))
    words = LineDataset(name="words", folder=locate(str(tmp_path / "words")))
    keeper = Keeper(tmp_path / "kept")
    train(make_tiny_model(model_folder), data_of(short, words), replace(CONFIG, epochs=1), hooks=keeper.hooks)
    assert not [name for name in keeper.metrics[0] if name.startswith("words/")]
    with pytest.raises(InputError, match="validation split must have at least one line"):
        train(make_tiny_model(model_folder), data_of(words), CONFIG, hooks=keeper.hooks)
    with pytest.raises(InputError, match="must have different names, got words, words"):
        train(make_tiny_model(model_folder), data_of(words, words), CONFIG, hooks=keeper.hooks)


def test_a_loss_that_is_not_finite_fails(short: LineDataset, model_folder: Path) -> None:
    ocr = make_tiny_model(model_folder)
    with torch.no_grad():
        ocr.network.decoder.lm_head.bias.fill_(math.inf)
    with pytest.raises(ProductionError, match="training loss must be finite"):
        train(ocr, data_of(short), replace(CONFIG, epochs=1), hooks=Keeper().hooks)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("max_generated_lines", 0),
        ("lr", 0.0),
        ("lr_patience", -1),
        ("lr_factor", 1.0),
        ("lr_schedule", "step"),
        ("seed", -1),
        ("label_column", "font"),
        ("select_on", "words"),
    ],
)
def test_invalid_fields_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{field} must be .*, got"):
        TrainConfig(**{field: value})  # type: ignore[arg-type]


def test_a_new_state_has_done_nothing() -> None:
    assert TrainState() == TrainState(epoch=0, lines_done=0, global_step=0, best_score=None, history=[])

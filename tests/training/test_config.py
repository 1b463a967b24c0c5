"""Defaults by device, and what a resumed run keeps."""

from typing import Any

import pytest

from ocr_ray.training.config import TrainConfig, TrainJobConfig, share_cores


def make_config(*, use_gpu: bool = False, num_workers: int | None = None, **train: Any) -> TrainJobConfig:
    return TrainJobConfig(
        lines_uri=("x",),
        models_uri="y",
        run_name="z",
        use_gpu=use_gpu,
        num_workers=num_workers,
        train=TrainConfig(**train),
    )


def sizes_of(config: TrainJobConfig) -> tuple[int | None, int | None, int | None]:
    return config.num_workers, config.train.batch_size, config.train.global_batch_size


@pytest.mark.parametrize(
    ("config", "present", "expected"),
    [
        (make_config(), 2, (2, 16, 32)),
        (make_config(use_gpu=True), 4, (4, 64, 256)),
        (make_config(use_gpu=True, num_workers=1), 4, (1, 64, 64)),
        (make_config(use_gpu=True, batch_size=96), 3, (3, 96, 288)),
        (make_config(use_gpu=True, global_batch_size=256), 3, (2, 64, 256)),
        (make_config(global_batch_size=24), 2, (2, 12, 24)),
    ],
    ids=["CPU", "GPUs", "a GPU", "a batch size", "GPUs that cannot share a step", "a small step"],
)
def test_sizes_are_by_device_and_fit_each_other(
    config: TrainJobConfig, present: int, expected: tuple[int, int, int]
) -> None:
    settled = config.settle(present)
    assert sizes_of(settled) == expected
    assert settled.settle(present) == settled


@pytest.mark.parametrize(
    ("config", "present", "expected"),
    [
        (make_config(), 2, (2, 16, 32)),
        (make_config(use_gpu=True), 4, (4, 8, 32)),
        (make_config(use_gpu=True), 3, (2, 16, 32)),
        (make_config(use_gpu=True, num_workers=2, batch_size=16), 4, (2, 16, 32)),
        (make_config(use_gpu=True, num_workers=2, batch_size=64), 4, (2, 64, 128)),
    ],
    ids=["the same machine", "four GPUs", "three GPUs", "all named", "another step, to be refused"],
)
def test_a_run_of_two_workers_of_16_lines_goes_on_with_its_steps(
    config: TrainJobConfig, present: int, expected: tuple[int, int, int]
) -> None:
    kept = config.keep({"precision": "fp32", "global_batch_size": 32}).settle(present)
    assert sizes_of(kept) == expected
    assert kept.train.describe()["global_batch_size"] == expected[2]
    assert kept.train.settle((9, 0)).precision == "fp32"


def test_a_precision_that_is_named_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_config(precision="bf16").keep({"precision": "fp32"}).train.precision == "bf16"
    assert make_config().keep({}).train.settle((7, 5)).precision == "fp16"


def test_the_plan_of_a_run_names_what_it_did_before_and_nothing_else() -> None:
    """As of version 0.2.0, so that its runs go on."""
    described = make_config().settle(2).train.settle(None).describe()
    assert described == {
        "epochs": 5,
        "lr": 5e-5,
        "warmup_steps": 0,
        "lr_patience": 0,
        "lr_factor": 0.5,
        "max_grad_norm": None,
        "precision": "fp32",
        "batch_by_length": True,
        "augment": False,
        "seed": 0,
        "label_column": "text",
        "select_on": "page",
        "best_by": "validation_loss",
        "validate_every_lines": None,
        "max_generated_lines": 2000,
        "global_batch_size": 32,
    }
    assert TrainConfig(lr_schedule="linear").describe()["lr_schedule"] == "linear"
    assert TrainConfig(lines_per_epoch=7).describe()["lines_per_epoch"] == 7


def test_the_lines_of_an_epoch_can_be_set_for_a_mixture_only() -> None:
    with pytest.raises(ValueError, match="lines_per_epoch must be given with --mix, got 7"):
        make_config(lines_per_epoch=7)
    assert TrainConfig(lines_per_epoch=7).count_lines({"a": range(9)}) == 7
    assert TrainConfig().count_lines({"a": range(9), "b": range(2)}) == 11


def test_cores_are_shared_among_the_workers_of_a_node() -> None:
    on_gpu = [share_cores(cores, workers, on_gpu=True) for cores, workers in ((16, 1), (16, 4), (2, 4))]
    assert on_gpu == [15, 3, 1]
    on_cpu = [share_cores(cores, workers, on_gpu=False) for cores, workers in ((16, 1), (4, 2), (2, 2))]
    assert on_cpu == [2, 2, 1]


def test_compilation_is_for_gpus_and_not_deterministic() -> None:
    assert [TrainConfig().is_compiled(on_gpu=on_gpu) for on_gpu in (True, False)] == [True, False]
    assert TrainConfig(compile="on").is_compiled(on_gpu=False)
    assert not TrainConfig(compile="off").is_compiled(on_gpu=True)
    assert not TrainConfig(deterministic=True).is_compiled(on_gpu=True)
    with pytest.raises(ValueError, match="compile must be auto or off with deterministic, got on"):
        TrainConfig(compile="on", deterministic=True)

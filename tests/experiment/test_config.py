"""The arms and runs of an experiment, and its flags from a YAML file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tyro

from ocr_ray.cli.commands import run_named_job
from ocr_ray.cli.flags import describe_flags, list_arguments, list_flags
from ocr_ray.cli.recipe import add_recipe
from ocr_ray.errors import InputError
from ocr_ray.experiment.arms import SOURCES, Arm, list_arms
from ocr_ray.experiment.config import ExperimentConfig, plan_run
from ocr_ray.training.config import TrainConfig, TrainJobConfig
from ocr_ray.training.data.mixture import describe_mixture
from ocr_ray.training.data.order import LineOrder

COUNTS = {
    "pages": {"page": 300},
    "text": {"sentence": 1000},
    "words": {"words": 500, "arithmetic": 300, "mixed": 200},
    "spliced": {"page": 300, "spliced": 800},
}
FLAGS = list_flags(ExperimentConfig)


def make_config(**flags: Any) -> ExperimentConfig:
    train = TrainConfig(epochs=2, lines_per_epoch=1000, global_batch_size=48, batch_size=8)
    return ExperimentConfig(**{"out_uri": "out", "train": train, "num_workers": 2, **flags})


def test_the_arms_are_pages_alone_and_each_kind_at_each_ratio_with_every_seed() -> None:
    config = make_config(added=("words", "text"), ratios=(0.5, 1.0), num_seeds=2)
    assert [run.name for run in config.runs[:5]] == [
        *("pages-seed0", "words-0.5-seed0", "words-1-seed0", "text-0.5-seed0", "text-1-seed0")
    ]
    assert len({run.name for run in config.runs}) == len(config.runs) == 10
    assert [run.seed for run in config.runs] == [0] * 5 + [1] * 5
    more = replace(config, num_seeds=3, ratios=(0.5, 1.0, 0.3))
    assert set(config.runs) < set(more.runs)


@pytest.mark.parametrize("arm", list_arms(tuple(SOURCES), (0.1, 0.5, 2.0)), ids=lambda arm: arm.name)
def test_an_arm_trains_on_added_lines_in_its_ratio_to_those_of_pages(arm: Arm) -> None:
    weights = arm.weigh(COUNTS)
    mixture = describe_mixture({name: COUNTS[name] for name in weights}, weights)
    pages = mixture.share_by_source["page"]
    assert (1 - pages) / pages == pytest.approx(arm.ratio)
    if arm.added == "words_spliced":
        assert mixture.share_by_source["spliced"] == pytest.approx((1 - pages) / 2)
    if arm.added:
        assert mixture.trained_share == pytest.approx(0 if arm.added == "text" else 1 - pages)


def test_too_few_spliced_lines_for_a_ratio_are_refused() -> None:
    few = {**COUNTS, "spliced": {"page": 300, "spliced": 300}}
    assert Arm(added="spliced", ratio=0.9).weigh(few)["pages"] > 0
    with pytest.raises(
        InputError, match="more spliced lines than 1 for each of the 300 lines of pages, got 300"
    ):
        Arm(added="spliced", ratio=1.0).weigh(few)


def count_steps(training: TrainJobConfig, weights: dict[str, float]) -> tuple[int, int]:
    """Return the steps and lines of a run, counted in the order of lines that it is trained in."""
    total = training.train.count_global(training.num_workers or 0)
    order = LineOrder(
        row_counts={name: [sum(COUNTS[name].values())] for name in weights},
        global_batch_size=total,
        seed=training.train.seed,
        mixture_weights=weights,
        lines_per_epoch=training.train.lines_per_epoch,
    )
    by_epoch = [sum(map(len, order.lines(epoch))) for epoch in range(training.train.epochs)]
    return sum(-(-lines // total) for lines in by_epoch), sum(by_epoch)


def test_every_run_takes_the_same_steps_over_as_many_lines_whatever_it_is_trained_on() -> None:
    config = make_config(ratios=(0.1, 2.0))
    plans = {}
    for run in config.runs:
        weights = run.arm.weigh(COUNTS)
        plans[run.name] = plan_run(config, run, "out", weights, "model")
        assert count_steps(plans[run.name], weights) == (
            42,
            2000,
        )  # 20 steps of 48 lines and one of 40, twice
    assert (config.num_steps, config.num_lines_trained) == (42, 2000)
    assert {plan.model for plan in plans.values()} == {"model"}
    settings = [replace(plan.train, seed=0) for plan in plans.values()]
    assert all(train == settings[0] for train in settings)
    # A run can be given as a command, and is the same.
    plan = plans["words_spliced-2-seed1"]
    assert tyro.cli(TrainJobConfig, args=list_arguments(describe_flags(plan))) == plan


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"num_seeds": 0}, "num_seeds must be at least 1"),
        ({"ratios": (0.0,)}, "ratios must be above 0"),
        ({"ratios": ()}, "ratios must name at least one"),
        ({"ratios": (0.5, 0.5)}, "ratios must be different"),
        ({"added": ("word",)}, "added must be among text, words, spliced, words_spliced, got 'word'"),
        ({"train": TrainConfig()}, "lines_per_epoch must be given"),
    ],
)
def test_wrong_flags_are_refused(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_config(**flags)


def write_recipe(folder: Path, content: str) -> str:
    path = folder / "experiment.yaml"
    path.write_text(content, encoding="utf-8")
    return str(path)


def test_a_recipe_gives_the_flags_that_the_command_line_does_not(tmp_path) -> None:
    recipe = write_recipe(
        tmp_path, "out_uri: there\nratios: [0.1, 1]\nlr: 1.0e-3\naugment: true\ndashboard: false\n"
    )
    for words in (["--config", recipe], [f"--config={recipe}"]):
        arguments = add_recipe([*words, "--out_uri", "here", "--dashboard"], FLAGS)
        config = tyro.cli(ExperimentConfig, args=arguments)
        assert (config.out_uri, config.ratios, config.train.lr) == ("here", (0.1, 1.0), 1e-3)
        assert config.train.augment
        assert config.dashboard
        assert config.num_seeds == ExperimentConfig(out_uri="x").num_seeds
    assert add_recipe(["--out-uri", "here"], FLAGS) == ["--out-uri", "here"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ratio: [0.1]", "experiment.yaml: ratio must be a flag of this job; did you mean ratios?"),
        ("config: other.yaml", "config must be a flag of this job"),
        ("- 1", r"--config must hold NAME: VALUE in each line"),
        ("a: [", r"--config must be a YAML file"),
        ("train: {lr: 1}", "train must be a flag of this job"),
        ("ratios: {lr: 1}", "ratios must be a value or a list of values"),
    ],
)
def test_a_wrong_recipe_ends_the_job_before_any_work(content: str, message: str, tmp_path, capsys) -> None:
    recipe = write_recipe(tmp_path, content)
    with pytest.raises(SystemExit) as exit_info:
        run_named_job("experiment", arguments=["--out-uri", str(tmp_path / "out"), "--config", recipe])
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_recipe_of_the_repository_is_an_experiment_of_17_arms_and_3_seeds() -> None:
    arguments = add_recipe(["--config", "recipes/experiment.yaml"], FLAGS)
    assert len(tyro.cli(ExperimentConfig, args=arguments).runs) == 51

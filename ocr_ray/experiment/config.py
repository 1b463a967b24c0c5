"""The flags of experiment."""

from dataclasses import dataclass, field, replace
from typing import Annotated

import tyro

from ocr_ray.experiment.arms import SOURCES, Added, Run, list_arms
from ocr_ray.storage.uri import BASE_MODEL
from ocr_ray.training.config import CPU_WORKERS, TrainConfig, TrainJobConfig

MODEL = BASE_MODEL


def default_training() -> TrainConfig:
    """Return the hyperparameters of experiments: one epoch of a set length, with a decay."""
    return TrainConfig(epochs=1, lines_per_epoch=100_000, lr_schedule="cosine", max_generated_lines=200)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentConfig:
    """Train models that differ only in their lines, and compare them: what context-free lines change.

    Every model starts from --model and takes the same number of steps over as many lines. All are evaluated
    on the same lines: held-out problems, spliced lines, problems cut into three boxes, and words. Run it
    again to resume; more --added, --ratios and --num-seeds add to what is there.
    """

    out_uri: str
    """Folder for data, runs, models, evaluations, report.json and report.html."""
    config: str | None = None
    """YAML file with values for these flags, such as recipes/experiment.yaml; flags that are given replace
    them."""
    model: str = MODEL
    """Model that every run starts from: a folder, a hub id, or a value that train_trocr accepts."""
    added: tuple[Added, ...] = ("text", "words", "spliced", "words_spliced")
    """Lines that are added to those of pages, each an arm at each ratio: running text, for comparison;
    words; lines spliced from words of pages; both. Pages alone are always an arm."""
    ratios: tuple[float, ...] = (0.1, 0.3, 0.5, 1.0)
    """Added lines per line of pages."""
    num_seeds: int = 3
    """Number of runs of each arm, with the seeds --seed, --seed + 1, …; all use the same data."""
    pages_uri: str | None = None
    """Labelled pages, as crop_pages takes them. Default: pages are drawn."""
    num_pages: int = 2_000
    """Pages to draw, if there is no --pages-uri."""
    num_box_pages: int = 150
    """Pages to draw of problems that are cut into three boxes, and of held-out ones if pages are drawn."""
    num_lines: int = 20_000
    """Lines of each kind that is added. Spliced lines must be more than those of pages times the ratio."""
    corpus_uri: str | None = None
    """Folder of .txt files for words and running text. Default: the built-in words; text of the pages."""
    num_workers: int | None = None
    """Number of data-parallel workers of a run. Default: 2; with --use-gpu 1."""
    parallel: int | None = None
    """Number of runs at the same time. Default: 1; with --use-gpu as many as the GPUs allow."""
    use_gpu: bool = False
    """Give each worker a GPU."""
    dashboard: bool = True
    """Start Ray's dashboard too, if the job starts Ray itself; without it the start is faster."""
    train: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=default_training)

    def __post_init__(self) -> None:
        least = {"num_seeds": 1, "num_pages": 1, "num_box_pages": 2, "num_lines": 1, "num_workers": 1}
        for name, number in {**least, "parallel": 1}.items():
            if (value := getattr(self, name)) is not None and value < number:
                raise ValueError(f"{name} must be at least {number}, got {value}")
        for kind in self.added:
            if kind not in SOURCES:
                raise ValueError(f"added must be among {', '.join(SOURCES)}, got {kind!r}")
        if self.added and not self.ratios:
            raise ValueError("ratios must name at least one ratio for the added lines")
        if not all(0 < ratio <= 100 for ratio in self.ratios):
            raise ValueError(f"ratios must be above 0 and at most 100, got {self.ratios}")
        for name, values in (("added", self.added), ("ratios", self.ratios)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name} must be different, got {values}")
        if self.train.lines_per_epoch is None:
            raise ValueError("lines_per_epoch must be given, so that every run takes as many steps")
        plan_run(self, self.runs[0], "", {"pages": 1.0}, self.model)  # checks the sizes

    @property
    def workers(self) -> int:
        """Workers of a run."""
        return self.num_workers or (1 if self.use_gpu else CPU_WORKERS)

    @property
    def runs(self) -> list[Run]:
        """The runs, seed by seed, so that a stopped experiment can compare whole arms."""
        arms = list_arms(self.added, self.ratios)
        seeds = range(self.train.seed, self.train.seed + self.num_seeds)
        return [Run(arm=arm, seed=seed) for seed in seeds for arm in arms]

    @property
    def num_steps(self) -> int:
        """Optimizer steps of every run: they depend on none of its arm's lines."""
        train = self.train.fit(self.workers, on_gpu=self.use_gpu)
        return train.epochs * -(-train.count_lines(None) // train.count_global(self.workers))

    @property
    def num_lines_trained(self) -> int:
        """Lines that every run is trained on, repeated ones counted again."""
        return self.train.epochs * self.train.count_lines(None)


def plan_run(
    config: ExperimentConfig, run: Run, out_uri: str, weights: dict[str, float], model: str
) -> TrainJobConfig:
    """Return the configuration of a run's training; `weights` are those of its datasets."""
    uris = {name: f"{out_uri}/data/{name}" for name in weights}
    train = config.train.fit(config.workers, on_gpu=config.use_gpu)
    return TrainJobConfig(
        lines_uri=tuple(uris.values()),
        mix=tuple(f"{uris[name]}={weight!r}" for name, weight in weights.items()),
        model=model,
        run_name=run.name,
        runs_uri=f"{out_uri}/runs",
        models_uri=f"{out_uri}/models/{run.name}",
        num_workers=config.workers,
        use_gpu=config.use_gpu,
        dashboard=config.dashboard,
        train=replace(train, seed=run.seed),
    )

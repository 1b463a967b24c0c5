"""Keeps the metrics, checkpoints and steps of a training run for tests."""

from pathlib import Path

from ocr_ray.training.data.loader import StepBatches
from ocr_ray.training.loop import Hooks, Metrics, Signal


class Keeper:
    """Keeps the metrics and the checkpoints of a run, and the lines of each step."""

    def __init__(self, target: Path | None = None) -> None:
        self.target = target
        self.metrics: list[Metrics] = []
        self.steps: list[list[str]] = []
        self.signals: dict[int, Signal] = {}
        """The answer to a poll after this number of steps."""

    @property
    def hooks(self) -> Hooks:
        return Hooks(report=self._report, poll=self._poll, step=self._keep_step)

    @property
    def validations(self) -> list[Metrics]:
        return [metrics for metrics in self.metrics if metrics["kind"] == "validation"]

    def _report(self, metrics: Metrics, folder: Path) -> None:
        self.metrics.append(metrics)
        if self.target:
            kept = self.target / f"lines-{metrics['lines']}"
            kept.mkdir(parents=True)
            for path in folder.iterdir():
                (kept / path.name).write_bytes(path.read_bytes())

    def _keep_step(self, step: StepBatches) -> None:
        self.steps.append([line_id for batch in step.batches for line_id in batch.line_ids])

    def _poll(self) -> Signal:
        return self.signals.get(len(self.steps), "")

"""Progress of a running job: log lines, and metrics for Prometheus."""

import logging
import string
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from typing import Any
from urllib.parse import quote

from ray.util.metrics import Counter, Gauge, Histogram

from ocr_ray.cluster.monitoring import monitoring
from ocr_ray.dataset.lines import PartStats

log = logging.getLogger(__name__)

LOG_INTERVAL_S = 10.0
METRICS = "a metric for Prometheus"
LINE_SECONDS_BOUNDARIES = [0.0003, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1]


class Progress:
    """Logs the progress of the parts of a dataset, at most every ten seconds and at the end.

    In between there are records of level DEBUG, which move the bar on a terminal.
    """

    def __init__(
        self, name: str, *, num_parts: int, num_pending: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name, self._num_parts, self._num_pending = name, num_parts, num_pending
        self._clock = clock
        self._started_s = self._logged_s = clock()
        self._num_done = self._num_lines = self._num_rejects = 0
        show_parts(name, done=num_parts - num_pending, pending=num_pending)

    def add(self, stats: PartStats) -> None:
        """Count a finished part."""
        self._num_done += 1
        self._num_lines += stats.rows
        self._num_rejects += stats.num_rejects
        now_s, left = self._clock(), self._num_pending - self._num_done
        show_parts(self._name, done=self._num_parts - left, pending=left)
        is_due = not left or now_s - self._logged_s >= LOG_INTERVAL_S
        if is_due:
            self._logged_s = now_s
        elapsed_s, done = now_s - self._started_s, self._num_parts - left
        time_left = timedelta(seconds=round(elapsed_s / self._num_done * left))
        rate = f"{self._num_lines / max(elapsed_s, 1e-9):.0f} lines/s"
        numbers = f"{rate}, {time_left} left, {self._num_rejects} rejects"
        progress = {"name": self._name, "done": done, "total": self._num_parts, "numbers": numbers}
        level = logging.INFO if is_due else logging.DEBUG
        log.log(
            level,
            "%s: %d of %d parts, %s",
            *(self._name, done, self._num_parts, numbers),
            extra={"progress": progress},
        )


def count_part(dataset: str, stats: PartStats, seconds: float) -> None:
    """Add a part that took `seconds` to the metrics of this worker, which Ray exports with the prefix `ray_`.

    A part that is made again after a worker died is counted each time that it is finished.
    """
    with monitoring(METRICS):
        lines, rejects, line_seconds = _create_counters()
        if stats.rows:
            lines.inc(stats.rows, _tags(dataset=dataset))
            line_seconds.observe(seconds / stats.rows, _tags(dataset=dataset))
        for reason, count in stats.rejects.items():
            rejects.inc(count, _tags(dataset=dataset, reason=reason))


@cache
def _create_counters() -> tuple[Counter, Counter, Histogram]:
    """Return the metrics of a process that makes parts; Ray requires that each is created once."""
    return (
        Counter("ocr_ray_lines_total", "Lines written.", ("dataset",)),
        Counter("ocr_ray_rejects_total", "Items that could not become a line.", ("dataset", "reason")),
        Histogram(
            "ocr_ray_line_seconds",
            "Seconds per line, the mean of each part.",
            LINE_SECONDS_BOUNDARIES,
            ("dataset",),
        ),
    )


def show_parts(name: str, *, done: int, pending: int) -> None:
    """Set the gauges of this process for the parts of a dataset or of an evaluation."""
    with monitoring(METRICS):
        for gauge, number in zip(_create_part_gauges(), (done, pending), strict=True):
            gauge.set(number, _tags(dataset=name))


@cache
def _create_part_gauges() -> tuple[Gauge, Gauge]:
    tags = ("dataset",)
    return (
        Gauge("ocr_ray_parts_done", "Finished parts.", tags),
        Gauge("ocr_ray_parts_pending", "Parts that are not finished.", tags),
    )


def count_read(dataset: str, num_lines: int) -> None:
    """Add lines that a model has read to the metrics of this worker."""
    with monitoring(METRICS):
        if num_lines:
            _create_read_counter().inc(num_lines, _tags(dataset=dataset))


@cache
def _create_read_counter() -> Counter:
    return Counter("ocr_ray_read_lines_total", "Lines read by a model.", ("dataset",))


def show_training(run: str, record: Mapping[str, Any]) -> None:
    """Set the training gauges of this process to the values of a record."""
    with monitoring(METRICS):
        for name, gauge in _create_gauges().items():
            if name in record:
                gauge.set(float(record[name]), _tags(run=run))


@cache
def _create_gauges() -> dict[str, Gauge]:
    tags = ("run",)
    return {
        "loss": Gauge("ocr_ray_train_loss", "Training loss per token.", tags),
        "lines_per_second": Gauge("ocr_ray_train_lines_per_second", "Lines trained on per second.", tags),
        "feed_wait_share": Gauge(
            "ocr_ray_feed_wait_share", "Share of the time spent waiting for data.", tags
        ),
        "validation_loss": Gauge("ocr_ray_validation_loss", "Validation loss per token.", tags),
        "validation_cer": Gauge("ocr_ray_validation_cer", "Character error rate in validation.", tags),
    }


def _tags(**names: str) -> dict[str, str]:
    """Return tags of a metric; Ray requires ASCII, so other characters are percent-encoded as in a URL."""
    return {
        key: quote(name, safe=string.punctuation + " ", errors="surrogatepass") for key, name in names.items()
    }

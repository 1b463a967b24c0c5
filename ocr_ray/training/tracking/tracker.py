"""Tracking files of a run, rewritten from its whole history each time, and its progress in the log.

```
metrics.jsonl                              the training and validation records
samples.jsonl                              some lines of each validation with their predictions
tensorboard/events.out.tfevents.00000000   the same metrics for TensorBoard; its steps are lines trained on
curves.png                                 loss, CER by dataset, learning rate, throughput
```

They depend only on the history, whose records hold their own times. So a run resumed from a checkpoint leaves
the same records as an undisturbed one: none twice, none lost.
"""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from ocr_ray.cluster.monitoring import monitoring
from ocr_ray.storage.location import Location, write_bytes
from ocr_ray.storage.strict_json import to_json
from ocr_ray.training.tracking.curves import Record, draw_curves
from ocr_ray.training.tracking.tensorboard import make_events, write_events

METRICS_FILE = "metrics.jsonl"
MIN_INTERVAL_S = 10.0
MAX_SHARE = 0.01
"""The most time spent on writing, as a share of all time; writes after validations do not count."""


def write_tracking(
    run: Location, history: Sequence[Record], samples: Sequence[Record], *, events: bool = True
) -> None:
    """Write the files of a run, each atomically except the event file, to which new events are appended.

    A file that cannot be written is left as it is; the next call writes the whole history again.
    """
    with monitoring(f"{METRICS_FILE} of {run}"):
        write_bytes(run / METRICS_FILE, _to_json_lines(history))
    with monitoring(f"samples.jsonl of {run}"):
        write_bytes(run / "samples.jsonl", _to_json_lines(samples))
    if events:
        with monitoring(f"the TensorBoard events of {run}"):
            write_events(run / "tensorboard", make_events(history))
    with monitoring(f"curves.png of {run}"):
        write_bytes(run / "curves.png", draw_curves(history))


class Tracker:
    """Writes the tracking files of a run in a background thread."""

    def __init__(
        self, run: Location, *, events: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._run, self._events, self._clock = run, events, clock
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="tracking")
        self._writing: Future[None] | None = None
        self._latest: tuple[Sequence[Record], Sequence[Record]] | None = None
        self._next_s = -math.inf

    def update(self, history: Sequence[Record], samples: Sequence[Record]) -> None:
        """Write the history if a write is due and none is running; the history must not be changed later.

        A write is due after each validation, and otherwise as rarely as `MAX_SHARE` requires.
        """
        self._latest = history, samples
        is_due = self._clock() >= self._next_s or (bool(history) and history[-1]["kind"] == "validation")
        if is_due and (self._writing is None or self._writing.done()):
            self._start()

    def close(self) -> None:
        """Write the latest history if it is not written yet, and end the thread."""
        try:
            if self._latest is not None:
                self._start()
            if self._writing is not None:
                self._writing.result()
        finally:
            self._pool.shutdown()

    def _start(self) -> None:
        assert self._latest is not None
        if self._writing is not None:
            self._writing.result()
        self._writing = self._pool.submit(self._write, *self._latest)
        self._latest = None

    def _write(self, history: Sequence[Record], samples: Sequence[Record]) -> None:
        started_s = self._clock()
        write_tracking(self._run, history, samples, events=self._events)
        ended_s = self._clock()
        self._next_s = ended_s + max(MIN_INTERVAL_S, (ended_s - started_s) / MAX_SHARE)


def format_progress(history: Sequence[Record], *, epochs: int, lines_per_epoch: int) -> str:
    """Return a line for the log about the progress, from a history that ends with a training record.

    The time left is estimated from the throughput of this record and the time of the validations so far.
    """
    record = history[-1]
    epoch, lines, lines_per_second = record["epoch"], record["lines"], record["lines_per_second"]
    num_left = max(0, epochs * lines_per_epoch - lines)
    seconds_left = num_left / max(lines_per_second, 1e-9) + num_left * _validation_seconds_per_line(history)
    minutes, seconds = divmod(round(seconds_left), 60)
    return (
        f"epoch {epoch} of {epochs}: {lines - (epoch - 1) * lines_per_epoch:,} of {lines_per_epoch:,} lines, "
        f"loss {record['loss']:.3f}, {lines_per_second:,.0f} lines/s, "
        f"data wait {100 * record['feed_wait_share']:.1f} %, "
        f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d} left"
    )


def _validation_seconds_per_line(history: Sequence[Record]) -> float:
    """Return the time of all validations so far per line trained on until the last of them.

    `seconds` includes validation, `lines_per_second` does not.
    """
    validated = [record["lines"] for record in history if record["kind"] == "validation"]
    if not validated or not validated[-1]:
        return 0.0
    train_seconds, lines = 0.0, 0
    for record in history:
        if record["kind"] == "train":
            train_seconds += (record["lines"] - lines) / max(record["lines_per_second"], 1e-9)
            lines = record["lines"]
    return float(max(0.0, history[-1]["seconds"] - train_seconds) / validated[-1])


def _to_json_lines(records: Sequence[Record]) -> bytes:
    lines = (to_json(record) for record in records)
    return "".join(f"{line}\n" for line in lines).encode()

"""What a run shows of itself: files made anew of its whole history each time, and a line of progress.

```
metrics.jsonl                              the records of training and validation
samples.jsonl                              lines of each validation with what was read
tensorboard/events.out.tfevents.00000000   the same figures for TensorBoard; its steps are lines trained on
curves.png                                 loss, CER of each dataset, learning rate, pace
```

All are pure functions of a history, whose records hold their own times, so that a run that goes on from a
checkpoint leaves what an undisturbed one leaves: nothing twice, nothing lost. A longer history's event file
begins with the shorter one's bytes, and a TensorBoard that is open reads on. Where a history goes on
otherwise than the file, as from an older checkpoint, that one is emptied and one with the next number begun.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ocr_ray.errors import StorageError
from ocr_ray.storage.location import Location, write_bytes
from ocr_ray.training.tracking.curves import draw_curves
from ocr_ray.training.tracking.tensorboard import make_events, write_events

log = logging.getLogger(__name__)

Record = Mapping[str, Any]
"""`kind` (train or validation), `epoch` from 1, `lines` and `step` of all epochs, `seconds`, and figures."""

MIN_INTERVAL_S = 10.0
MAX_SHARE = 0.01
"""Of the time, at most that is spent on writing, the writes after validations aside."""


def write_tracking(place: Location, history: Sequence[Record], samples: Sequence[Record]) -> None:
    """Write the files of a run, each whole or not at all but for the event file, which grows at its end."""
    write_bytes(place / "metrics.jsonl", _to_json_lines(history))
    write_bytes(place / "samples.jsonl", _to_json_lines(samples))
    write_events(place / "tensorboard", make_events(history))
    write_bytes(place / "curves.png", draw_curves(history))


class Tracker:
    """Writes the files of a run in a thread of its own, so that training does not wait for them.

    They are derived from what checkpoints keep: a write that fails is logged, the next one makes up for it.
    """

    def __init__(self, place: Location, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._place, self._clock = place, clock
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="tracking")
        self._writing: Future[None] | None = None
        self._latest: tuple[Sequence[Record], Sequence[Record]] | None = None
        self._next_s = -math.inf

    def update(self, history: Sequence[Record], samples: Sequence[Record]) -> None:
        """Take a history that is not changed later; write it if it is time and no write is under way.

        It is time after a validation, and else as seldom as `MAX_SHARE` says. Raises what an earlier write
        raised, other than errors of the disk or of S3.
        """
        self._latest = history, samples
        is_due = self._clock() >= self._next_s or (bool(history) and history[-1]["kind"] == "validation")
        if is_due and (self._writing is None or self._writing.done()):
            self._start()

    def close(self) -> None:
        """Write what was given last and not yet written, and end the thread."""
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
        try:
            write_tracking(self._place, history, samples)
        except (OSError, StorageError) as error:
            log.warning("%s could not be written, the next time all of it will be: %s", self._place, error)
        ended_s = self._clock()
        self._next_s = ended_s + max(MIN_INTERVAL_S, (ended_s - started_s) / MAX_SHARE)


def format_progress(history: Sequence[Record], *, epochs: int, lines_per_epoch: int) -> str:
    """Return how far training is, from a history whose last record is of training.

    The time left is that of the remaining lines at the pace of this record, and of the remaining validations
    at what those so far took.
    """
    record = history[-1]
    epoch, lines, pace = int(record["epoch"]), int(record["lines"]), float(record["lines_per_second"])
    num_left = max(0, epochs * lines_per_epoch - lines)
    seconds_left = num_left / max(pace, 1e-9) + num_left * _validation_seconds_per_line(history)
    minutes, seconds = divmod(round(seconds_left), 60)
    return (
        f"epoch {epoch} of {epochs}: {lines - (epoch - 1) * lines_per_epoch:,} of {lines_per_epoch:,} lines, "
        f"loss {record['loss']:.3f}, {pace:,.0f} lines/s, feed wait {100 * record['feed_wait_share']:.1f} %, "
        f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d} left"
    )


def _validation_seconds_per_line(history: Sequence[Record]) -> float:
    """Return the seconds of validations for each line trained on until the last of them.

    `seconds` count both, `lines_per_second` training alone.
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
    lines = (json.dumps(record, ensure_ascii=False, allow_nan=False) for record in records)
    return "".join(f"{line}\n" for line in lines).encode()

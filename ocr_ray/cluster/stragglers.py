"""Rows made by Ray Data, and those that hold up the end made a second time elsewhere.

As many tasks are handed to Ray at once as may ever run at once. So what waits for a CPU is what the
autoscaler sees: it grows a cluster without nodes to its limit in one step, and nothing is left of the demand
when the driver dies.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from statistics import median
from typing import Any

import ray
import ray.data
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ocr_ray.cluster.session import find_limit, list_nodes

log = logging.getLogger(__name__)

Row = dict[str, Any]
Make = Callable[[Row], Row]
PATIENCE, MIN_PATIENCE_S = 3.0, 5.0
"""A row is late after three times what the rows took in the median, and no sooner than after five seconds."""
POLL_S = 1.0


def map_rows(rows: Sequence[Row], make: Make, *, num_cpus: int | None) -> Iterator[Row]:
    """Yield what `make` returns for each row, as it is ready; each takes a CPU, `num_cpus` at most are used.

    `make` may be called twice with a row: where a node is lost, and where fewer rows than CPUs are left and
    one is late; what comes first counts.
    """
    timed, count = partial(_make_row, make=make), len(rows)
    size = min(count, num_cpus or count, find_limit(use_gpu=False) or count)
    dataset = ray.data.from_items(
        [{**row, "index": index} for index, row in enumerate(rows)], override_num_blocks=count
    ).map(timed, compute=ray.data.TaskPoolStrategy(size=size), num_cpus=1)
    # With it, Ray Data hands on as many tasks as there were CPUs up to twenty seconds ago.
    dataset.context.op_resource_reservation_enabled = False
    watch = _Watch(dataset, rows, timed, num_cpus)
    try:
        # iter_rows would hold each row back until the next is ready.
        tables: Iterable[Any] = dataset.iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        )
        for table in tables:
            for row in table.to_pylist():
                watch.add(row)
                yield row
        yield from watch.take_rest()
    finally:
        watch.stop()


def _make_row(row: Row, *, make: Make) -> Row:
    started_s = time.monotonic()
    made = make(row)
    node_id = ray.get_runtime_context().get_node_id()
    return {**made, "index": row["index"], "node": node_id, "seconds": time.monotonic() - started_s}


class _Watch:
    """A thread that starts late rows again, and ends the run of Ray Data once it is no longer needed."""

    def __init__(
        self,
        dataset: ray.data.Dataset,
        rows: Sequence[Row],
        timed: Make,
        num_cpus: int | None,
    ) -> None:
        self._dataset, self._timed, self._num_cpus = dataset, timed, num_cpus
        self._left = {index: {**row, "index": index} for index, row in enumerate(rows)}
        self._again: dict[int, ray.ObjectRef[Row]] = {}
        self._seconds: list[float] = []
        self._last: dict[str, tuple[float, float]] = {}
        """When each node made its last row, and how long that took."""
        self._ending_s: float | None = None
        """Since when fewer rows than CPUs are left."""
        self._stopped = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def add(self, row: Row) -> None:
        """Count a row that Ray Data made."""
        self._seconds.append(row["seconds"])
        self._last[row["node"]] = (time.monotonic(), row["seconds"])
        del self._left[row["index"]]

    def take_rest(self) -> Iterator[Row]:
        """Yield the rows that were made a second time, and Ray Data was stopped before it made them."""
        for index in list(self._left):
            yield ray.get(self._again[index])

    def stop(self) -> None:
        self._stopped.set()
        for task in list(self._again.values()):
            ray.cancel(task)

    def _run(self) -> None:
        while not self._stopped.wait(POLL_S):
            nodes = [node for node in list_nodes() if node["Resources"].get("CPU")]
            total = int(sum(node["Resources"]["CPU"] for node in nodes))
            num_cpus = min(total, self._num_cpus or total)
            left = dict(self._left)  # a copy: the other thread takes out what is made
            if not left or len(left) >= num_cpus:
                self._ending_s = None
                continue
            self._ending_s = self._ending_s or time.monotonic()
            if len(nodes) > 1:
                self._start_again(left, num_free=num_cpus - len(left) - len(self._again))
            if all(index in self._again for index in left) and self._are_ready(left):
                executor = self._dataset._current_executor
                assert executor is not None
                executor.shutdown(force=False)
                return

    def _are_ready(self, left: Iterable[int]) -> bool:
        tasks = [self._again[index] for index in left]
        return len(ray.wait(tasks, num_returns=len(tasks), timeout=0)[0]) == len(tasks)

    def _start_again(self, left: dict[int, Row], *, num_free: int) -> None:
        usual_s = median(self._seconds) if self._seconds else float("inf")
        assert self._ending_s is not None
        if time.monotonic() - self._ending_s < max(PATIENCE * usual_s, MIN_PATIENCE_S):
            return
        late = [index for index in left if index not in self._again][: max(0, num_free)]
        nodes = self._find_fast_nodes(usual_s)
        for number, index in enumerate(late):
            where = (
                NodeAffinitySchedulingStrategy(nodes[number % len(nodes)], soft=True) if nodes else "SPREAD"
            )
            task = ray.remote(_call).options(num_cpus=1, max_retries=-1, scheduling_strategy=where)
            self._again[index] = task.remote(self._timed, left[index])
        if late:
            log.info("%d rows take longer than %.1f s, the median: made again elsewhere", len(late), usual_s)

    def _find_fast_nodes(self, usual_s: float) -> list[str]:
        """Return the nodes that have just made a row and not slowly, the fastest first."""
        assert self._ending_s is not None
        since_s = self._ending_s - usual_s
        fast = [
            (seconds, node)
            for node, (at_s, seconds) in self._last.items()
            if at_s >= since_s and seconds <= PATIENCE * usual_s
        ]
        return [node for _, node in sorted(fast)]


def _call(make: Make, row: Row) -> Row:
    return make(row)

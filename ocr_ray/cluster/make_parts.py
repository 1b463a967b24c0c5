"""Making the parts of a dataset, one task per part: with Ray Data on clusters and GPUs, else plain tasks.

A task that is repeated writes the same file again, and no image passes through the object store.

Where a job has started Ray on this machine, Ray Data would first start two actors of its own. On two cores
the first part of a small dataset then came 6.5 s later, and 11 s of CPU time were spent.
"""

import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any

import ray

from ocr_ray.cluster.attempts import DEADLY, Attempts, find_deadly
from ocr_ray.cluster.capacity import count_workers, find_worker_limit
from ocr_ray.cluster.map_tasks import Shared, fetch_shared, map_tasks
from ocr_ray.cluster.produce_options import NamesItems, PartMaker, ProduceOptions
from ocr_ray.cluster.progress import Progress, count_part
from ocr_ray.cluster.ray_state import joins_cluster
from ocr_ray.cluster.session import unwrap_worker_errors
from ocr_ray.dataset.lines import PartSpec, PartStats
from ocr_ray.dataset.parts import read_part_footer, verify_rows, write_part
from ocr_ray.dataset.plan import PLAN, Plan
from ocr_ray.dataset.text_statistics import TextStatistics
from ocr_ray.errors import InputError, ProductionError
from ocr_ray.storage.location import Location, exists
from ocr_ray.storage.strict_json import parse_json, to_json

Made = tuple[PartStats, TextStatistics, bool]
"""The statistics of a part, and whether it had to be made."""


@dataclass(frozen=True, slots=True)
class PartTask:
    """Makes a part and returns its statistics; with `verify`, keeps one whose rows agree with its footer."""

    out: Location
    config_sha256: str
    make: PartMaker
    shared: Any
    verify: bool

    def __call__(self, spec: PartSpec) -> Made:
        if self.out.is_local and not exists(self.out / PLAN):
            raise InputError(
                f"a local folder must be visible to every node of the cluster, {self.out} is not on "
                f"{socket.gethostname()}; use s3:// or a shared disk"
            )
        footer = read_part_footer(self.out, spec, self.config_sha256) if self.verify else None
        if footer is not None and verify_rows(self.out, *footer):
            return *footer, False
        started_s = time.monotonic()
        stats, texts = write_part(self.out, spec, self.config_sha256, self.make(self.shared, spec))
        count_part(self.out.name, stats, time.monotonic() - started_s)
        return stats, texts, True

    def explain(self, shared: Shared, spec: PartSpec) -> str:
        """Return a message about a part that ends its worker, and the item that does so if it is one."""
        items = [replace(spec, start=number, stop=number + 1) for number in range(spec.start, spec.stop)]
        item = find_deadly(partial(_make_item, shared), items)
        if item is None:
            return f"{spec.path} {DEADLY}; use fewer --num-cpus, or machines with more memory"
        inputs = self.shared
        name = inputs.name_item(spec.split, item.start) if isinstance(inputs, NamesItems) else item.start
        return f"{spec.path} {DEADLY}: it is {name}; remove or repair it, and run the job again"


def make_parts(
    plan: Plan, pending: list[PartSpec], task: PartTask, options: ProduceOptions
) -> Iterator[Made]:
    """Return an iterator that makes the pending parts, each as soon as it is finished. Ray must be running.

    Raises:
        InputError: there is no GPU and none can start; before any part is made.
    """
    num_gpus = count_workers(None, use_gpu=True) if options.use_gpu else 0
    if num_gpus or joins_cluster():
        import_module("ray.data")  # before `unwrap_worker_errors`, which sets it up
        made = _with_ray_data(pending, task, num_cpus=options.num_cpus, num_gpus=num_gpus)
    else:
        made = map_tasks(task, pending, num_cpus=options.num_cpus, explain=task.explain)
    return _show(made, Progress(task.out.name, num_parts=len(plan.parts), num_pending=len(pending)))


def _show(made: Iterator[Made], progress: Progress) -> Iterator[Made]:
    with unwrap_worker_errors():
        for stats, texts, was_made in made:
            progress.add(stats)
            yield stats, texts, was_made


def _with_ray_data(
    parts: list[PartSpec], task: PartTask, *, num_cpus: int | None, num_gpus: int
) -> Iterator[Made]:
    """Yield each part when it is finished.

    As many tasks are submitted as can ever run in parallel, because the autoscaler counts the tasks that wait
    for a CPU: it grows an empty cluster to its limit in one step, and no demand remains if the driver dies.
    """
    make = partial(_make_row, shared=[ray.put(task)], attempts=Attempts())
    count = len(parts)
    rows = ray.data.from_items([{"spec": to_json(asdict(part))} for part in parts], override_num_blocks=count)
    if num_gpus:
        size = min(num_gpus, num_cpus or num_gpus, count)
        made = rows.map(
            _GpuWorker,  # type: ignore[arg-type]
            fn_constructor_args=(make,),
            compute=ray.data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1),
            num_cpus=1,
            num_gpus=1,
        )
    else:
        size = min(count, num_cpus or count, find_worker_limit(use_gpu=False) or count)
        made = rows.map(make, compute=ray.data.TaskPoolStrategy(size=size), num_cpus=1)
        # The reservation limits tasks to the number of CPUs, which is up to twenty seconds old.
        made.context.op_resource_reservation_enabled = False
    # iter_rows would delay each row until the next is ready.
    tables: Iterable[Any] = made.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    for table in tables:
        for row in table.to_pylist():
            yield PartStats.from_json(row["stats"]), TextStatistics.from_json(row["texts"]), row["made"]


class _GpuWorker:
    """An actor that makes parts and keeps its GPU and model from part to part.

    Ray ends the process of a task that had a GPU, so that a task per part would load the model each time.
    """

    def __init__(self, make: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._make = make

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return self._make(row)


def _make_row(row: dict[str, Any], *, shared: Shared, attempts: Attempts) -> dict[str, Any]:
    """Make a part with the `PartTask` in `shared`; return its statistics, and whether it had to be made.

    Raises:
        ProductionError: the part has ended its worker too often.
    """
    task: PartTask = fetch_shared(shared[0])
    spec = PartSpec(**parse_json(row["spec"]))
    with attempts.attempt(spec.path) as is_deadly:
        if is_deadly:
            raise ProductionError(task.explain(shared, spec))
        stats, texts, was_made = task(spec)
    return {"stats": stats.to_json(), "texts": texts.to_json(), "made": was_made}


def _make_item(shared: Shared, item: PartSpec) -> None:
    task: PartTask = fetch_shared(shared[0])
    for _ in task.make(task.shared, item):
        pass

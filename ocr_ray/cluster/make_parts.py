"""Making the parts of a dataset over the cluster, one Ray task per part.

A task that is repeated writes the same file again, and no image passes through the object store.
"""

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ocr_ray.cluster.attempts import DEADLY, find_deadly
from ocr_ray.cluster.capacity import count_workers
from ocr_ray.cluster.map_tasks import CpuTasks, GpuActors, Shared, fetch_shared, run_tasks
from ocr_ray.cluster.produce_options import NamesItems, PartMaker, ProduceOptions
from ocr_ray.cluster.progress import Progress, count_part
from ocr_ray.cluster.session import unwrap_worker_errors
from ocr_ray.dataset.lines import PartSpec, PartStats
from ocr_ray.dataset.parts import read_part_footer, verify_rows, write_part
from ocr_ray.dataset.plan import PLAN, Plan
from ocr_ray.dataset.text_statistics import TextStatistics
from ocr_ray.errors import InputError
from ocr_ray.storage.location import Location, exists

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
    workers: CpuTasks | GpuActors = CpuTasks(options.num_cpus)
    if options.use_gpu:
        num_gpus = count_workers(None, use_gpu=True)
        workers = GpuActors(min(num_gpus, options.num_cpus or num_gpus))
    return _run(plan, pending, task, workers)


def _run(
    plan: Plan, pending: list[PartSpec], task: PartTask, workers: CpuTasks | GpuActors
) -> Iterator[Made]:
    progress = Progress(task.out.name, num_parts=len(plan.parts), num_pending=len(pending))
    with unwrap_worker_errors():
        for stats, texts, was_made in run_tasks(task, pending, workers, explain=task.explain):
            progress.add(stats)
            yield stats, texts, was_made


def _make_item(shared: Shared, item: PartSpec) -> None:
    task: PartTask = fetch_shared(shared[0])
    for _ in task.make(task.shared, item):
        pass

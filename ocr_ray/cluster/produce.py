"""The producer of datasets: makes the missing parts of a plan over the cluster, then card and manifest.

The name of a part depends only on its split and index, its content only on the plan. A task that Ray repeats
writes the same file again, a second run makes only the missing parts, two drivers at the same location write
the same bytes, and no image passes through the object store.
"""

import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import ray
import ray.data

from ocr_ray.cluster.attempts import DEADLY, Attempts, find_deadly
from ocr_ray.cluster.capacity import find_worker_limit
from ocr_ray.cluster.map_tasks import fetch_shared
from ocr_ray.cluster.monitoring import monitoring
from ocr_ray.cluster.produce_options import ProduceOptions
from ocr_ray.cluster.progress import Progress, count_part
from ocr_ray.cluster.session import unwrap_worker_errors
from ocr_ray.dataset.card import NUM_SHOWN_LINES, dataset_card
from ocr_ray.dataset.contact_sheet import draw_contact_sheet
from ocr_ray.dataset.lines import Manifest, PartRow, PartSpec, PartStats
from ocr_ray.dataset.manifest import build_manifest
from ocr_ray.dataset.parts import find_done, read_part_footer, read_random_lines, verify_rows, write_part
from ocr_ray.dataset.plan import CARD, CONTACT_SHEET, MANIFEST, PLAN, Plan, holds_plan, write_plan
from ocr_ray.dataset.text_statistics import TextStatistics
from ocr_ray.errors import InputError, ProductionError
from ocr_ray.storage.location import Location, exists, list_files, write_bytes, write_json
from ocr_ray.storage.strict_json import parse_json, to_json

log = logging.getLogger(__name__)

PartMaker = Callable[[Any, PartSpec], Iterator[PartRow]]
"""(shared inputs, part) -> its lines and rejects, in order, and counts; a pure function."""


@runtime_checkable
class NamesItems(Protocol):
    """Shared inputs that can name an item of a part, such as a page."""

    def name_item(self, split: str, number: int) -> str: ...


@dataclass(slots=True)
class FinishedParts:
    """Statistics of the finished parts; the texts of all parts are added up."""

    stats: dict[PartSpec, PartStats] = field(default_factory=dict)
    texts: TextStatistics = field(default_factory=TextStatistics)
    num_made: int = 0
    """Parts made in this run."""

    def add(self, stats: PartStats, texts: TextStatistics, *, was_made: bool = False) -> None:
        self.stats[stats.spec] = stats
        self.texts.merge(texts)
        self.num_made += was_made


def produce(
    out: Location, plan: Plan, make: PartMaker, shared: Any, options: ProduceOptions
) -> dict[str, Any]:
    """Make the parts that are missing or do not verify, then card and manifest; return a summary.

    `shared` reaches each worker once, through Ray's object store. Ray must be running, and `check_reserved`
    must have accepted the plan.

    Raises:
        InputError: a node does not see the local folder `out`.
        ProductionError: there are no lines or too many rejects, another run has changed the plan, or a worker
            cannot load `make` and `shared`; the parts stay, without a manifest.
    """
    finished = FinishedParts()
    for stats, texts in find_done(out, plan):
        finished.add(stats, texts)
    pending = [part for part in plan.parts if part not in finished.stats]
    if pending or not holds_plan(out, plan):
        write_plan(out, plan)
    if options.verify == "rows":
        pending, finished = list(plan.parts), FinishedParts()
    if pending:
        for stats, texts, was_made in _make_parts(out, plan, pending, (make, shared), options):
            finished.add(stats, texts, was_made=was_made)
    _check_rejects(finished.stats.values(), options.max_reject_fraction)
    parts = [finished.stats[part] for part in plan.parts]
    manifest = build_manifest(plan, parts, texts=finished.texts, versions={"ray": ray.__version__})
    if finished.num_made or not exists(out / MANIFEST):
        _write_manifest(out, plan, manifest, parts)
    unlisted = sorted(set(list_files(out)) - set(plan.names))
    if unlisted:
        log.warning("%s holds %d files that the dataset does not own: %s", out, len(unlisted), unlisted[:5])
    num_kept = len(plan.parts) - finished.num_made
    log.info("%s: %d parts made, %d kept", out, finished.num_made, num_kept)
    return {
        "out_uri": out.uri,
        "parts_made": finished.num_made,
        "parts_kept": num_kept,
        **manifest.counts,
        "rejects": manifest.rejects,
        **manifest.counted,
        "unlisted_files": len(unlisted),
    }


def _make_parts(
    out: Location,
    plan: Plan,
    pending: list[PartSpec],
    inputs: tuple[PartMaker, Any],
    options: ProduceOptions,
) -> Iterator[tuple[PartStats, TextStatistics, bool]]:
    """Make the pending parts over the cluster; yield their statistics, and whether each had to be made."""
    make_row = partial(
        _make_row,
        out=out,
        config_sha256=plan.config_sha256,
        inputs=ray.put(inputs),
        attempts=Attempts(),
        verify=options.verify == "rows",
    )
    progress = Progress(out.name, num_parts=len(plan.parts), num_pending=len(pending))
    with unwrap_worker_errors():
        for stats, texts, was_made in _run_parts(pending, make_row, options):
            progress.add(stats)
            yield stats, texts, was_made


def _run_parts(
    parts: list[PartSpec], make: Callable[[dict[str, Any]], dict[str, Any]], options: ProduceOptions
) -> Iterator[tuple[PartStats, TextStatistics, bool]]:
    """Yield the statistics of each part when it is finished, and whether it had to be made.

    As many tasks are submitted as can ever run in parallel, because the autoscaler counts the tasks that wait
    for a CPU: it grows an empty cluster to its limit in one step, and no demand remains if the driver dies.
    """
    count = len(parts)
    rows = ray.data.from_items([{"spec": to_json(asdict(part))} for part in parts], override_num_blocks=count)
    if options.num_gpus:
        size = min(options.num_gpus, options.num_cpus or options.num_gpus, count)
        made = rows.map(
            _GpuWorker,  # type: ignore[arg-type]
            fn_constructor_args=(make,),
            compute=ray.data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1),
            num_cpus=1,
            num_gpus=1,
        )
    else:
        size = min(count, options.num_cpus or count, find_worker_limit(use_gpu=False) or count)
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


def _make_row(
    row: dict[str, Any],
    *,
    out: Location,
    config_sha256: str,
    inputs: "ray.ObjectRef[tuple[PartMaker, Any]]",
    attempts: Attempts,
    verify: bool,
) -> dict[str, Any]:
    """Make a part, and return its statistics; with `verify`, keep a part whose rows agree with its footer.

    `inputs`: the maker of parts and its shared inputs.

    Raises:
        ProductionError: the part has ended its worker too often.
    """
    if out.is_local and not exists(out / PLAN):
        raise InputError(
            f"a local folder must be visible to every node of the cluster, {out} is not on "
            f"{socket.gethostname()}; use s3:// or a shared disk"
        )
    spec = PartSpec(**parse_json(row["spec"]))
    footer = read_part_footer(out, spec, config_sha256) if verify else None
    is_valid = footer is not None and verify_rows(out, *footer)
    if footer is None or not is_valid:
        started_s = time.monotonic()
        make, shared = fetch_shared(inputs)
        with attempts.attempt(spec.path) as is_deadly:
            if is_deadly:
                raise ProductionError(_describe_deadly(inputs, spec))
            footer = write_part(out, spec, config_sha256, make(shared, spec))
        count_part(out.name, footer[0], time.monotonic() - started_s)
    stats, texts = footer
    return {"stats": stats.to_json(), "texts": texts.to_json(), "made": not is_valid}


def _describe_deadly(inputs: "ray.ObjectRef[tuple[PartMaker, Any]]", spec: PartSpec) -> str:
    """Return a message about a part that ends its worker, and the item that does so if it is one."""
    items = [replace(spec, start=number, stop=number + 1) for number in range(spec.start, spec.stop)]
    item = find_deadly(partial(_make_item, [inputs]), items)
    if item is None:
        return f"{spec.path} {DEADLY}; use fewer --num-cpus, or machines with more memory"
    _, shared = fetch_shared(inputs)
    name = shared.name_item(spec.split, item.start) if isinstance(shared, NamesItems) else str(item.start)
    return f"{spec.path} {DEADLY}: it is {name}; remove or repair it, and run the job again"


def _make_item(shared: "list[ray.ObjectRef[tuple[PartMaker, Any]]]", item: PartSpec) -> None:
    make, inputs = fetch_shared(shared[0])
    for _ in make(inputs, item):
        pass


def _check_rejects(parts: Iterable[PartStats], max_reject_fraction: float) -> None:
    rejects: Counter[str] = Counter()
    lines = 0
    for part in parts:
        lines += part.rows
        rejects.update(part.rejects)
    if not lines:
        raise ProductionError(f"a dataset must have at least one line, got none; rejects: {dict(rejects)}")
    if rejects.total() > max_reject_fraction * (lines + rejects.total()):
        raise ProductionError(
            f"rejects must be at most {max_reject_fraction:.2%} of all, got {rejects.total()} rejects and "
            f"{lines} lines: {dict(rejects)}; see rejects/, or raise --max-reject-fraction"
        )


def _write_manifest(out: Location, plan: Plan, manifest: Manifest, parts: list[PartStats]) -> None:
    """Write contact sheet, card and manifest; ProductionError if another run has changed the plan.

    A contact sheet or card that cannot be made is left out.
    """
    if not holds_plan(out, plan):
        raise ProductionError(f"another run has changed {out / PLAN}; run the job again")
    lines = read_random_lines(out, parts, key=plan.config_sha256, number=NUM_SHOWN_LINES)
    made: dict[str, bytes] = {}
    with monitoring("the contact sheet"):
        made[CONTACT_SHEET] = draw_contact_sheet(lines)
    with monitoring("the dataset card"):
        made[CARD] = dataset_card(manifest, lines).encode()
    for name, content in made.items():
        write_bytes(out / name, content)
    write_json(out / MANIFEST, asdict(manifest))

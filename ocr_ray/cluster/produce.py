"""The engine of all producers: part specs in, one Parquet part each, stats back; the manifest last.

A part's name depends on its split and index alone, its content on the plan alone. So a task that Ray runs
twice writes the same file again, a second run makes only what is missing, two drivers at one place write the
same bytes, and no pixel passes through the object store.
"""

import json
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import ray
import ray.data

from ocr_ray.cluster.capacity import find_worker_limit
from ocr_ray.cluster.map_tasks import fetch_shared
from ocr_ray.cluster.produce_options import ProduceOptions
from ocr_ray.cluster.progress import Progress, count_part
from ocr_ray.cluster.session import unwrap_worker_errors
from ocr_ray.dataset.card import NUM_SHOWN_LINES, dataset_card
from ocr_ray.dataset.contact_sheet import draw_contact_sheet
from ocr_ray.dataset.lines import Manifest, PartSpec, PartStats, Row
from ocr_ray.dataset.manifest import build_manifest
from ocr_ray.dataset.parts import find_done, read_part_footer, read_random_lines, rows_verify, write_part
from ocr_ray.dataset.plan import CARD, MANIFEST, PICTURE, PLAN, Plan, holds_plan, write_plan
from ocr_ray.dataset.text_statistics import TextStatistics
from ocr_ray.errors import InputError, ProductionError
from ocr_ray.storage.location import Location, exists, list_files, write_bytes, write_json

log = logging.getLogger(__name__)

PartMaker = Callable[[Any, PartSpec], Iterator[Row]]
"""(what all parts share, the part) -> its lines and rejects, in order, and counts; a pure function."""


@dataclass(slots=True)
class Tally:
    """What is known of the parts that are there; its size does not grow with their texts."""

    stats: dict[PartSpec, PartStats] = field(default_factory=dict)
    balance: TextStatistics = field(default_factory=TextStatistics)
    num_made: int = 0

    def add(self, stats: PartStats, balance: TextStatistics) -> None:
        self.stats[stats.spec] = stats
        self.balance.merge(balance)


def produce(
    out: Location, plan: Plan, make: PartMaker, shared: Any, options: ProduceOptions
) -> dict[str, Any]:
    """Make the parts that are missing or do not verify, then card and manifest; return a summary.

    `shared` reaches each worker once, through Ray's object store. Ray must be running, and the plan's claim
    to `out` have been checked.

    Raises:
        InputError: a node does not see the local folder `out`.
        ProductionError: no lines, more rejects than `max_reject_fraction`, another run has changed the
            plan meanwhile, or a worker cannot load `make` and `shared`; the parts stay, without a manifest.
    """
    tally = Tally()
    for stats, balance in find_done(out, plan):
        tally.add(stats, balance)
    pending = [part for part in plan.parts if part not in tally.stats]
    if pending or not holds_plan(out, plan):
        write_plan(out, plan)
    verify = options.verify == "rows"
    if verify:
        pending, tally = list(plan.parts), Tally()
    if pending:
        make_row = partial(
            _make_row,
            out=out,
            config_sha256=plan.config_sha256,
            inputs=ray.put((make, shared)),
            verify=verify,
        )
        progress = Progress(out.name, num_parts=len(plan.parts), num_pending=len(pending))
        with unwrap_worker_errors():
            for stats, balance, was_made in _run_parts(pending, make_row, options):
                tally.add(stats, balance)
                tally.num_made += was_made
                progress.add(stats)
    _check_rejects(tally.stats.values(), options.max_reject_fraction)
    parts = [tally.stats[part] for part in plan.parts]
    manifest = build_manifest(plan, parts, balance=tally.balance, versions={"ray": ray.__version__})
    if tally.num_made or not exists(out / MANIFEST):
        _write_manifest(out, plan, manifest, parts)
    unlisted = sorted(set(list_files(out)) - set(plan.names))
    if unlisted:
        log.warning("%s holds %d files that the dataset does not own: %s", out, len(unlisted), unlisted[:5])
    num_kept = len(plan.parts) - tally.num_made
    log.info("%s: %d parts made, %d kept", out, tally.num_made, num_kept)
    return {
        "out_uri": out.uri,
        "parts_made": tally.num_made,
        "parts_kept": num_kept,
        **manifest.counts,
        "rejects": manifest.rejects,
        **manifest.counted,
        "unlisted_files": len(unlisted),
    }


def _run_parts(
    parts: list[PartSpec], make: Callable[[dict[str, Any]], dict[str, Any]], options: ProduceOptions
) -> Iterator[tuple[PartStats, TextStatistics, bool]]:
    """Yield what is known of each part as it is done, and whether it was made.

    As many tasks are handed to Ray at once as may ever run at once. So what waits for a CPU is what the
    autoscaler sees: it grows a cluster without nodes to its limit in one step, and no demand is left when the
    driver dies.
    """
    count = len(parts)
    rows = ray.data.from_items(
        [{"spec": json.dumps(asdict(part))} for part in parts], override_num_blocks=count
    )
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
        # With it, Ray Data hands on as many tasks as there were CPUs up to twenty seconds ago.
        made.context.op_resource_reservation_enabled = False
    # iter_rows would hold each row back until the next is ready.
    tables: Iterable[Any] = made.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    for table in tables:
        for row in table.to_pylist():
            yield PartStats.from_json(row["stats"]), TextStatistics.from_json(row["balance"]), row["made"]


class _GpuWorker:
    """An actor that makes parts: it keeps its GPU, and what it has loaded there, from one to the next.

    Ray ends the process of a task that held a GPU, so that each part would load its model again.
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
    verify: bool,
) -> dict[str, Any]:
    """Make a part; with `verify`, unless it is there and its rows are what its footer says.

    `inputs` are the maker of parts and what all of them share.
    """
    if out.is_local and not exists(out / PLAN):
        raise InputError(
            f"a local folder must be seen by every node of the cluster, {out} is not seen by "
            f"{socket.gethostname()}; use s3:// or a shared disk"
        )
    spec = PartSpec(**json.loads(row["spec"]))
    found = read_part_footer(out, spec, config_sha256) if verify else None
    if found and not rows_verify(out, *found):
        found = None
    made = found is None
    if found is None:
        started_s = time.monotonic()
        make, shared = fetch_shared(inputs)
        found = write_part(out, spec, config_sha256, make(shared, spec))
        count_part(out.name, found[0], time.monotonic() - started_s)
    stats, balance = found
    return {"stats": stats.to_json(), "balance": balance.to_json(), "made": made}


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
            f"rejects must be at most {max_reject_fraction:.2%} of all, got {rejects.total()} beside "
            f"{lines} lines: {dict(rejects)}; see rejects/, or raise --max-reject-fraction"
        )


def _write_manifest(out: Location, plan: Plan, manifest: Manifest, parts: list[PartStats]) -> None:
    """Write picture, card and manifest; ProductionError if the plan at `out` is now another's."""
    if not holds_plan(out, plan):
        raise ProductionError(f"another run has changed {out / PLAN} meanwhile; run the job again")
    lines = read_random_lines(out, parts, key=plan.config_sha256, number=NUM_SHOWN_LINES)
    write_bytes(out / PICTURE, draw_contact_sheet(lines))
    write_bytes(out / CARD, dataset_card(manifest, lines).encode())
    write_json(out / MANIFEST, asdict(manifest))

"""The engine of all producers: part specs in, one Parquet part each, stats back; the manifest last.

A part's name depends on its split and index alone, its content on the plan alone. So a task that Ray runs
twice writes the same file again, a second run makes only what is missing, and no pixel passes through the
object store.
"""

import json
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

import ray
import ray.data

from ocr_ray.cards import dataset_card
from ocr_ray.errors import InputError, ProductionError
from ocr_ray.lines import PartSpec, PartStats, Reject, TextLine
from ocr_ray.parts import (
    CARD,
    MANIFEST,
    PLAN,
    Plan,
    build_manifest,
    find_done,
    read_part_stats,
    rows_verify,
    write_part,
    write_plan,
)
from ocr_ray.storage import Location, exists, list_files, read_json, write_bytes, write_json

log = logging.getLogger(__name__)

Verification = Literal["footers", "rows"]
PartMaker = Callable[[Any, PartSpec], tuple[list[TextLine], list[Reject]]]
"""(what all parts share, the part) -> its lines and rejects, in order; a pure function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """How parts are made; nothing here changes what they hold."""

    num_cpus: int | None = None
    """The most parts made at once; None: as many as the cluster has CPUs."""
    verify: Verification = "footers"
    max_reject_fraction: float = 0.01


def produce(out: Location, plan: Plan, make: PartMaker, shared: Any, engine: Engine) -> dict[str, Any]:
    """Make the parts that are missing or do not verify, then card and manifest; return a summary.

    `shared` reaches each worker once, through Ray's object store. Ray must be running, and the plan's claim
    to `out` have been checked.

    Raises:
        ProductionError: no lines, or more rejects than `engine.max_reject_fraction`; the parts stay, no
            manifest is written.
    """
    kept = find_done(out, plan)
    pending = [part for part in plan.parts if part not in kept or engine.verify == "rows"]
    changed = not exists(out / PLAN) or read_json(out / PLAN)["config"] != json.loads(json.dumps(plan.config))
    if changed or len(kept) < len(plan.parts):
        write_plan(out, plan)
    stats = dict(kept)
    made = 0
    if pending:
        make_row = partial(
            _make_row,
            out=out,
            config_sha256=plan.config_sha256,
            make=make,
            shared=ray.put(shared),
            kept=frozenset(kept),
        )
        for part_stats, was_made in _run_parts(out, pending, make_row, engine):
            stats[part_stats.spec] = part_stats
            made += was_made
    _check_rejects(stats.values(), engine.max_reject_fraction)
    manifest = build_manifest(plan, [stats[part] for part in plan.parts], {"ray": ray.__version__})
    if made or not exists(out / MANIFEST):
        write_bytes(out / CARD, dataset_card(manifest).encode())
        write_json(out / MANIFEST, asdict(manifest))
    unlisted = sorted(set(list_files(out)) - set(plan.names))
    if unlisted:
        log.warning("%s holds %d files that the dataset does not own: %s", out, len(unlisted), unlisted[:5])
    log.info("%s: %d parts made, %d kept", out, made, len(plan.parts) - made)
    return {
        "out_uri": out.uri,
        "parts_made": made,
        "parts_kept": len(plan.parts) - made,
        **manifest.counts,
        "rejects": manifest.rejects,
        "unlisted_files": len(unlisted),
    }


def _run_parts(
    out: Location, parts: list[PartSpec], make: Callable[[dict[str, Any]], dict[str, Any]], engine: Engine
) -> Iterator[tuple[PartStats, bool]]:
    """Yield the stats of each part as it is done, and whether it was made."""
    rows = [{"spec": json.dumps(asdict(part))} for part in parts]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        make, compute=ray.data.TaskPoolStrategy(size=engine.num_cpus), num_cpus=1
    )
    started, lines = time.monotonic(), 0
    for done, row in enumerate(dataset.iter_rows(), start=1):
        stats = replace(PartStats.from_json(row["stats"]), size_bytes=row["size_bytes"])
        lines += stats.rows if row["made"] else 0
        rate = lines / (time.monotonic() - started)
        log.info("%s: %d of %d parts, %d lines made, %.0f lines/s", out.name, done, len(parts), lines, rate)
        yield stats, row["made"]


def _make_row(
    row: dict[str, Any],
    *,
    out: Location,
    config_sha256: str,
    make: PartMaker,
    shared: "ray.ObjectRef[Any]",
    kept: frozenset[PartSpec],
) -> dict[str, Any]:
    """Make a part, unless it is among those `kept` and its rows verify."""
    if not exists(out / PLAN):
        raise InputError(
            f"a local folder must be seen by every node of the cluster, {out} is not seen by "
            f"{socket.gethostname()}; use s3:// or a shared disk"
        )
    spec = PartSpec(**json.loads(row["spec"]))
    stats = read_part_stats(out, spec, config_sha256) if spec in kept else None
    made = stats is None or not rows_verify(out, stats)
    if made:
        lines, rejects = make(_fetch_shared(shared), spec)
        stats = write_part(out, spec, config_sha256, lines, rejects)
    assert stats is not None
    return {"stats": stats.to_json(), "size_bytes": stats.size_bytes, "made": made}


_shared: dict[str, Any] = {}


def _fetch_shared(ref: "ray.ObjectRef[Any]") -> Any:
    """Return what all parts share; a worker process fetches it once."""
    if ref.hex() not in _shared:
        _shared.clear()
        _shared[ref.hex()] = ray.get(ref)
    return _shared[ref.hex()]


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

"""The producer of datasets: makes the missing parts of a plan over the cluster, then card and manifest.

The name of a part depends only on its split and index, its content only on the plan. A task that Ray repeats
writes the same file again, a second run makes only the missing parts, two drivers at the same location write
the same bytes, and no image passes through the object store.
"""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ocr_ray.cluster.monitoring import monitoring
from ocr_ray.cluster.produce_options import PartMaker, ProduceOptions
from ocr_ray.dataset.card import NUM_SHOWN_LINES, dataset_card
from ocr_ray.dataset.contact_sheet import draw_contact_sheet
from ocr_ray.dataset.lines import Manifest, PartSpec, PartStats
from ocr_ray.dataset.manifest import build_manifest
from ocr_ray.dataset.parts import find_done, read_random_lines
from ocr_ray.dataset.plan import CARD, CONTACT_SHEET, MANIFEST, PLAN, Plan, holds_plan, write_plan
from ocr_ray.dataset.text_statistics import TextStatistics
from ocr_ray.errors import ProductionError
from ocr_ray.storage.location import (
    Location,
    exists,
    list_files,
    read_bytes,
    read_json,
    write_bytes,
    write_json,
)

log = logging.getLogger(__name__)


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
    out: Location,
    plan: Plan,
    inputs: tuple[PartMaker, Any],
    options: ProduceOptions,
    *,
    reads: Iterable[Location] = (),
) -> dict[str, Any]:
    """Make the parts that are missing or do not verify, then card and manifest; return a summary.

    `inputs` are the maker of parts and its shared inputs, which reach each worker once, through Ray's object
    store. `reads` are the folders that every node must see. Ray is imported and started only if parts are to
    be made or verified. `check_reserved` must have accepted the plan.

    Raises:
        InputError: a node does not see a local folder, or there is no GPU.
        ProductionError: there are no lines or too many rejects, another run has changed the plan, or a worker
            cannot load `inputs`; the parts stay, without a manifest.
    """
    finished = FinishedParts()
    for stats, texts in find_done(out, plan):
        finished.add(stats, texts)
    pending = [part for part in plan.parts if part not in finished.stats]
    needs_plan = bool(pending) or not holds_plan(out, plan)
    if options.verify == "rows":
        pending, finished = list(plan.parts), FinishedParts()
    if pending:
        from ocr_ray.cluster.make_parts import PartTask, make_parts
        from ocr_ray.cluster.session import ray_session

        task = PartTask(out, plan.config_sha256, *inputs, verify=options.verify == "rows")
        with ray_session(num_cpus=options.num_cpus, reads=reads, writes=[out]):
            made = make_parts(plan, pending, task, options)
            if needs_plan:
                write_plan(out, plan)
            for stats, texts, was_made in made:
                finished.add(stats, texts, was_made=was_made)
    elif needs_plan:
        write_plan(out, plan)
    _check_rejects(out, finished.stats.values(), options.max_reject_fraction)
    parts = [finished.stats[part] for part in plan.parts]
    manifest = build_manifest(plan, parts, texts=finished.texts, versions={"ray": version("ray")})
    if finished.num_made or not _holds_license(out, plan):
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


def _holds_license(out: Location, plan: Plan) -> bool:
    """Return whether there is a manifest, with the licence that was given now, if any."""
    if not exists(out / MANIFEST):
        return False
    given = plan.flags.get("license")
    return given is None or (read_json(out / MANIFEST).get("flags") or {}).get("license") == given


def _check_rejects(out: Location, parts: Iterable[PartStats], max_reject_fraction: float) -> None:
    rejects: Counter[str] = Counter()
    lines, first = 0, None
    for part in parts:
        lines += part.rows
        rejects.update(part.rejects)
        first = first or (out / part.spec.rejects_path if part.num_rejects else None)
    found = f"{dict(rejects)}; the first is {_describe_first(first)}" if first else "none"
    if not lines:
        raise ProductionError(f"a dataset must have at least one line, got none; rejects: {found}")
    if rejects.total() > max_reject_fraction * (lines + rejects.total()):
        raise ProductionError(
            f"rejects must be at most {max_reject_fraction:.2%} of all, got {rejects.total()} rejects and "
            f"{lines} lines: {found}; all are in {out / 'rejects'}; mend them, or raise --max-reject-fraction"
        )


def _describe_first(rejects: Location) -> str:
    """Return where the first reject of a part comes from, and its reason."""
    first = pq.read_table(pa.BufferReader(read_bytes(rejects))).slice(0, 1).to_pylist()[0]
    place = ", ".join(
        f"{name} {first[column]}"
        for name, column in (("page", "page_id"), ("box", "box"), ("line", "number"))
        if first[column] is not None
    )
    return f"{place}: {first['reason']}" + (f" ({first['detail']})" if first["detail"] else "")


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

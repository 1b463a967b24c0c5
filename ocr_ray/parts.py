"""The files of a dataset: its plan, its parts, and the manifest that makes it complete.

plan.json is written first and owns the names it lists; a part's existence is the commit of its rows and
rejects.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ocr_ray.errors import InputError
from ocr_ray.lines import (
    DIGEST_MODULUS,
    SCHEMA,
    SPLITS,
    Manifest,
    PartSpec,
    PartStats,
    Reject,
    TextLine,
    lines_to_table,
    rejects_to_table,
    summarize_rows,
    table_to_lines,
)
from ocr_ray.storage import (
    Location,
    check_reachable,
    exists,
    list_files,
    read_bytes,
    read_json,
    require_folder,
    write_bytes,
    write_json,
)

ROWS_PER_GROUP = 256
PLAN, MANIFEST, CARD = "plan.json", "manifest.json", "README.md"
DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException)
"""What reading a damaged Parquet file or its footer raises."""
GROWING_FIELD = "num_lines"
"""The one field of a plan that may change, upwards: more lines leave the earlier ones as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a dataset is to hold: the configuration that decides its rows, and its parts."""

    config: dict[str, Any]
    parts: tuple[PartSpec, ...]

    @property
    def config_sha256(self) -> str:
        fixed = {name: value for name, value in self.config.items() if name != GROWING_FIELD}
        canonical = json.dumps(fixed, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def names(self) -> list[str]:
        """The files that the dataset owns, relative to it."""
        paths = [path for part in self.parts for path in (part.path, part.rejects_path)]
        return [PLAN, *paths, CARD, MANIFEST]


def cut_parts(split: str, first: int, num_items: int, items_per_part: int) -> list[PartSpec]:
    """Return the parts that cover items [first, first + num_items) of a split; one, empty, for none."""
    starts = range(first, first + num_items, items_per_part) or [first]
    end = first + num_items
    return [
        PartSpec(split=split, index=index, start=start, stop=min(start + items_per_part, end))
        for index, start in enumerate(starts)
    ]


def check_claim(
    out: Location, config: Mapping[str, Any], *, growing: str = GROWING_FIELD, flag: str = "--out-uri"
) -> None:
    """Check that a configuration may be made at `out`: nothing is there, or an earlier run of the same.

    Raises:
        InputError: the place cannot be reached, there are files but no plan, or the plan differs; the message
            names the fields.
    """
    check_reachable(out, flag)
    if not exists(out / PLAN):
        if found := list(list_files(out))[:3]:
            raise InputError(
                f"{flag} must be empty or hold an earlier run of this job, {out} holds "
                f"{', '.join(found)} and no {PLAN}; choose another"
            )
        return
    plan = read_json(out / PLAN)
    if not isinstance(plan, dict) or "config" not in plan:
        raise InputError(f"{flag} must hold an earlier run of this job, {out / PLAN} is no plan of one")
    old, new = flatten(plan["config"]), flatten(json.loads(json.dumps(config)))
    if (shrunk := old.get(growing)) is not None and growing in new and new[growing] < shrunk:
        raise InputError(f"{growing} of {out} may only grow: it is {shrunk}, got {new[growing]}")
    differing = [
        f"{name}: {_shorten(old.get(name))} there, {_shorten(new.get(name))} now"
        for name in sorted(old.keys() | new.keys())
        if name != growing and old.get(name) != new.get(name)
    ]
    if differing:
        raise InputError(
            f"{out} was made with another configuration ({'; '.join(differing)}); choose another {flag}"
        )


def _shorten(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) < 64 else f"{text[:12]}…"


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return a nested configuration as one level of dotted names."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        k: v for name, item in value.items() for k, v in flatten(item, f"{prefix}.{name}".lstrip(".")).items()
    }


def write_plan(out: Location, plan: Plan) -> None:
    """Write the plan; a manifest of before is taken away first, since its existence means complete."""
    if exists(out / MANIFEST):
        out.filesystem.delete_file((out / MANIFEST).path)
    write_json(out / PLAN, {"config": plan.config, "config_sha256": plan.config_sha256, "names": plan.names})


def find_done(out: Location, plan: Plan) -> dict[PartSpec, PartStats]:
    """Return the parts of a plan that are there and whole, after their footers."""
    present = list_files(out)
    candidates = [part for part in plan.parts if part.path in present and part.rejects_path in present]
    with ThreadPoolExecutor(16) as pool:
        found = pool.map(lambda part: read_part_stats(out, part, plan.config_sha256), candidates)
        return {stats.spec: stats for stats in found if stats}


def read_part_stats(out: Location, spec: PartSpec, config_sha256: str) -> PartStats | None:
    """Return what a part's footer says, or None if it is missing, broken, or of another plan."""
    try:
        with out.filesystem.open_input_file((out / spec.path).path) as file:
            size_bytes, footer = file.size(), pq.read_metadata(file)
        values = footer.metadata or {}
        if values.get(b"config_sha256") != config_sha256.encode():
            return None
        stats = PartStats.from_json(values[b"part_stats"].decode())
    except DAMAGE:
        return None
    if stats.spec != spec or stats.rows != footer.num_rows:
        return None
    return replace(stats, size_bytes=size_bytes)


def write_part(
    out: Location, spec: PartSpec, config_sha256: str, lines: list[TextLine], rejects: list[Reject]
) -> PartStats:
    """Write a part's rejects, then the part, whose existence commits both; return its stats."""
    reject_sink = pa.BufferOutputStream()
    pq.write_table(rejects_to_table(rejects), reject_sink)
    write_bytes(out / spec.rejects_path, reject_sink.getvalue().to_pybytes())
    stats = summarize_rows(spec, lines, rejects)
    footer = {
        **SCHEMA.metadata,
        b"config_sha256": config_sha256.encode(),
        b"rows_sha256": stats.rows_sha256.encode(),
        b"num_rejects": str(stats.num_rejects).encode(),
        b"part_stats": stats.to_json().encode(),
    }
    sink = pa.BufferOutputStream()
    table = lines_to_table(lines).replace_schema_metadata(footer)
    compression = {name: "zstd" for name in SCHEMA.names if name != "image"} | {"image.bytes": "none"}
    columns_with_repeats = ["source", "font", "page_id"]
    pq.write_table(
        table,
        sink,
        row_group_size=ROWS_PER_GROUP,
        compression=compression,
        use_dictionary=columns_with_repeats,
    )
    content = sink.getvalue().to_pybytes()
    write_bytes(out / spec.path, content)
    return replace(stats, size_bytes=len(content))


def rows_verify(out: Location, stats: PartStats) -> bool:
    """Return whether the rows of a part still have the digest that its footer states."""
    content = read_bytes(out / stats.spec.path)
    try:
        lines = table_to_lines(pq.read_table(pa.BufferReader(content)))
        return summarize_rows(stats.spec, lines, []).rows_sha256 == stats.rows_sha256
    except DAMAGE:
        return False


def require_datasets(uris: Sequence[str], flag: str = "--lines-uri") -> dict[str, Location]:
    """Return complete datasets by the names of their folders, numbered where names are the same.

    Raises:
        InputError: one is missing, has no manifest, holds other parts than it says, or is named twice.
    """
    datasets: dict[str, Location] = {}
    for uri in uris:
        place = require_folder(uri, flag)
        if not exists(place / MANIFEST):
            raise InputError(
                f"{flag} must be a complete dataset, {place} has no {MANIFEST}; run its job again"
            )
        _check_parts(place, flag)
        if place in datasets.values():
            raise InputError(f"{flag} must name each dataset once, got {uri} twice")
        names = (place.name, *(f"{place.name}-{number}" for number in range(2, len(uris) + 2)))
        datasets[next(name for name in names if name not in datasets)] = place
    return datasets


def _check_parts(place: Location, flag: str) -> None:
    """Refuse a dataset that lost or gained a part since its manifest: its lines would be others."""
    owned = {(part["path"], part["bytes"]) for part in read_json(place / MANIFEST)["parts"]}
    found = {
        (path, size_bytes)
        for path, size_bytes in list_files(place).items()
        if path.endswith(".parquet") and path.split("/")[0] in SPLITS
    }
    if differing := sorted({path for path, _ in owned ^ found}):
        raise InputError(
            f"{flag} must hold the parts of its {MANIFEST}, whole and no others, {place} differs in "
            f"{', '.join(differing[:3])}; run its job again, and move away what it does not own"
        )


def read_digests(datasets: Mapping[str, Location]) -> dict[str, dict[str, str]]:
    """Return the digests of the splits of each dataset: their content, wherever they lie."""
    return {
        name: read_json(place / MANIFEST)["counts"]["digest_by_split"] for name, place in datasets.items()
    }


def build_manifest(plan: Plan, parts: Iterable[PartStats], versions: Mapping[str, str]) -> Manifest:
    """Return the manifest of a dataset whose parts are all there, given in the plan's order."""
    by_split: Counter[str] = Counter()
    by_source: Counter[str] = Counter()
    by_font: Counter[str] = Counter()
    rejects: Counter[str] = Counter()
    digests: Counter[str] = Counter()
    rows = []
    for part in parts:
        by_split[part.spec.split] += part.rows
        by_source.update(part.by_source)
        by_font.update(part.by_font)
        rejects.update(part.rejects)
        digests[part.spec.split] += int(part.digest_sum, 16)
        rows.append(
            {"path": part.spec.path, "rows": part.rows, "bytes": part.size_bytes, "sha256": part.rows_sha256}
        )
    return Manifest(
        config=plan.config,
        config_sha256=plan.config_sha256,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={**versions, "pyarrow": pa.__version__, **plan.config.get("versions", {})},
        counts={
            "lines": by_split.total(),
            "by_split": dict(by_split),
            "by_source": dict(by_source),
            "by_font": dict(by_font),
            "digest_by_split": {split: f"{total % DIGEST_MODULUS:064x}" for split, total in digests.items()},
        },
        rejects=dict(rejects),
        parts=rows,
    )

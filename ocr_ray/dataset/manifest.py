"""Manifests: built from the statistics of the parts, and checked before a dataset is read."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from ocr_ray.dataset.lines import DIGEST_MODULUS, SPLITS, Manifest, PartStats
from ocr_ray.dataset.plan import MANIFEST, Plan
from ocr_ray.dataset.stored_rows import read_footers
from ocr_ray.dataset.text_statistics import TextStatistics
from ocr_ray.errors import InputError
from ocr_ray.storage.json_fields import expect, expect_counts, expect_hash
from ocr_ray.storage.location import Location, exists, list_files, preflight, read_json, require_folder


def require_datasets(uris: Sequence[str], flag: str = "--lines-uri") -> dict[str, Location]:
    """Return complete datasets by the names of their folders, with numbers added to repeated names.

    Raises:
        InputError: one is missing, has no manifest, holds other parts than its manifest lists, or is given
            twice.
    """
    datasets: dict[str, Location] = {}
    for uri in uris:
        location = require_folder(uri, flag)
        with preflight(location, flag) as dataset:
            if not exists(dataset / MANIFEST):
                raise InputError(
                    f"{flag} must be a complete dataset, {location} has no {MANIFEST}; give the "
                    "--out-uri of a finished job that makes lines, or run that job again"
                )
            _check_parts(dataset, flag)
        if location in datasets.values():
            raise InputError(f"{flag} must name each dataset once, got {uri} twice")
        names = (location.name, *(f"{location.name}-{number}" for number in range(2, len(uris) + 2)))
        datasets[next(name for name in names if name not in datasets)] = location
    return datasets


def _check_parts(dataset: Location, flag: str) -> None:
    """Check that a dataset holds exactly the parts of its manifest: sizes, columns and numbers of rows."""
    manifest = read_manifest(dataset, flag)
    rows: Counter[str] = Counter()
    for part in manifest.parts:
        rows[part["path"].split("/")[0]] += part["rows"]
    if +rows != +Counter(manifest.counts["by_split"]):
        raise InputError(
            f"{flag} must be a complete dataset, counts.by_split of {dataset / MANIFEST} are not the rows "
            "of its parts; run its job again"
        )
    parts = {part["path"]: part for part in manifest.parts}
    listed = {(path, part["bytes"]) for path, part in parts.items()}
    present = {
        (path, size_bytes)
        for path, size_bytes in list_files(dataset).items()
        if path.endswith(".parquet") and path.split("/")[0] in SPLITS
    }
    differing = {path for path, _ in listed ^ present}
    if not differing:
        footers = zip(parts, read_footers([dataset / path for path in parts]), strict=True)
        differing = {path for path, footer in footers if footer.num_rows != parts[path]["rows"]}
    if differing:
        raise InputError(
            f"{flag} must hold exactly the parts of its {MANIFEST}, {dataset} differs in "
            f"{', '.join(sorted(differing)[:3])}; run its job again, and move away files that it does not own"
        )


def read_manifest(dataset: Location, flag: str = "--lines-uri") -> Manifest:
    """Return the manifest of a dataset, with every field that is read from one checked.

    Raises:
        InputError: it is no manifest; the message names the file and the field.
    """
    values = read_json(dataset / MANIFEST)
    try:
        return _parse_manifest(values)
    except ValueError as error:
        raise InputError(
            f"{flag} must be a complete dataset, {dataset / MANIFEST} is not a manifest: {error}; "
            "run its job again"
        ) from error


def _parse_manifest(values: Any) -> Manifest:
    """Return the manifest that a JSON value describes; raises ValueError if it describes none."""
    fields = expect(values, dict, "the whole")
    counts = expect(fields.get("counts"), dict, "counts")
    by_split = expect_counts(counts.get("by_split"), "counts.by_split")
    digests = expect(counts.get("digest_by_split"), dict, "counts.digest_by_split")
    for split in sorted(by_split.keys() | digests.keys()):
        if split not in SPLITS:
            raise ValueError(f"counts must be of {', '.join(SPLITS)}, got {split!r}")
        expect_hash(digests.get(split), f"counts.digest_by_split.{split}")
    listed = expect(fields.get("parts"), list, "parts")
    parts = [_expect_part(part, f"parts.{index}") for index, part in enumerate(listed)]
    if len({part["path"] for part in parts}) < len(parts):
        raise ValueError("parts must have different paths")
    balance = expect(fields.get("balance", {}), dict, "balance")
    return Manifest(
        config=expect(fields.get("config", {}), dict, "config"),
        config_sha256=expect_hash(fields.get("config_sha256"), "config_sha256"),
        created_at=expect(fields.get("created_at", ""), str, "created_at"),
        versions=expect(fields.get("versions", {}), dict, "versions"),
        counts=counts
        | {name: expect_counts(counts.get(name, {}), f"counts.{name}") for name in ("by_source", "by_font")},
        balance=balance | {"characters": expect_counts(balance.get("characters", {}), "balance.characters")},
        rejects=expect_counts(fields.get("rejects", {}), "rejects"),
        parts=parts,
    )


def _expect_part(value: Any, name: str) -> dict[str, Any]:
    part = expect(value, dict, name)
    path = expect(part.get("path"), str, f"{name}.path")
    if not re.fullmatch(f"({'|'.join(SPLITS)})/[^/]+[.]parquet", path):
        raise ValueError(f"{name}.path must be a .parquet file in a split, got {path!r}")
    expect_counts({key: part.get(key) for key in ("rows", "bytes")}, name)
    expect_hash(part.get("sha256"), f"{name}.sha256")
    return part


def read_digests(datasets: Mapping[str, Location]) -> dict[str, dict[str, str]]:
    """Return the digest of each split of each dataset, which depends on its content only."""
    return {name: read_manifest(location).counts["digest_by_split"] for name, location in datasets.items()}


def build_manifest(
    plan: Plan, parts: Iterable[PartStats], *, texts: TextStatistics, versions: Mapping[str, str]
) -> Manifest:
    """Return the manifest of a dataset from all its parts, in the order of the plan."""
    by_split: Counter[str] = Counter()
    by_source: Counter[str] = Counter()
    by_font: Counter[str] = Counter()
    rejects: Counter[str] = Counter()
    digests: Counter[str] = Counter()
    counted: defaultdict[str, Counter[str]] = defaultdict(Counter)
    rows = []
    for part in parts:
        by_split[part.spec.split] += part.rows
        by_source.update(part.by_source)
        by_font.update(part.by_font)
        rejects.update(part.rejects)
        for topic, numbers in part.counted.items():
            counted[topic].update(numbers)
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
            "by_source": dict(sorted(by_source.items())),
            "by_font": dict(sorted(by_font.items())),
            "digest_by_split": {split: f"{total % DIGEST_MODULUS:064x}" for split, total in digests.items()},
        },
        balance={**texts.report(), **plan.notes.get("balance", {})},
        rejects=dict(sorted(rejects.items())),
        parts=rows,
        counted={topic: dict(sorted(numbers.items())) for topic, numbers in sorted(counted.items())},
        flags=plan.flags,
        notes={name: note for name, note in plan.notes.items() if name != "balance"},
    )

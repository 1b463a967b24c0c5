"""Manifests of datasets whose parts a test has written itself."""

import hashlib
import io
from typing import Any

import pyarrow.parquet as pq

from ocr_ray.dataset.lines import SPLITS
from ocr_ray.storage.location import Location, list_files, read_bytes, write_json


def make_manifest(dataset: Location, **counts: Any) -> dict[str, Any]:
    """Return the manifest of the parts that lie in a dataset's folder, with further `counts`."""
    parts: list[dict[str, Any]] = []
    for path, size_bytes in list_files(dataset).items():
        if path.endswith(".parquet") and path.split("/")[0] in SPLITS:
            content = read_bytes(dataset / path)
            rows = pq.read_metadata(io.BytesIO(content)).num_rows
            sha256 = hashlib.sha256(content).hexdigest()
            parts.append({"path": path, "rows": rows, "bytes": size_bytes, "sha256": sha256})
    by_split: dict[str, list[dict[str, Any]]] = {}
    for part in parts:
        by_split.setdefault(part["path"].split("/")[0], []).append(part)
    return {
        "config_sha256": "0" * 64,
        "counts": {
            "by_split": {split: sum(part["rows"] for part in owned) for split, owned in by_split.items()},
            "digest_by_split": {
                split: hashlib.sha256("".join(part["sha256"] for part in owned).encode()).hexdigest()
                for split, owned in by_split.items()
            },
            **counts,
        },
        "parts": parts,
    }


def write_manifest(dataset: Location, **counts: Any) -> None:
    write_json(dataset / "manifest.json", make_manifest(dataset, **counts))

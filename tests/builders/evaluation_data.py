"""Small datasets of noise images with labels, and a tiny model to read them, for the tests of evaluation."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from builders.manifests import write_manifest
from PIL import Image

from ocr_ray.dataset.lines import TextLine, lines_to_table
from ocr_ray.model.tiny import write_tiny_model
from ocr_ray.storage.location import locate, write_bytes


def make_line(number: int, *, page_id: str | None = None) -> TextLine:
    pixels = np.random.default_rng(number).integers(0, 256, (64, 384), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return TextLine(
        line_id=f"{number:09d}",
        image_bytes=sink.getvalue(),
        text=f"탁자 {number}개",
        markup=f"탁자 ${number}$개",
        source="page" if page_id else "words",
        font=None if page_id else "바탕",
        page_id=page_id,
        page_order=3 if page_id else None,
        width_px=384,
        height_px=64,
    )


def write_lines(uri: str, parts: list[list[TextLine]]) -> None:
    """Write a complete dataset whose validation split has these parts."""
    for index, lines in enumerate(parts):
        sink = io.BytesIO()
        pq.write_table(lines_to_table(lines), sink)
        write_bytes(locate(uri) / f"validation/part-{index:05d}.parquet", sink.getvalue())
    write_manifest(locate(uri))


def write_model(folder: Path, *, seed: int, **metrics: Any) -> Path:
    """Write a tiny model that generates at most 12 tokens; `metrics`, if any, go into metrics.json."""
    write_tiny_model(folder, [f"탁자 {number}개" for number in range(50)], seed=seed)
    generation = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**generation, "max_length": 12}))
    if metrics:
        (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder

"""Labels one page with many boxes as large as itself, and writes how much memory that took at most.

For pages/test_label_part.py; a process of its own, whose peak no other test has raised.
"""

import io
import json
import resource
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
from PIL import Image, ImageDraw

from ocr_ray.dataset.lines import PartSpec, Reject
from ocr_ray.model.line_reading import LineReading
from ocr_ray.pages.files.load import PageLoader
from ocr_ray.pages.files.store import PageStore
from ocr_ray.pages.label_part import ReadingInputs, ReadingStyle, label_part
from ocr_ray.storage.location import locate

LIMIT_BYTES = 4 * 2**30
"""The process fails above; the machine of the test does not."""


def write_page(folder: Path, size: tuple[int, int], num_boxes: int) -> None:
    page = Image.new("L", size, 255)
    ImageDraw.Draw(page).rectangle((10, 10, size[0] - 10, 40), fill=0)
    page.save(folder / "p.png")
    box = {"type": "line", "bbox": [0, 0, *size], "text": ""}
    label = {"OCR_info": [{"question_text": "", "question_bbox": [box] * num_boxes}]}
    (folder / "p.json").write_text(json.dumps(label), encoding="utf-8")


def read(images: list[bytes]) -> list[LineReading]:
    assert {Image.open(io.BytesIO(image)).format for image in images} == {"PNG"}
    return [LineReading("줄", 1.0)] * len(images)


def measure_peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # KiB on Linux


def main(folder: Path, size: tuple[int, int], num_boxes: int) -> None:
    write_page(folder, size, num_boxes)
    page = {"page_id": "p", "image_path": "p.png", "label_path": "p.json"}
    inputs = ReadingInputs(
        loader=PageLoader(store=PageStore(locate(str(folder))), box_format="xyxy", out_of_scope={}),
        pages=pa.Table.from_pylist([page]),
        style=ReadingStyle(),
        labels=locate(str(folder / "labels")),
        read=read,
    )
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    before_mib = measure_peak()
    counts: Counter[str] = Counter()
    for row in label_part(inputs, PartSpec(split="train", index=0, start=0, stop=1)):
        counts[row.reason if isinstance(row, Reject) else type(row).__name__] += 1
    del counts["TopicCount"]
    json.dump({"rows": counts, "peak_mib": measure_peak() - before_mib}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), (int(sys.argv[2]), int(sys.argv[3])), int(sys.argv[4]))

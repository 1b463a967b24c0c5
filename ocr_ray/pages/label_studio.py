"""Label Studio: pages with readings as tasks with predictions, and its JSON export read back.

The labelling interface has a rectangle and a text area for each region:

    <View>
      <Image name="image" value="$image"/>
      <Rectangle name="bbox" toName="image"/>
      <TextArea name="transcription" toName="image" perRegion="true" editable="true" maxSubmissions="1"/>
    </View>

Label Studio gives regions new ids when a prediction becomes an annotation, and keeps the data of a task. So
the data hold the boxes, and a region is the line whose box it overlaps most. Formats:
https://labelstud.io/guide/predictions and https://labelstud.io/guide/task_format
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ocr_ray.dataset.lines import LabelColumn, TextLine
from ocr_ray.pages.crop import cut_boxes
from ocr_ray.pages.files.page_image import open_page
from ocr_ray.pages.html.review import LabelledPage, ReviewedDataset
from ocr_ray.storage.json_fields import expect

MODEL_VERSION = "ocr_ray"
MIN_OVERLAP = 0.5
"""Shared area of a region and a line's box, as a share of the area of both together."""

_Percent = Sequence[float]
"""Left, top, width and height of a box in percent of the page."""


class ReviewedLines(NamedTuple):
    """The lines that an export holds, as `Corrections`."""

    dataset: str
    texts: dict[str, str | None]


class PageTask(NamedTuple):
    """A page with what a task needs to know."""

    page_id: str
    image_uri: str
    """As Label Studio loads it."""
    size_px: tuple[int, int]
    lines: Sequence[tuple[TextLine, tuple[int, int, int, int]]]
    """With their corners on the page."""


def make_task(page: PageTask, dataset: str, column: LabelColumn) -> dict[str, Any]:
    """Return a page as a task with a prediction; the score is the lowest confidence of its lines."""
    width_px, height_px = page.size_px
    boxes: dict[str, list[float]] = {}
    texts: dict[str, str] = {}
    result: list[dict[str, Any]] = []
    for number, (line, (x0, y0, x1, y1)) in enumerate(page.lines):
        x, y, width, height = boxes[line.line_id] = [
            100 * x0 / width_px,
            100 * y0 / height_px,
            100 * (x1 - x0) / width_px,
            100 * (y1 - y0) / height_px,
        ]
        texts[line.line_id] = getattr(line, column)
        region = {
            "id": f"line{number}",
            "to_name": "image",
            "original_width": width_px,
            "original_height": height_px,
            "image_rotation": 0,
            "score": line.confidence,
        }
        value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
        result.append({**region, "from_name": "bbox", "type": "rectangle", "value": value})
        transcription = {**value, "text": [texts[line.line_id]]}
        result.append({**region, "from_name": "transcription", "type": "textarea", "value": transcription})
    confidences = [line.confidence for line, _ in page.lines if line.confidence is not None]
    names = {"image": page.image_uri, "page_id": page.page_id, "dataset": dataset}
    prediction = {"model_version": MODEL_VERSION, "score": min(confidences, default=0.0), "result": result}
    return {"data": {**names, "boxes": boxes, "texts": texts}, "predictions": [prediction]}


def task_of_page(
    page: LabelledPage, dataset: ReviewedDataset, *, prefix: str, margin_px: int
) -> dict[str, Any]:
    """Return a labelled page as a task; `prefix` precedes the path of its image.

    Raises:
        CropError: its image cannot be opened.
    """
    image = open_page(page.image_bytes, page.label)
    rows, _ = cut_boxes(page.label, image, with_texts=False, margin_px=margin_px)
    corners = {f"{page.page_id}#{row.name}": row.corners for row in rows}
    return make_task(
        PageTask(
            page_id=page.page_id,
            image_uri=f"{prefix}{page.image_path}",
            size_px=image.size,
            lines=[(line, corners[line.line_id]) for line in page.lines],
        ),
        dataset.config_sha256,
        dataset.label_column,
    )


def read_export(tasks: Sequence[Any]) -> ReviewedLines:
    """Return the lines that the last annotation of each task holds; cancelled annotations do not count.

    A line without a region is not reviewed. A region that overlaps no line is left out.

    Raises:
        ValueError, KeyError, TypeError: it is no export of tasks that `make_task` made, all of one dataset.
    """
    datasets: set[str] = set()
    texts: dict[str, str | None] = {}
    for index, entry in enumerate(tasks):
        task = expect(entry, dict, f"task {index}")
        data = expect(task["data"], dict, f"task {index}.data")
        datasets.add(expect(data["dataset"], str, f"task {index}.data.dataset"))
        annotations = [each for each in task.get("annotations", ()) if not each.get("was_cancelled")]
        if annotations:
            texts |= _read_result(annotations[-1]["result"], data["boxes"], data["texts"])
    if len(datasets) != 1:
        raise ValueError(f"all tasks must be of one dataset, got {len(datasets)}")
    return ReviewedLines(datasets.pop(), texts)


def _read_result(
    result: Iterable[Mapping[str, Any]], boxes: Mapping[str, _Percent], readings: Mapping[str, str]
) -> dict[str, str | None]:
    """Return the text of each line that has a region; None if it is that of the reading."""
    corners: dict[str, _Percent] = {}
    texts: dict[str, str] = {}
    for part in result:
        value = part["value"]
        corners[part["id"]] = [float(value[side]) for side in ("x", "y", "width", "height")]
        if part["type"] == "textarea":
            text = value["text"]
            texts[part["id"]] = text if isinstance(text, str) else " ".join(text)
    reviewed: dict[str, str | None] = {}
    for region, text in texts.items():
        overlaps = {line_id: _measure_overlap(corners[region], box) for line_id, box in boxes.items()}
        line_id = max(overlaps, key=overlaps.__getitem__, default="")
        if overlaps.get(line_id, 0.0) >= MIN_OVERLAP:
            reviewed[line_id] = None if text == readings[line_id] else text
    return reviewed


def _measure_overlap(first: _Percent, second: _Percent) -> float:
    """Return the shared area of two boxes as a share of the area of both together."""
    sides = [
        max(0.0, min(a + a_size, b + b_size) - max(a, b))
        for a, a_size, b, b_size in zip(first[:2], first[2:], second[:2], second[2:], strict=True)
    ]
    shared = sides[0] * sides[1]
    total = first[2] * first[3] + second[2] * second[3] - shared
    return shared / total if total > 0 else 0.0

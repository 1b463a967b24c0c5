"""Batch inference with Ray Data: the predictions of a model for every line of a split, one model per actor.

A row of the Ray dataset is the index of a part file. The actor writes the predictions of the part and
returns only its name and number of rows, so neither pixels nor predictions pass through the object store.
Parts that an earlier run has finished are kept.
"""

import logging
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa
import ray.data

from ocr_ray.cluster.attempts import DEADLY, Attempts
from ocr_ray.cluster.capacity import count_cores_per_gpu, count_workers
from ocr_ray.cluster.progress import count_read, show_parts
from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.dataset.plan import PLAN
from ocr_ray.dataset.stored_rows import iter_tables, name_rows
from ocr_ray.errors import InputError, ProductionError
from ocr_ray.evaluation.inputs import EvaluationInputs, LinesPart
from ocr_ray.evaluation.predictions import (
    LINE_COLUMNS,
    PREDICTIONS_SCHEMA,
    find_finished,
    part_path,
    write_predictions,
)
from ocr_ray.model.load import OcrModel, load_model_to_read
from ocr_ray.model.long_lines import read_in_pieces
from ocr_ray.model.options import Decoding
from ocr_ray.model.precision import check_precision, set_tf32
from ocr_ray.model.read import read_images
from ocr_ray.storage.location import exists

log = logging.getLogger(__name__)


def predict_lines(
    inputs: EvaluationInputs, decoding: Decoding, *, num_workers: int | None, use_gpu: bool
) -> int:
    """Write the missing predictions; return the number of parts that were already there.

    Ray must be running, and plan.json written.

    Raises:
        InputError: there are fewer CPUs or GPUs than workers.
    """
    done = set(find_finished(inputs.out, len(inputs.parts), inputs.plan.config_sha256))
    rows = [{"index": index} for index in range(len(inputs.parts)) if index not in done]
    if not rows:
        return len(done)
    num_workers = min(count_workers(num_workers, use_gpu=use_gpu), len(rows))
    if use_gpu:
        decoding = replace(decoding, threads=count_cores_per_gpu())
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        PartReader,
        fn_constructor_kwargs={
            "inputs": inputs,
            "decoding": decoding,
            "use_gpu": use_gpu,
            "attempts": Attempts(),
        },
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=num_workers),
        num_cpus=1,
        num_gpus=1 if use_gpu else 0,
    )
    show_parts(inputs.out.name, done=len(done), pending=len(rows))
    for number, row in enumerate(dataset.iter_rows(), start=len(done) + 1):
        show_parts(inputs.out.name, done=number, pending=len(inputs.parts) - number)
        total = len(inputs.parts)
        progress = {
            "name": "reading",
            "done": number,
            "total": total,
            "numbers": f"{number} of {total} parts",
        }
        log.info(
            "%s: %d of %d parts read, %d lines",
            *(row["path"], number, total, row["rows"]),
            extra={"progress": progress},
        )
    return len(done)


class PartReader:
    """An actor that holds the model on its device and reads one part per call."""

    def __init__(
        self, inputs: EvaluationInputs, decoding: Decoding, *, use_gpu: bool, attempts: Attempts
    ) -> None:
        self.inputs, self.decoding, self.attempts = inputs, decoding, attempts
        if not exists(inputs.out / PLAN):
            raise InputError(
                f"a local folder must be visible to every node of the cluster, {inputs.out} is not; use s3://"
            )
        self.model = load_model_to_read(inputs.model, is_checked=True)
        self.model.network.to("cuda" if use_gpu else "cpu")
        check_precision(decoding.precision, self.model.device)
        set_tf32(decoding.precision)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        (index,) = batch["index"].tolist()
        part, path = self.inputs.parts[index], part_path(index)
        with self.attempts.attempt(path) as is_deadly:
            if is_deadly:
                raise ProductionError(
                    f"{part.location} {DEADLY}; use a smaller --batch-size, or machines with more memory"
                )
            try:
                table = read_part(self.model, part, self.inputs.label_column, self.decoding)
            except InputError as error:
                raise ProductionError(f"{error}; leave the line out and make its dataset again") from error
        write_predictions(self.inputs.out / path, table, self.inputs.plan.config_sha256)
        count_read(part.dataset, table.num_rows)
        return {"path": [path], "rows": [table.num_rows]}


def read_part(model: OcrModel, part: LinesPart, label_column: LabelColumn, decoding: Decoding) -> pa.Table:
    """Return the predictions for the lines of a part in their order, as `PREDICTIONS_SCHEMA`."""
    columns = dict.fromkeys([*LINE_COLUMNS, "image.bytes", label_column])
    predictions = [
        read_table(model, table, part, label_column, decoding)
        for table in iter_tables(part.location, list(columns))
    ]
    return pa.concat_tables([PREDICTIONS_SCHEMA.empty_table(), *predictions])


def read_table(
    model: OcrModel, lines: pa.Table, part: LinesPart, label_column: LabelColumn, decoding: Decoding
) -> pa.Table:
    """Return the predictions for a table of lines in their order."""
    images = lines["image"].combine_chunks().field("bytes").to_pylist()
    sizes_px = list(zip(lines["width_px"].to_pylist(), lines["height_px"].to_pylist(), strict=True))
    aspects = [width_px / max(1, height_px) for width_px, height_px in sizes_px]
    read = partial(read_images, model, decoding=decoding)
    readings = read(images, names=name_rows(lines, str(part.location)), aspects=aspects)
    whole: list[str | None] = [None] * len(images)
    order = sorted(range(len(images)), key=aspects.__getitem__)
    wide = [row for row in order if decoding.max_aspect and aspects[row] > decoding.max_aspect]
    if decoding.max_aspect and wide:
        in_pieces = read_in_pieces(
            read, [images[row] for row in wide], decoding.max_aspect, sizes_px=[sizes_px[row] for row in wide]
        )
        for row, reading in zip(wide, in_pieces, strict=True):
            whole[row], readings[row] = readings[row].text, reading
    values = {
        "dataset": [part.dataset] * len(images),
        "text": lines[label_column],
        "prediction": [reading.text for reading in readings],
        "confidence": [reading.confidence for reading in readings],
        "flags": [reading.flags for reading in readings],
        "whole_prediction": whole,
        **{name: lines[name] for name in LINE_COLUMNS},
    }
    return pa.table([values[name] for name in PREDICTIONS_SCHEMA.names], schema=PREDICTIONS_SCHEMA)

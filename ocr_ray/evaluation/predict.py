"""What a model reads on every line of a split: greedy generation through Ray Data, one model per actor.

Rows of the Ray dataset are part files to read. An actor writes the predictions of a part itself and returns
its name and number of rows, so that neither pixels nor predictions pass through the object store.
"""

import hashlib
import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
import torch

from ocr_ray.cluster import count_workers, ray_session
from ocr_ray.errors import InputError
from ocr_ray.evaluation.inputs import (
    EvaluationInputs,
    LinesPart,
    find_parts,
    read_label_column,
)
from ocr_ray.evaluation.report import (
    PREDICTIONS_SCHEMA,
    REPORT,
    ReportConfig,
    build_report,
    read_predictions,
    write_report,
)
from ocr_ray.lines import SPLITS, LabelColumn
from ocr_ray.manifests import read_digests, require_datasets
from ocr_ray.parts import PLAN, check_claim
from ocr_ray.storage import exists, locate, locate_model, write_bytes, write_json
from ocr_ray.training.model import OcrModel, load_model, model_files
from ocr_ray.training.pixels import make_pixel_values

log = logging.getLogger(__name__)

PREDICTIONS = "predictions"
ROW_COLUMNS = ("line_id", "source", "font", "page_id", "page_order")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """Read a split of one or more datasets with a model and count its errors."""

    model_uri: str
    """A model's folder, or a Hugging Face hub id."""
    lines_uri: tuple[str, ...]
    """Datasets of lines, each reported under its folder's name."""
    out_uri: str
    """Where report.json and predictions/ go."""
    split: str = "validation"
    """train, validation or test."""
    batch_size: int = 16
    """Lines read at once by each worker; 64 or more on a GPU."""
    num_workers: int | None = None
    """Models that read at once; None: one per CPU, with --use-gpu one per GPU."""
    use_gpu: bool = False
    """Each worker takes a GPU."""

    def __post_init__(self) -> None:
        if not self.lines_uri:
            raise ValueError("lines_uri must name at least one dataset")
        if self.split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {self.split!r}")
        for name in ("batch_size", "num_workers"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedPart:
    """A part of the predictions that is written."""

    dataset: str
    path: str
    """Relative to the evaluation's folder."""
    rows: int


def evaluate_lines(config: EvaluationConfig) -> dict[str, Any]:
    """Read the lines, write their predictions and the report; return its headline.

    Raises:
        InputError: the model, a dataset or the output place is wrong; found before any line is read.
    """
    inputs = resolve_inputs(config)
    with ray_session(reads=inputs.reads, writes=[inputs.out]):
        parts = predict_lines(inputs, config)
    lines_uris = {name: place.uri for name, place in inputs.datasets.items()}
    model_uri = inputs.model if isinstance(inputs.model, str) else inputs.model.uri
    report = build_report(
        read_predictions(inputs.out, [part.path for part in parts]),
        ReportConfig(
            model_uri=model_uri,
            lines_uris=lines_uris,
            split=config.split,
            label_column=inputs.label_column,
        ),
    )
    place = write_report(inputs.out, report)
    log.info("%s: %d lines read, CER %s", place, report["overall"]["lines"], report["overall"]["cer"])
    overall = {name: value for name, value in report["overall"].items() if name not in ("lines", "counts")}
    return {
        "report": place.uri,
        **report["config"],
        "lines": report["overall"]["lines"],
        "overall": overall,
    }


def resolve_inputs(config: EvaluationConfig) -> EvaluationInputs:
    """Return what the flags name; needs no Ray.

    Raises:
        InputError: the model cannot be loaded, a dataset lacks the split, or the output place holds
            another evaluation.
    """
    datasets = require_datasets(config.lines_uri)
    parts = [part for name, place in datasets.items() for part in find_parts(name, place, config.split)]
    out, model = locate(config.out_uri), locate_model(config.model_uri)
    with model_files(model) as folder:
        load_model(folder)  # names what is missing, before a worker would
        label_column = read_label_column(folder)
        weights = hashlib.sha256()
        for path in sorted(folder.glob("*.safetensors")):
            weights.update(path.read_bytes())
    plan = {
        "job": "evaluate_trocr",
        "model_sha256": weights.hexdigest(),
        "lines": read_digests(datasets),
        "num_parts": len(parts),
        "split": config.split,
        "label_column": label_column,
    }
    check_claim(out, plan, growing="")
    return EvaluationInputs(
        model=model, label_column=label_column, datasets=datasets, parts=tuple(parts), out=out, plan=plan
    )


def part_name(index: int) -> str:
    """Return the file name of a part of the predictions."""
    return f"part-{index:05d}.parquet"


def predict_lines(inputs: EvaluationInputs, config: EvaluationConfig) -> list[PredictedPart]:
    """Read every line and write predictions/part-….parquet, one for each part of the input.

    Ray must be running.
    A report of an earlier run is taken away first, since its existence means complete.

    Raises:
        InputError: there are fewer CPUs or GPUs than workers.
    """
    num_workers = min(count_workers(config.num_workers, use_gpu=config.use_gpu), len(inputs.parts))
    write_json(inputs.out / PLAN, {"config": inputs.plan})
    if exists(inputs.out / REPORT):
        inputs.out.filesystem.delete_file((inputs.out / REPORT).path)
    rows = [{"index": index} for index in range(len(inputs.parts))]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        PartReader,
        fn_constructor_kwargs={"inputs": inputs, "config": config},
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=num_workers),
        num_cpus=1,
        num_gpus=1 if config.use_gpu else 0,
    )
    predicted = []
    for row in dataset.iter_rows():
        predicted.append(PredictedPart(**row))
        log.info("%s: %d of %d parts read, %d lines", row["path"], len(predicted), len(rows), row["rows"])
    return sorted(predicted, key=lambda part: part.path)


class PartReader:
    """A model on its device, and the parts that it may be asked to read; one per actor."""

    def __init__(self, inputs: EvaluationInputs, config: EvaluationConfig) -> None:
        self.inputs, self.batch_size = inputs, config.batch_size
        if not exists(inputs.out / PLAN):
            raise InputError(
                f"a local folder must be seen by every node of the cluster, {inputs.out} is not; use s3://"
            )
        with model_files(inputs.model) as folder:
            self.model = load_model(folder)
        self.model.network.to("cuda" if config.use_gpu else "cpu")

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        (index,) = batch["index"].tolist()
        part, path = self.inputs.parts[index], f"{PREDICTIONS}/{part_name(index)}"
        table = read_part(self.model, part, self.inputs.label_column, self.batch_size)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        write_bytes(self.inputs.out / path, sink.getvalue().to_pybytes())
        return {"dataset": [part.dataset], "path": [path], "rows": [table.num_rows]}


def read_part(model: OcrModel, part: LinesPart, label_column: LabelColumn, batch_size: int) -> pa.Table:
    """Return the predictions for the lines of a part, in their order; a table of `PREDICTIONS_SCHEMA`."""
    tables = [PREDICTIONS_SCHEMA.empty_table()]
    with part.location.filesystem.open_input_file(part.location.path) as file:
        columns = [*ROW_COLUMNS, "image.bytes", label_column]
        for batch in pq.ParquetFile(file).iter_batches(batch_size, columns=columns):
            images = [image["bytes"] for image in batch["image"].to_pylist()]
            predictions, confidences = read_images(model, images)
            values = {
                "dataset": [part.dataset] * batch.num_rows,
                "text": batch[label_column],
                "prediction": predictions,
                "confidence": confidences,
                **{name: batch[name] for name in ROW_COLUMNS},
            }
            columns_in_order = [values[name] for name in PREDICTIONS_SCHEMA.names]
            tables.append(pa.table(columns_in_order, schema=PREDICTIONS_SCHEMA))
    return pa.concat_tables(tables)


def read_images(model: OcrModel, images: Sequence[bytes]) -> tuple[list[str], list[float]]:
    """Return what the model reads on encoded images, in NFC, and its confidence in each.

    Greedy. The confidence is the mean probability of the tokens; the one that ends a line counts, those that
    fill up the batch do not.
    """
    with torch.inference_mode():
        generated = model.network.generate(
            make_pixel_values(model, images).to(model.device),
            do_sample=False,
            num_beams=1,
            return_dict_in_generate=True,
            output_logits=True,
        )
        tokens = generated.sequences[:, -len(generated.logits) :]
        probabilities = [
            logits.float().softmax(-1).gather(-1, chosen[:, None])[:, 0]
            for logits, chosen in zip(generated.logits, tokens.T, strict=True)
        ]
        confidences = mean_before_end(torch.stack(probabilities, dim=1), tokens, model.end_token_id)
    texts = [unicodedata.normalize("NFC", text) for text in model.decode(generated.sequences)]
    return texts, confidences.tolist()


def mean_before_end(values: torch.Tensor, tokens: torch.Tensor, end: int | list[int]) -> torch.Tensor:
    """Return the mean of each row's values up to its first end token, that one included.

    Values and tokens: N, T. Means: N.
    """
    is_end = torch.isin(tokens, torch.tensor(end, device=tokens.device)).int()
    counted = (is_end.cumsum(1) - is_end) == 0
    return (values * counted).sum(1) / counted.sum(1)

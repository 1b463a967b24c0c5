"""What a model reads on every line of a split, through Ray Data, one model per actor.

Rows of the Ray dataset are part files to read. An actor writes the predictions of a part itself and returns
its name and number of rows, so that neither pixels nor predictions pass through the object store. What an
earlier run has written stays.
"""

import hashlib
import io
import logging
import unicodedata
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray.data
import torch
from PIL import Image

from ocr_ray.cluster.progress import count_read, show_parts
from ocr_ray.cluster.session import count_workers
from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.dataset.parts import PLAN
from ocr_ray.errors import InputError
from ocr_ray.evaluation.inputs import EvaluationInputs, LinesPart, read_label_column, read_metrics
from ocr_ray.evaluation.predictions import (
    LINE_COLUMNS,
    PREDICTIONS_SCHEMA,
    find_read,
    part_path,
    write_predictions,
)
from ocr_ray.model.decoding import encode, write_greedily
from ocr_ray.model.load import OcrModel, load_model, model_files
from ocr_ray.model.long_lines import read_in_pieces
from ocr_ray.model.pixels import make_pixels, to_pixel_values
from ocr_ray.model.precision import Precision, autocast, check_precision, set_tf32
from ocr_ray.storage.location import Location, exists, open_file

log = logging.getLogger(__name__)

DECODING_THREADS = 2
"""Threads that decode images, each a batch, while another batch is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How a model writes what it reads."""

    batch_size: int = 16
    """Lines at once; changes no more than the last bits of a float."""
    num_beams: int = 1
    """1: greedy."""
    precision: Precision = "fp32"
    max_aspect: float | None = None
    """Lines wider than so many times their height are read in pieces as well."""


GREEDY = Decoding()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What is known of a model without running it."""

    label_column: LabelColumn
    sha256: str
    """Of its weights."""
    metrics: dict[str, Any]
    """What its metrics.json says of its training."""


def inspect_model(source: Location | str) -> ModelFacts:
    """Return what is known of a model, a folder or a hub id, which is loaded once to see that it can be.

    Raises:
        InputError: it cannot, or its metrics.json is wrong.
    """
    with model_files(source) as folder:
        load_model(folder)  # names what is missing, before a worker would
        weights = hashlib.sha256()
        for path in sorted(folder.glob("*.safetensors")):
            weights.update(path.read_bytes())
        return ModelFacts(
            label_column=read_label_column(folder), sha256=weights.hexdigest(), metrics=read_metrics(folder)
        )


def predict_lines(
    inputs: EvaluationInputs, decoding: Decoding, *, num_workers: int | None, use_gpu: bool
) -> int:
    """Read the lines of the parts without predictions, and write these; return how many parts were there.

    Ray must be running, and the plan have been written.

    Raises:
        InputError: there are fewer CPUs or GPUs than workers.
    """
    done = set(find_read(inputs.out, len(inputs.parts), inputs.plan.config_sha256))
    rows = [{"index": index} for index in range(len(inputs.parts)) if index not in done]
    if not rows:
        return len(done)
    num_workers = min(count_workers(num_workers, use_gpu=use_gpu), len(rows))
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        PartReader,
        fn_constructor_kwargs={"inputs": inputs, "decoding": decoding, "use_gpu": use_gpu},
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=num_workers),
        num_cpus=1,
        num_gpus=1 if use_gpu else 0,
    )
    show_parts(inputs.out.name, done=len(done), pending=len(rows))
    for number, row in enumerate(dataset.iter_rows(), start=len(done) + 1):
        show_parts(inputs.out.name, done=number, pending=len(inputs.parts) - number)
        log.info("%s: %d of %d parts read, %d lines", row["path"], number, len(inputs.parts), row["rows"])
    return len(done)


class PartReader:
    """A model on its device, and the parts that it may be asked to read; one per actor."""

    def __init__(self, inputs: EvaluationInputs, decoding: Decoding, *, use_gpu: bool) -> None:
        self.inputs, self.decoding = inputs, decoding
        if not exists(inputs.out / PLAN):
            raise InputError(
                f"a local folder must be seen by every node of the cluster, {inputs.out} is not; use s3://"
            )
        with model_files(inputs.model) as folder:
            self.model = load_model(folder)
        self.model.network.to("cuda" if use_gpu else "cpu")
        check_precision(decoding.precision, self.model.device)
        set_tf32(decoding.precision)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        (index,) = batch["index"].tolist()
        part, path = self.inputs.parts[index], part_path(index)
        table = read_part(self.model, part, self.inputs.label_column, self.decoding)
        write_predictions(self.inputs.out / path, table, self.inputs.plan.config_sha256)
        count_read(part.dataset, table.num_rows)
        return {"path": [path], "rows": [table.num_rows]}


def read_part(model: OcrModel, part: LinesPart, label_column: LabelColumn, decoding: Decoding) -> pa.Table:
    """Return the predictions for the lines of a part, in their order; a table of `PREDICTIONS_SCHEMA`.

    Lines of like width are read together, so that they end together. One part is held at a time.
    """
    with open_file(part.location) as file:
        columns = dict.fromkeys([*LINE_COLUMNS, "image.bytes", label_column])
        lines = pq.ParquetFile(file, pre_buffer=True).read(columns=list(columns))
    images = lines["image"].combine_chunks().field("bytes").to_pylist()
    sizes_px = list(zip(lines["width_px"].to_pylist(), lines["height_px"].to_pylist(), strict=True))
    aspects = [width_px / max(1, height_px) for width_px, height_px in sizes_px]
    by_width = sorted(range(len(images)), key=aspects.__getitem__)
    read = partial(read_images, model, decoding=decoding)
    found = dict(zip(by_width, zip(*read([images[row] for row in by_width]), strict=True), strict=True))
    whole: list[str | None] = [None] * len(images)
    wide = [row for row in by_width if decoding.max_aspect and aspects[row] > decoding.max_aspect]
    if decoding.max_aspect and wide:
        in_pieces = read_in_pieces(
            read, [images[row] for row in wide], decoding.max_aspect, sizes_px=[sizes_px[row] for row in wide]
        )
        for row, reading in zip(wide, zip(*in_pieces, strict=True), strict=True):
            whole[row], found[row] = found[row][0], reading
    values = {
        "dataset": [part.dataset] * len(images),
        "text": lines[label_column],
        "prediction": [found[row][0] for row in range(len(images))],
        "confidence": [found[row][1] for row in range(len(images))],
        "whole_prediction": whole,
        **{name: lines[name] for name in LINE_COLUMNS},
    }
    return pa.table([values[name] for name in PREDICTIONS_SCHEMA.names], schema=PREDICTIONS_SCHEMA)


def read_images(
    model: OcrModel, images: Sequence[bytes], decoding: Decoding = GREEDY
) -> tuple[list[str], list[float]]:
    """Return what the model reads on encoded images, in NFC, and its confidence in each.

    The confidence is the mean probability of the tokens; the one that ends a line counts, those that fill up
    the batch do not.
    """
    texts, confidences = [], []
    for pixels in _decode_ahead(model, images, decoding.batch_size):
        pixel_values = to_pixel_values(model, pixels, model.device)
        with torch.inference_mode(), autocast(decoding.precision, model.device):
            if decoding.num_beams == 1:
                tokens, means = write_greedily(model, pixel_values)
            else:
                tokens, means = _write_with_beams(model, pixel_values, decoding.num_beams)
        texts += [unicodedata.normalize("NFC", text) for text in model.decode(tokens)]
        confidences += means.tolist()
    return texts, confidences


def _decode_ahead(model: OcrModel, images: Sequence[bytes], batch_size: int) -> Iterator[torch.Tensor]:
    """Yield the images batch by batch, as `make_pixels` gives them, while the next ones are decoded."""
    batches = (images[start : start + batch_size] for start in range(0, len(images), batch_size))
    with ThreadPoolExecutor(DECODING_THREADS) as pool:
        waiting: deque[Future[torch.Tensor]] = deque()
        for batch in batches:
            waiting.append(pool.submit(_decode, model, batch))
            if len(waiting) > DECODING_THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _decode(model: OcrModel, images: Sequence[bytes]) -> torch.Tensor:
    return make_pixels(model, [Image.open(io.BytesIO(image)) for image in images])


def _write_with_beams(
    model: OcrModel, pixel_values: torch.Tensor, num_beams: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the tokens of the best beams, of shape (N, T), and their mean probabilities, of shape (N,)."""
    network = model.network
    encoded = encode(model, pixel_values)
    # A copy, since `generate` repeats the states in what it is given, once for every beam.
    tokens = network.generate(encoder_outputs=copy(encoded), do_sample=False, num_beams=num_beams)
    logits = network(encoder_outputs=encoded, decoder_input_ids=tokens[:, :-1]).logits.float()
    probabilities = logits.softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
    return tokens, mean_before_end(probabilities, tokens[:, 1:], network.generation_config.eos_token_id)


def mean_before_end(values: torch.Tensor, tokens: torch.Tensor, end: int | list[int]) -> torch.Tensor:
    """Return the mean of each row's values up to its first end token, that one included.

    Values and tokens: N, T. Means: N.
    """
    is_end = torch.isin(tokens, torch.tensor(end, device=tokens.device)).int()
    counted = (is_end.cumsum(1) - is_end) == 0
    return (values * counted).sum(1) / counted.sum(1)

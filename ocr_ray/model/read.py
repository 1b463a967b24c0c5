"""Reading images with a model: texts and confidences."""

import io
import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from weakref import WeakKeyDictionary

import torch
from PIL import Image
from transformers.modeling_outputs import BaseModelOutput

from ocr_ray.dataset.images import BAD_IMAGE, IMAGE_FORMATS, open_line_image
from ocr_ray.errors import ProductionError
from ocr_ray.model.decoding import Decoded, decode_greedily, encode, find_unended
from ocr_ray.model.facts import ModelFacts, model_files, read_facts
from ocr_ray.model.line_reading import LineReading, make_reading
from ocr_ray.model.load import OcrModel, load_model
from ocr_ray.model.options import GREEDY, Decoding
from ocr_ray.model.pixels import check_stored_images, make_pixels, to_pixel_values
from ocr_ray.model.precision import autocast
from ocr_ray.model.refusal import refused
from ocr_ray.model.static_steps import free_static_steps
from ocr_ray.storage.location import Location

log = logging.getLogger(__name__)

CPU_BATCH_SIZE, GPU_BATCH_SIZE = 16, 512
"""Lines that are read together if no number is asked for; with beams a GPU's share of them."""
BATCHES_AHEAD = 2
"""Whose images are decoded while a batch is read."""
MAX_THREADS = 16
DECODED_TOGETHER = 32
"""Images that a thread decodes for a GPU, so that many threads share a batch."""

_NamedImage = tuple[bytes, str]
"""An encoded image and its name in messages."""


def inspect_model(
    source: Location | str, num_beams: int = 1, datasets: Iterable[Location] = ()
) -> ModelFacts:
    """Return facts about a model, a folder or a hub id; it is loaded once to check that this works.

    It generates a token with `num_beams`, because settings of a model can prevent beam search alone.
    `datasets` are those that it will read.

    Raises:
        InputError: it cannot be loaded, its metrics.json is invalid, or it cannot read images as stored.
    """
    with model_files(source) as folder:
        model = load_model(folder)  # reports what is missing before a worker would
        check_stored_images(model, datasets)
        if num_beams > 1:
            blank = to_pixel_values(
                model, make_pixels(model, [Image.new("L", (384, 384), 255)]), model.device
            )
            message = f"the configs of {folder} must allow beam search, use --num-beams 1; it failed"
            with refused(message), torch.inference_mode():
                _decode_with_beams(model, encode(model, blank), num_beams, max_new_tokens=1)
    return read_facts(source)


def read_images(
    model: OcrModel,
    images: Sequence[bytes],
    decoding: Decoding = GREEDY,
    *,
    names: Sequence[str] | None = None,
    aspects: Sequence[float] | None = None,
) -> list[LineReading]:
    """Return the readings of encoded images.

    Lines of similar aspect ratio share a batch, so that they end at about the same step. `aspects` are those
    of the lines before they were resized; None: those of the images, on a GPU. The confidence is the mean
    probability of the tokens, including the end token but not padding. `names` are those of the images in
    messages; None: their numbers.

    Raises:
        InputError: an image cannot be decoded; the message names it.
        ProductionError: a confidence is no number, because the logits are not; or a GPU's memory is too small
            for a single line.
    """
    names = names or [f"image {number}" for number in range(len(images))]
    if aspects is None and model.device.type != "cpu":
        # On a CPU the order stays: the lines next to it can change the last bits of a confidence.
        aspects = [_measure_aspect(image) for image in images]
    order = sorted(range(len(images)), key=aspects.__getitem__) if aspects else range(len(images))
    ordered = [(images[row], names[row]) for row in order]
    readings: list[LineReading] = []
    while len(readings) < len(order):
        batch_size = _choose_batch_size(model, decoding)
        try:
            for batch in _read_batches(model, ordered[len(readings) :], batch_size, decoding):
                readings += batch
        except torch.cuda.OutOfMemoryError as error:
            if batch_size == 1:
                raise ProductionError(f"{model.name} needs more memory than the GPU has: {error}") from error
            _fitting[model.network] = batch_size // 2
            free_static_steps(model.network.decoder)
            log.warning(
                "%d lines need more memory than the GPU has, reading %d at a time",
                batch_size,
                batch_size // 2,
            )
    by_row = dict(zip(order, readings, strict=True))
    return [by_row[row] for row in range(len(images))]


_fitting: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""The largest batch size of each network after the memory of the GPU was too small for a larger one."""


def _choose_batch_size(model: OcrModel, decoding: Decoding) -> int:
    """Return the number of lines to read together: the one asked for, or that of the device, if it fits."""
    size = decoding.batch_size
    if size is None:
        size = CPU_BATCH_SIZE if model.device.type == "cpu" else max(1, GPU_BATCH_SIZE // decoding.num_beams)
    return min(size, _fitting.get(model.network, size))


def _measure_aspect(content: bytes) -> float:
    """Return the width per height of an encoded image; 0 if it is none, as decoding it will tell."""
    try:
        with Image.open(io.BytesIO(content), formats=IMAGE_FORMATS) as image:
            return image.width / max(1, image.height)
    except BAD_IMAGE:
        return 0.0


def _read_batches(
    model: OcrModel, images: Sequence[_NamedImage], batch_size: int, decoding: Decoding
) -> Iterator[list[LineReading]]:
    """Yield the readings of each batch."""
    decoded: Decoded | None = None
    for pixel_values in _load_ahead(model, images, batch_size, decoding.threads):
        with torch.inference_mode(), autocast(decoding.precision, model.device):
            states = encode(model, pixel_values)
        if decoded is not None:  # while a GPU encodes the next lines, so it must not be asked for anything
            yield _make_readings(model, decoded, decoding)
        with torch.inference_mode(), autocast(decoding.precision, model.device):
            if decoding.num_beams == 1:
                decoded = decode_greedily(model, states)
            else:
                decoded = _decode_with_beams(model, states, decoding.num_beams)
            decoded = Decoded(*(part.cpu() for part in decoded))
    if decoded is not None:
        yield _make_readings(model, decoded, decoding)


def _make_readings(model: OcrModel, decoded: Decoded, decoding: Decoding) -> list[LineReading]:
    if not decoded.confidences.isfinite().all():
        raise ProductionError(
            f"the model {model.name} must give finite logits, a line has NaN or infinity at "
            f"precision {decoding.precision}: read with precision fp32, or use an earlier checkpoint"
        )
    texts = model.decode(decoded.tokens)
    return list(map(make_reading, texts, decoded.confidences.tolist(), decoded.reached_limit.tolist()))


def _load_ahead(
    model: OcrModel, images: Sequence[_NamedImage], batch_size: int, threads: int | None
) -> Iterator[torch.Tensor]:
    """Yield the pixel values of each batch on the model's device while the next batches are decoded."""
    is_gpu = model.device.type != "cpu"
    size = min(batch_size, DECODED_TOGETHER) if is_gpu else batch_size
    threads = threads or (min(MAX_THREADS, len(os.sched_getaffinity(0))) if is_gpu else 2)
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[list[Future[torch.Tensor]]] = deque()
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            chunks = (batch[first : first + size] for first in range(0, len(batch), size))
            waiting.append([pool.submit(_decode, model, chunk) for chunk in chunks])
            if len(waiting) > BATCHES_AHEAD:
                yield _join(model, waiting.popleft())
        while waiting:
            yield _join(model, waiting.popleft())


def _decode(model: OcrModel, images: Sequence[_NamedImage]) -> torch.Tensor:
    pixels = make_pixels(model, (open_line_image(content, name) for content, name in images))
    # Only from pinned memory does a copy to a GPU leave the CPU free.
    return pixels.pin_memory() if model.device.type == "cuda" else pixels


def _join(model: OcrModel, chunks: Sequence[Future[torch.Tensor]]) -> torch.Tensor:
    """Return chunks of decoded images as the model's input on its device."""
    parts = [chunk.result().to(model.device, non_blocking=True) for chunk in chunks]
    if len({part.dtype for part in parts}) > 1:  # grey and coloured lines
        parts = [to_pixel_values(model, part, model.device) for part in parts]
    return to_pixel_values(model, torch.cat(parts), model.device)


def _decode_with_beams(model: OcrModel, states: torch.Tensor, num_beams: int, **limits: int) -> Decoded:
    """Return the best beams; `limits` replace those of the model."""
    network = model.network
    # `generate` repeats the states of its argument once for every beam.
    tokens = network.generate(
        encoder_outputs=BaseModelOutput(last_hidden_state=states),
        do_sample=False,
        num_beams=num_beams,
        **limits,
    )
    encoded = BaseModelOutput(last_hidden_state=states)
    logits = network(encoder_outputs=encoded, decoder_input_ids=tokens[:, :-1]).logits.float()
    probabilities = logits.softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
    generation = network.generation_config
    confidences = mean_before_end(probabilities, tokens[:, 1:], generation.eos_token_id)
    return Decoded(tokens, confidences, find_unended(tokens, generation))


def mean_before_end(values: torch.Tensor, tokens: torch.Tensor, end: int | list[int]) -> torch.Tensor:
    """Return the mean of each row's values up to its first end token, inclusive.

    Shapes: values and tokens (N, T), means (N,).
    """
    is_end = torch.isin(tokens, torch.tensor(end, device=tokens.device)).int()
    counted = (is_end.cumsum(1) - is_end) == 0
    return (values * counted).sum(1) / counted.sum(1)
